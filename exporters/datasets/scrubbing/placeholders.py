"""What stands for private values: `[EMAIL_1]`, the same for the same value, numbered as they are met."""

from __future__ import annotations

import re
from collections import Counter
from typing import Final

from .unescaped import unescaped

_VALUES_MAX: Final = 200
"""Of one conversation, that are looked for where their context is missing."""
_DIGITS_ONLY: Final = frozenset({"PHONE", "CREDIT_CARD"})
_WITHOUT_BLANKS: Final = frozenset({"IBAN", "NATIONAL_ID", "US_SSN", "MAC_ADDRESS"})

_numbered: Final = re.compile(rb"\[([A-Z][A-Z0-9_]*)_([0-9]{1,9})\]").findall
_not_digits: Final = re.compile(rb"[^0-9]+").sub
_not_alphanumeric: Final = re.compile(rb"[^A-Za-z0-9]+").sub
_ordinary_word: Final = re.compile(rb"[A-Za-z]{0,9}\Z").match


class Placeholders:
    """Of one conversation, whose text is `data`: numbers that stand in it already are not given again."""

    def __init__(self, data: bytes, user: bytes = b"") -> None:
        self.counts: Counter[str] = Counter()
        self.values: dict[bytes, str] = {}
        """What was replaced, and its kind."""
        self._user = user
        self._last: Counter[str] = Counter()
        for kind, number in _numbered(data):
            self._last[kind.decode()] = max(self._last[kind.decode()], int(number))
        self._given: dict[tuple[str, bytes], str] = {}

    def give(self, kind: str, written: bytes) -> bytes:
        """The placeholder of a value, as it was written."""
        view = unescaped(written)
        value = view.text if view is not None else written
        if value == self._user:
            kind = "USER"
        self.counts[kind] += 1
        if kind == "USER":
            return b"[USER]"
        key = (kind, _normal(kind, value))
        placeholder = self._given.get(key)
        if placeholder is None:
            self._last[kind] += 1
            placeholder = self._given[key] = f"[{kind}_{self._last[kind]}]"
            self._note(kind, value)
        return placeholder.encode()

    def _note(self, kind: str, value: bytes) -> None:
        values = [value]
        if kind == "CREDENTIALS" and b":" in value:
            values.append(value.split(b":", 1)[1])
        for one in values:
            # A short password that is a word is one in other places.
            if len(one) > 5 and not _ordinary_word(one) and len(self.values) < _VALUES_MAX:
                self.values[one] = kind


def _normal(kind: str, value: bytes) -> bytes:
    if kind == "EMAIL":
        return value.lower()
    if kind in _DIGITS_ONLY:
        return _not_digits(b"", value).lstrip(b"0")
    if kind in _WITHOUT_BLANKS:
        return _not_alphanumeric(b"", value).upper()
    return value
