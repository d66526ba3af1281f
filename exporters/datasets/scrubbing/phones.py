"""Phone numbers: those that are written for callers from abroad, those that are named as such, and, by the numbering
plans that phonenumbers knows, those that are written for callers at home.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

import re2
from phonenumbers import PhoneMetadata

from ...detectors import Span

REGIONS: Final = ("GB", "DE", "FR", "IT", "NL", "BE", "CH", "AT", "SE", "IE", "AU", "NZ", "JP", "KR", "IN", "TR", "ZA")
"""Countries whose numbers begin with a 0 at home."""
_TYPES: Final = ("fixed_line", "mobile", "toll_free", "shared_cost", "premium_rate", "voip", "personal_number", "uan")


def any_phone(text: bytes, start: int, end: int) -> Span | None:
    """8 to 15 digits (E.164), written as the recorder's detector has it."""
    return None if _inside(text, start) else _longest(text, start, end, 8, 15)


def named_phone(text: bytes, start: int, end: int) -> Span | None:
    """The number behind its name: seven digits to fifteen."""
    found = _number(text[start:end])
    if found is None or _is_date(found[0]):
        return None
    return _longest(text, start + found.start(), end, 7, 15)


def national_phone(text: bytes, start: int, end: int) -> Span | None:
    """The longest beginning that is a number of one of `REGIONS`."""
    if _inside(text, start) or _is_date(text[start:end]):
        return None
    for stop in _ends(text, start, end):
        if text[stop : stop + 1] in (b"-", b"/") and text[stop + 1 : stop + 2].isdigit():
            continue
        digits = _not_digits(b"", text[start:stop])
        if len(digits) <= 12 and _plans.fullmatch(digits) is not None:
            return start, stop
        if len(digits) < 9:
            break
    return None


def _inside(text: bytes, start: int) -> bool:
    """Whether what begins at `start` is the rest of a word or of a longer number."""
    before = text[max(0, start - 2) : start]
    if before[-1:].isalnum() or before[-1:] == b"+":
        return True
    return len(before) == 2 and before[:1].isdigit() and before[-1] in b".,-/="


def _longest(text: bytes, start: int, end: int, digits_min: int, digits_max: int) -> Span | None:
    """Numbers that stand behind a number may look as if they went on with it."""
    for stop in _ends(text, start, end):
        digits = len(_not_digits(b"", text[start:stop]))
        if digits <= digits_max:
            return (start, stop) if digits >= digits_min else None
    return None


def _ends(text: bytes, start: int, end: int) -> Iterator[int]:
    """The end, and the ends of the groups of digits before it, backwards."""
    yield end
    for found in reversed(list(_group(text, start, end))):
        if found.end() < end:
            yield found.end()


def _numbering_plans() -> re2._Regexp:
    """Matches the digits of a number as it is dialled at home."""
    found = []
    for region in REGIONS:
        plan = PhoneMetadata.metadata_for_region(region, None)
        assert plan is not None
        patterns = [desc.national_number_pattern for kind in _TYPES if (desc := getattr(plan, kind)) is not None]
        known = "|".join(pattern for pattern in patterns if pattern)
        # In Italy the 0 is part of the number.
        found.append(f"{plan.national_prefix or ''}(?:{known})")
    return re2.compile("|".join(found))


_plans: Final = _numbering_plans()
_group: Final = re.compile(rb"[0-9]+").finditer
_not_digits: Final = re.compile(rb"[^0-9]+").sub
# The name itself has no digit.
_number: Final = re.compile(rb"[+(]?[0-9][0-9 ()./\-]*[0-9]\Z").search
_is_date: Final = re.compile(rb"(?:[0-9]{1,2}[./\-][0-9]{1,2}[./\-]|[0-9]{4}-[0-9]{2}-)[0-9]{2,4}\b").match
