"""Identity numbers that have a shape of their own, with the check digits that python-stdnum knows."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final

from stdnum import verhoeff
from stdnum.br import cpf
from stdnum.ca import sin
from stdnum.es import dni, nie
from stdnum.fr import nir
from stdnum.gb import nhs
from stdnum.it import codicefiscale
from stdnum.se import personnummer

from ...detectors import Check, Span


def _checked(is_valid: Callable[[str], bool]) -> Check:
    def check(text: bytes, start: int, end: int) -> Span | None:
        return (start, end) if is_valid(text[start:end].decode("latin-1")) else None

    return check


def _aadhaar(number: str) -> bool:
    return bool(verhoeff.is_valid(number.replace(" ", "")))


def named_id(text: bytes, start: int, end: int) -> Span | None:
    """The number behind its name: five digits at least."""
    found = _number(text[start:end])
    if found is None or sum(48 <= c <= 57 for c in found[0]) < 5:
        return None
    return start + found.start(), start + found.end()


# The name itself has no digit.
_number: Final = re.compile(rb"(?i)(?<![A-Z0-9])[A-Z]{0,3}[0-9](?:[A-Z0-9]|[ \-](?=[A-Z]{0,2}[0-9]))*").search

_YEAR_OR_DEPARTMENT: Final = rb"(?:[0-9]{2}|2[AB])"
NATIONAL_IDS: Final[Sequence[tuple[str, bytes, Check | None]]] = (
    ("NATIONAL_ID", rb"\b[0-9]{8}-?[A-HJ-NP-TV-Z]\b", _checked(dni.is_valid)),
    ("NATIONAL_ID", rb"\b[XYZ]-?[0-9]{7}-?[A-HJ-NP-TV-Z]\b", _checked(nie.is_valid)),
    (
        "NATIONAL_ID",
        rb"\b[A-Z]{6}[0-9LMNP-V]{2}[A-EHLMPRST][0-9LMNP-V]{2}[A-Z][0-9LMNP-V]{3}[A-Z]\b",
        _checked(codicefiscale.is_valid),
    ),
    # Without check digits: a British National Insurance number, with the prefixes that are given out.
    ("NATIONAL_ID", rb"\b[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?[0-9]{2} ?[0-9]{2} ?[0-9]{2} ?[A-D]\b", None),
    ("NATIONAL_ID", rb"\b[0-9]{3}\.[0-9]{3}\.[0-9]{3}-[0-9]{2}\b", _checked(cpf.is_valid)),
    (
        "NATIONAL_ID",
        rb"\b[12] ?[0-9]{2} ?[0-9]{2} ?" + _YEAR_OR_DEPARTMENT + rb" ?[0-9]{3} ?[0-9]{3} ?[0-9]{2}\b",
        _checked(nir.is_valid),
    ),
    ("NATIONAL_ID", rb"\b[2-9][0-9]{3} [0-9]{4} [0-9]{4}\b", _checked(_aadhaar)),
    ("NATIONAL_ID", rb"\b[A-Z]{3}[ABCFGHJLPT][A-Z][0-9]{4}[A-Z]\b", None),
    ("NATIONAL_ID", rb"\b[1-9][0-9]{2}[ \-][0-9]{3}[ \-][0-9]{3}\b", _checked(sin.is_valid)),
    ("NATIONAL_ID", rb"\b[0-9]{3} [0-9]{3} [0-9]{4}\b", _checked(nhs.is_valid)),
    ("NATIONAL_ID", rb"\b[0-9]{6}[\-+][0-9]{4}\b", _checked(personnummer.is_valid)),
)
"""Of Spain, Italy, Great Britain, Brazil, France, India, Canada and Sweden: those whose shape or check digits tell them
from order numbers."""
