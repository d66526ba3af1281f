"""Where in a text something private is, and of which kind."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from ...detectors import CANDIDATES_MAX, compile_pattern
from ..errors import DatasetError
from .personal_data import ALL, DETECTORS, Detector
from .unescaped import odd_texts, unescaped

_ROUNDS_MAX: Final = 4


class Found(NamedTuple):
    start: int
    end: int
    kind: str


class Finder:
    """The built-in detectors, and the user's patterns after them."""

    def __init__(self, patterns: Sequence[tuple[str, str]] = ()) -> None:
        """Raises `DatasetError` for a kind that is no name, and for a pattern that RE2 cannot run."""
        own: list[Detector] = []
        for kind, pattern in patterns:
            if not _KIND.fullmatch(kind):
                raise DatasetError(f"{kind!r} names no kind of private text: use capitals, like EMPLOYEE_ID")
            try:
                own.append((kind, compile_pattern(pattern), None))
            except ValueError as error:
                raise DatasetError(str(error)) from error
        self._own = tuple(own)
        # Such a pattern means the beginning or the end of one text, which is lost among many.
        self._anchored = any(_anchor(pattern) for _, pattern in patterns)

    def may_find(self, data: bytes, literals: Sequence[tuple[str, bytes]] = ()) -> bool:
        """Whether it is worth to look closer at texts with a zero byte between them. False: there is nothing in them,
        however it is escaped.
        """
        if self._anchored:
            return True
        return self._hit(data, literals) or bool((odd := odd_texts(data)) and self._hit(_read(odd), literals))

    def find(self, data: bytes, literals: Sequence[tuple[str, bytes]] = ()) -> list[Found]:
        """By place, none over another. First as it reads, and then as it is written where that finds nothing more.

        `literals` are kinds and values that are private wherever they stand alone.
        """
        found: list[Found] = []
        text = data
        view = unescaped(data)
        if view is not None:
            for start, end, kind in self._search(view.text, literals):
                begin, stop = view.span(start, end)
                found.append(Found(begin, stop, kind))
            text = _masked(data, found)
        found += self._search(text, literals)
        found.sort()
        return found

    def _search(self, text: bytes, literals: Sequence[tuple[str, bytes]]) -> list[Found]:
        found: list[Found] = []
        for _ in range(_ROUNDS_MAX):
            before = len(found)
            for detector in self._candidates(text):
                new = _matches(detector, text)
                if new:
                    found += new
                    text = _masked(text, new)
            if len(found) == before:
                break
            # What was found may have hidden the beginning or the end of more.
        for kind, value in literals:
            if value in text:
                new = list(_literal(kind, value, text))
                found += new
                text = _masked(text, new)
        return found

    def _hit(self, text: bytes, literals: Sequence[tuple[str, bytes]]) -> bool:
        if self._candidates(text):
            return True
        return bool(literals) and any(value in text for _, value in literals)

    def _candidates(self, text: bytes) -> list[Detector]:
        """The detectors that have something to look at, in their order."""
        matching: list[int] = ALL.Match(text)
        if len(matching) == 1 and not self._own:
            return []
        at = sorted(matching)
        known = [DETECTORS[place] for place in at[:-1]] if at and at[-1] == len(DETECTORS) else list(DETECTORS)
        return known + [own for own in self._own if own[1].search(text) is not None]


def holds(data: bytes, values: Iterable[bytes]) -> bool:
    """Whether one of the values stands in it, however it is escaped."""
    read = _read(data)
    return any(value in data or value in read for value in values)


def _read(data: bytes) -> bytes:
    view = unescaped(data)
    return data if view is None else view.text


_KIND: Final = re.compile(r"[A-Z][A-Z0-9_]{0,39}")
_anchor: Final = re.compile(r"(?<!\[)\^|\$|\\[Az]").search
_word: Final = re.compile(rb"[A-Za-z0-9_\x80-\xff]").match


def _matches(detector: Detector, text: bytes) -> list[Found]:
    kind, pattern, check = detector
    found: list[Found] = []
    at = refused = 0
    while (match := pattern.search(text, at)) is not None:
        span = check(text, *match.span()) if check else match.span()
        if span is None or span[0] == span[1]:
            # What is private may begin a little later than the candidate did: look again from its next byte.
            refused += 1
            at = match.start() + 1 if refused < CANDIDATES_MAX else match.end()
            continue
        found.append(Found(span[0], span[1], kind))
        at = span[1]
    return found


def _literal(kind: str, value: bytes, text: bytes) -> list[Found]:
    found: list[Found] = []
    at = text.find(value)
    while at >= 0:
        end = at + len(value)
        if not (at and _word(text, at - 1) and _word(value)) and not (_word(text, end) and _word(value[-1:])):
            found.append(Found(at, end, kind))
        at = text.find(value, end)
    return found


def _masked(text: bytes, found: Sequence[Found]) -> bytes:
    """Of the same length, with what was found made unreadable for those that look after."""
    pieces = []
    done = 0
    for start, end, _ in sorted(found):
        pieces += [text[done:start], b"[" * (end - start)]
        done = end
    return b"".join([*pieces, text[done:]])
