"""What private text looks like: patterns for RE2 and the checks that tell a card number from any other number.

RE2 takes time linear in the text whatever the pattern is, so neither a hostile body nor a careless pattern can hold up
the caller. Patterns work on UTF-8 bytes; a candidate that its check refuses is left alone. They find what can be known
by its shape. Names, addresses and other prose are not found: whoever must not keep those sets `content = "off"`.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import re2

CANDIDATES_MAX: Final = 1000
"""Refused candidates in one text after which the search goes on behind a candidate instead of inside it: a bound on the
work that a text made of nothing but false starts can cause."""

Span = tuple[int, int]
Check = Callable[[bytes, int, int], Span | None]
"""(text, start, end) of a candidate: the part of it that is private, or None."""


class Detector(NamedTuple):
    placeholder: bytes
    pattern: re2._Regexp
    check: Check | None = None


def compile_pattern(pattern: str) -> re2._Regexp:
    """Raises `ValueError` for what RE2 cannot run: a syntax error, a back-reference, a look-around."""
    return _compile(pattern.encode(), re2.Options.Encoding.UTF8)


def _compile(pattern: bytes, encoding: re2._re2.RE2.Options.Encoding) -> re2._Regexp:
    options = re2.Options()
    options.encoding = encoding
    options.log_errors = False
    try:
        compiled = re2.compile(pattern, options)
    except re2.error as exc:
        reason = exc.args[0] if exc.args else ""
        reason = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
        raise ValueError(
            f"The pattern {pattern.decode()!r} cannot be used: {reason}. "
            "Patterns are RE2's: without look-around and back-references."
        ) from exc
    if compiled.search(b"") is not None:
        raise ValueError(f"The pattern {pattern.decode()!r} matches the empty text, so it would match everywhere.")
    return compiled


def card(text: bytes, start: int, end: int) -> Span | None:
    """The longest beginning with as many digits as cards have and a right Luhn digit (ISO/IEC 7812-1)."""
    while end > start:
        digits = [c - 48 for c in text[start:end] if 48 <= c <= 57]
        if len(digits) < 13:
            return None
        if len(digits) in _CARD_DIGITS and not text[end : end + 1].isdigit() and _luhn(digits):
            return start, end
        end -= 1
        while end > start and not text[end - 1 : end].isdigit():
            end -= 1
    return None


_CARD_DIGITS: Final = frozenset({13, 14, 15, 16, 19})


def _luhn(digits: list[int]) -> bool:
    if len(set(digits)) == 1:
        return False
    total = sum(digits[-1::-2])
    for digit in digits[-2::-2]:
        total += digit * 2 - 9 if digit > 4 else digit * 2
    return total % 10 == 0


def iban(text: bytes, start: int, end: int) -> Span | None:
    """As many characters as its country's accounts have, with right check digits (ISO 13616, mod 97)."""
    left = _IBAN_LENGTHS.get(text[start : start + 2], 0)
    if not left:
        return None
    compact = ""
    for at in range(start, end):
        if text[at] != 32:
            compact += chr(text[at])
            left -= 1
        if not left:
            if text[at + 1 : at + 2].isalnum():
                return None
            number = int("".join(str(int(c, 36)) for c in compact[4:] + compact[:4]))
            return (start, at + 1) if number % 97 == 1 else None
    return None


def us_ssn(text: bytes, start: int, end: int) -> Span | None:
    """Numbers that the Social Security Administration has never given out are none."""
    area, group, serial = text[start:end].split(b"-")
    if area in (b"000", b"666") or area >= b"900" or group == b"00" or serial == b"0000":
        return None
    return start, end


def phone(text: bytes, start: int, end: int) -> Span | None:
    """8 to 15 digits (E.164)."""
    if start and (text[start - 1 : start].isalnum() or text[start - 1] in b".+=/"):
        return None
    return (start, end) if 8 <= sum(48 <= c <= 57 for c in text[start:end]) <= 15 else None


def ip_address(text: bytes, start: int, end: int) -> Span | None:
    """An address that can lead to somebody: not loopback, not unspecified, and no `std::` or `12:30:05`."""
    if start and (text[start - 1 : start].isalnum() or text[start - 1] in b":._"):
        return None
    if text[end : end + 1].isalnum() or text[end : end + 1] == b"_":
        return None
    candidate = text[start:end]
    # Two groups and a digit at least: most candidates are refused here, without the cost of parsing.
    if b":" in candidate and (_groups(candidate) < 2 or not _digit(candidate)):
        return None
    try:
        address = ipaddress.ip_address(candidate.decode())
    except ValueError:
        return None
    return None if address.is_loopback or address.is_unspecified else (start, end)


def _groups(candidate: bytes) -> int:
    return len(candidate.replace(b":", b" ").split())


_digit: Final = re.compile(rb"[0-9]").search


def scheme_credentials(text: bytes, start: int, end: int) -> Span | None:
    """Keeps the scheme's name. `basic authentication` is prose: credentials have a digit or end in padding."""
    value = start + len(text[start:end].split(None, 1)[0])
    while text[value : value + 1].isspace():
        value += 1
    if not re.search(rb"[0-9=]", text[value:end]):
        return None
    return value, end


def url_credentials(text: bytes, start: int, end: int) -> Span | None:
    """Keeps `://` and `@`."""
    return start + 3, end - 1


def assigned(text: bytes, start: int, end: int) -> Span | None:
    """Keeps the name and the sign: `password=` stays, what follows does not."""
    found = re.search(rb"[:=]\s*[\"']?", text[start:end])
    return None if found is None else (start + found.end(), end)


_IBANS: Final = """
AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DK18 DO28 EE20 EG29 ES24 FI18 FO18 FR27
GB22 GE22 GI23 GL18 GR27 GT28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 LB28 LC32 LI21 LT20 LU20 LV21 LY25 MC27
MD24 ME22 MK19 MR27 MT31 MU30 NL18 NO15 PK24 PL28 PS29 PT25 QA29 RO24 RS22 SA24 SC31 SD18 SE24 SI19 SK24 SM27 ST25 SV28
TL23 TN24 TR26 UA29 VA22 VG24 XK20
"""
_IBAN_LENGTHS: Final = {entry[:2].encode(): int(entry[2:]) for entry in _IBANS.split()}
"""Characters of an account number by country, from SWIFT's IBAN registry."""

_KEYS: Final = rb"""
sk-[A-Za-z0-9_\-]{16,}
(?:sk|rk|pk)_(?:live|test)_[A-Za-z0-9]{10,}
whsec_[A-Za-z0-9+/=]{16,}
(?:AKIA|ASIA|ABIA|ACCA)[0-9A-Z]{16}
AIza[0-9A-Za-z_\-]{35}
ya29\.[0-9A-Za-z_\-]{20,}
gh[pousr]_[A-Za-z0-9]{30,}
github_pat_[A-Za-z0-9_]{22,}
gl(?:pat|dt|rt|cbt|ptt|soat)-[A-Za-z0-9_\-]{20,}
xox[abeoprs]-[A-Za-z0-9\-]{10,}
xapp-[A-Za-z0-9\-]{10,}
hooks\.slack\.com/services/[A-Za-z0-9/]{20,}
hf_[A-Za-z0-9]{30,}
gsk_[A-Za-z0-9]{20,}
xai-[A-Za-z0-9]{20,}
r8_[A-Za-z0-9]{30,}
pplx-[A-Za-z0-9]{20,}
nvapi-[A-Za-z0-9_\-]{20,}
lsv2_[a-z]{2}_[a-f0-9]{32}[a-f0-9_]*
(?:pk|sk)-lf-[a-f0-9\-]{30,}
pcsk_[A-Za-z0-9_]{20,}
npm_[A-Za-z0-9]{36}
pypi-[A-Za-z0-9_\-]{50,}
SG\.[A-Za-z0-9_\-]{16,}\.[A-Za-z0-9_\-]{16,}
do[opr]_v1_[a-f0-9]{64}
shp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}
dapi[a-f0-9]{32}
glsa_[A-Za-z0-9]{32}_[a-f0-9]{8}
AccountKey=[A-Za-z0-9+/=]{40,}
tskey-[a-z]+-[A-Za-z0-9\-]{20,}
"""
"""Keys that say whose they are, as their makers document them."""

_LOCAL: Final = rb"[A-Za-z0-9._%+\-\x80-\xff]"
_PATTERNS: Final[Sequence[tuple[bytes, bytes, Check | None]]] = (
    (
        b"[PRIVATE_KEY]",
        rb"-----BEGIN [A-Z0-9 ]*PRIVATE KEY[A-Z ]*-----(?s:.*?)(?:-----END [A-Z0-9 ]*PRIVATE KEY[A-Z ]*-----|\z)",
        None,
    ),
    (b"[JWT]", rb"\beyJ[A-Za-z0-9_\-]{8,}(?:\.[A-Za-z0-9_\-]*){2,4}", None),
    (b"[API_KEY]", rb"\b(?:" + b"|".join(_KEYS.split()) + rb")", None),
    (b"[CREDENTIALS]", rb"(?i)\b(?:bearer|basic)\s+[A-Za-z0-9+/._~=\-]{12,}", scheme_credentials),
    (b"[CREDENTIALS]", rb"://[^/\s:@\"']+:[^/\s@\"']+@", url_credentials),
    (
        b"[SECRET]",
        rb"(?i)\b(?:[a-z_\-]*(?:password|passwd|secret)|pwd|passphrase"
        rb"|[a-z_\-]*(?:secret|private|access|api|auth)[_\-](?:key|token))"
        rb"[\"']?\s*[:=]\s*[\"']?[^\s\"',;}\[]{6,}",
        assigned,
    ),
    (b"[EMAIL]", _LOCAL + rb"+@(?:[A-Za-z0-9\-\x80-\xff]+\.)+[A-Za-z\x80-\xff]{2,}", None),
    (b"[IBAN]", rb"\b[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b", iban),
    # Groups of four, or of four, six and five.
    (
        b"[CREDIT_CARD]",
        rb"\b[2-6][0-9]{3}[ \-]?[0-9]{4,6}[ \-]?[0-9]{4,5}(?:[ \-]?[0-9]{1,4})?(?:[ \-]?[0-9]{1,3})?",
        card,
    ),
    (b"[US_SSN]", rb"\b[0-9]{3}-[0-9]{2}-[0-9]{4}\b", us_ssn),
    (
        b"[PHONE]",
        rb"\+[1-9][0-9 ().\-]{6,18}[0-9]\b|\b00[1-9][0-9]{0,2}[ \-][0-9 ().\-]{5,16}[0-9]\b"
        rb"|(?:\b1[ .\-]?)?(?:\([2-9][0-9]{2}\) ?|\b[2-9][0-9]{2}[ .\-])[0-9]{3}[ .\-][0-9]{4}\b",
        phone,
    ),
    (
        b"[IP_ADDRESS]",
        rb"\b(?:[0-9]{1,3}\.){3}[0-9]{1,3}\b|(?:[0-9A-Fa-f]{0,4}:){2,7}(?:[0-9A-Fa-f]{1,4}|(?:[0-9]{1,3}\.){3}[0-9]{1,3})?",
        ip_address,
    ),
)

BUILT_IN: Final = tuple(
    Detector(placeholder, _compile(pattern, re2.Options.Encoding.LATIN1), check)
    for placeholder, pattern, check in _PATTERNS
)
"""In the order in which they run: what is longest and surest first."""

ANY: Final = _compile(b"|".join(b"(?:" + p + b")" for _, p, _ in _PATTERNS), re2.Options.Encoding.LATIN1)
"""Matches wherever one of the patterns does: one pass tells that a text has nothing to hide, as most have not."""
