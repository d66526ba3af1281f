"""What private text looks like in a dataset: the recorder's detectors, and more that need a context or a check digit.

Where a placeholder too many costs little and a secret too few costs much, these look further than the recorder does:
values that are named (`phone: 5551234`, `my password is ...`), identity numbers of several countries, wallets, hardware
addresses. Names of people and street addresses have no shape: they are left to the `presidio` engine.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import re2

from ... import detectors as recorder
from ...detectors import Check, Span
from .national_ids import NATIONAL_IDS, named_id
from .phones import any_phone, named_phone, national_phone

Detector = tuple[str, re2._Regexp, Check | None]
"""(kind, pattern, check): a placeholder of it is `[KIND_1]`."""

_URL_PASSWORD: Final = rb"://[^/\s:@\"'<>?#\[]+:[^/\s\"'<>?#\[]+@"

_KEYS: Final = rb"""
[MNO][A-Za-z0-9_\-]{23,25}\.[A-Za-z0-9_\-]{6}\.[A-Za-z0-9_\-]{27,38}
[0-9]{8,10}:AA[A-Za-z0-9_\-]{33}
[0-9a-f]{32}-us[0-9]{1,2}\b
(?:AC|SK)[0-9a-f]{32}\b
sq0(?:atp|csp|idp)-[A-Za-z0-9_\-]{22,43}
AKC[A-Za-z0-9]{10,}
LTAI[A-Za-z0-9]{12,20}\b
EAA[A-Za-z0-9]{60,}
AQ[A-Za-z0-9_\-]{60,}
dop_v1_[a-f0-9]{64}
(?:sbp|sk|key|pat|tok|secret)_[A-Za-z0-9]{32,}
"""
"""Discord, Telegram, Mailchimp, Twilio, Square, Artifactory, Alibaba, Facebook, LinkedIn, DigitalOcean and, by their
prefixes, others; after the plugins of detect-secrets and gitleaks' rules."""

_SIGNED: Final = (
    rb"(?i)[?&](?:x-(?:amz|goog)-(?:signature|credential|security-token)|signature|sig|token|access_token|id_token"
    rb"|refresh_token|auth|api_?key|key|code|client_secret|password|session(?:_?id)?)=[^&\s\"'<>\[\]]{8,}"
)
_PASSWORD: Final = (
    rb"(?i)\b(?:password|passwd|passphrase|passcode|pwd|passwort|kennwort|mot de passe"
    rb"|contrase\xc3\xb1a|pin(?: ?code)?)(?: (?:is|was|ist|est|es|to)\b:?| ?[:=]) ?[\"'`]?[^\s\"'`,;}\[]{4,}"
)
_CARD_CODE: Final = (
    rb"(?i)\b(?:cv[vc]2?|card (?:verification|security) (?:code|number))\b[\"']?[^0-9\n]{0,10}[0-9]{3,4}\b"
)
_IP4: Final = rb"\b(?:[0-9]{1,3}\.){3}[0-9]{1,3}\b"
_IP6: Final = (
    rb"\b(?:[0-9A-Fa-f]{1,4}:){7}[0-9A-Fa-f]{1,4}\b"
    rb"|\b(?:[0-9A-Fa-f]{1,4}:){1,6}(?::[0-9A-Fa-f]{1,4}){1,6}\b|\b(?:[0-9A-Fa-f]{1,4}:){2,7}:"
    rb"|(?:\b(?:[0-9A-Fa-f]{1,4}:){1,6}|:)(?::[0-9A-Fa-f]{1,4}){0,5}:(?:[0-9]{1,3}\.){3}[0-9]{1,3}\b"
    rb"|::[0-9A-Fa-f]{1,4}(?::[0-9A-Fa-f]{1,4}){1,6}\b"
)
_BITCOIN: Final = rb"\b(?:bc1[a-z0-9]{25,59}|[13][1-9A-HJ-NP-Za-km-z]{25,34})\b"


def password(text: bytes, start: int, end: int) -> Span | None:
    """What is not a word: `the password is long` is prose."""
    found = _named(text[start:end])
    if found is None:
        return None
    begin = start + found.end()
    while end > begin and text[end - 1] in b".!?):":
        end -= 1
    value = text[begin:end]
    return (begin, end) if len(value) > 3 and _has_digit(value) and not _is_reference(value) else None


def assigned(text: bytes, start: int, end: int) -> Span | None:
    """What is no type, no reference and nothing that stands for a value (`password: string`, `os.environ[...]`,
    `self.password = config`).
    """
    span = recorder.assigned(text, start, end)
    if span is None or _is_reference(text[span[0] : span[1]]):
        return None
    # With blanks around the sign and without quotes a bare name is code, and not the line of a settings file.
    return None if _is_code(text[start : span[0]]) and _is_name(text[span[0] : span[1]]) else span


def query_value(text: bytes, start: int, end: int) -> Span | None:
    """Keeps the name and the sign."""
    begin = text.index(b"=", start) + 1
    while end > begin and text[end - 1] in b".,;:!?)":
        end -= 1
    return (begin, end) if _has_digit(text[begin:end]) or end - begin > 15 else None


def card_code(text: bytes, start: int, end: int) -> Span | None:
    digits = _last_digits(text[start:end])
    return (start + digits.start(), end) if digits else None


def ip4(text: bytes, start: int, end: int) -> Span | None:
    """A version number may have four parts too, and a mask is nobody's."""
    if text.startswith(b"255.", start) or _versioned(text[max(0, start - 12) : start]):
        return None
    if _goes_back(text[max(0, start - 2) : start]) or _goes_on(text, end):
        return None
    return ip6(text, start, end)


def ip6(text: bytes, start: int, end: int) -> Span | None:
    """Whatever stands before it: `IP:203.0.113.7`."""
    span = recorder.ip_address(text[start : end + 1], 0, end - start)
    return None if span is None else (start, end)


def mac(text: bytes, start: int, end: int) -> Span | None:
    """Of a device: not of all, and not of none."""
    return (start, end) if len(set(text[start:end].lower())) > 2 else None


def bitcoin(text: bytes, start: int, end: int) -> Span | None:
    """With the right checksum (Base58Check, BIP 173)."""
    from stdnum import bitcoin as wallet

    return (start, end) if wallet.is_valid(text[start:end].decode()) else None


_goes_on: Final = re.compile(rb"\.[0-9]").match
_goes_back: Final = re.compile(rb"[0-9]\.\Z").match
_has_digit: Final = re.compile(rb"[0-9]").search
_last_digits: Final = re.compile(rb"[0-9]{3,4}\Z").search
_versioned: Final = re.compile(rb"(?i)(?:version|release|section|chapter|ver\.?|v\.?|\xc2\xa7)[ :=]*\Z").search
_named: Final = re.compile(rb"(?i)(?: (?:is|was|ist|est|es|to)\b:?| ?[:=]) ?[\"'`]?").search
_is_code: Final = re.compile(rb" = \Z").search
_is_name: Final = re.compile(rb"[A-Za-z_]+\Z").match
_is_reference: Final = re.compile(
    rb"(?i)(?:(?:none|null|true|false)\b.*|\(.*|[a-z]+_[a-z_]*|str|string|text|required|optional|undefined|none|null|true|false|password|secret|changeme|redacted|hidden"
    rb"|boolean|number|integer|varchar.*|env:.*|file:.*|process\..*|os\..*|getenv.*|self\..*|this\..*|config\..*"
    rb"|settings\..*|(?:input|prompt|str|bytes|open|get[a-z_]*|read[a-z_]*|load[a-z_]*)\(.*"
    rb"|[a-z_][a-z0-9]*[._][a-z0-9_.]*\(.*|[a-z_]+(?:\.[a-z_]+)+|\$.*|<.*|\{.*|%[({].*|\*+|x+|\.+)\Z"
).match

_EXTRA: Final[Sequence[tuple[str, bytes, Check | None]]] = (
    ("API_KEY", rb"\b(?:" + b"|".join(_KEYS.split()) + rb")", None),
    ("CREDENTIALS", _URL_PASSWORD, recorder.url_credentials),
    ("SECRET", _SIGNED, query_value),
    ("SECRET", _PASSWORD, password),
    ("SECRET", _CARD_CODE, card_code),
    ("CRYPTO_WALLET", _BITCOIN, bitcoin),
    ("CRYPTO_WALLET", rb"\b0x[0-9a-fA-F]{40}\b", None),
    ("MAC_ADDRESS", rb"\b(?:[0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}\b|\b(?:[0-9A-Fa-f]{2}-){5}[0-9A-Fa-f]{2}\b", mac),
    ("IP_ADDRESS", _IP6, ip6),
    ("IP_ADDRESS", _IP4, ip4),
)
_NAMED: Final[Sequence[tuple[str, bytes, Check | None]]] = (
    (
        "PHONE",
        rb"(?i)\b(?:[a-z]+_)?(?:phone|tel|telephone|telefon|t\xc3\xa9l\xc3\xa9phone|mobile|cell|cellphone|fax|whatsapp"
        rb"|handy|sms)(?:[_ ]?(?:number|no\.?|nr\.?|nummer))?\b[\"']?(?: (?:is|at|on|me|:))*[^0-9A-Za-z\n+(]{0,4}"
        rb"[+(]?[0-9][0-9 ()./\-]{5,18}[0-9]",
        named_phone,
    ),
    (
        "NATIONAL_ID",
        rb"(?i)\b(?:[a-z]+_)?(?:ssn|social security|passport|reisepass|personalausweis|tax[_ ]id|steuer-?id"
        rb"|national[_ ]id|id[_ ]card|driver'?s?[_ ]licen[cs]e|pesel|bsn|nino|national insurance|tfn|nhs|personnummer"
        rb"|aadhaar|curp)(?:[_ ]?(?:number|no\.?|nr\.?|nummer))?\b[\"']?(?: (?:is|:))*[^0-9A-Za-z\n]{0,4}"
        rb"[A-Z]{0,3}[0-9][A-Z0-9 \-]{3,18}[A-Z0-9]\b",
        named_id,
    ),
)


def _detectors() -> tuple[Detector, ...]:
    kept = {b"[PRIVATE_KEY]", b"[JWT]", b"[API_KEY]", b"[EMAIL]", b"[IBAN]", b"[CREDIT_CARD]", b"[US_SSN]"}
    by_name = [(d.placeholder[1:-1].decode(), d.pattern, d.check) for d in recorder.BUILT_IN if d.placeholder in kept]
    bearer = next(d for d in recorder.BUILT_IN if d.check is recorder.scheme_credentials)
    secret = next(d for d in recorder.BUILT_IN if d.check is recorder.assigned)
    abroad = next(d for d in recorder.BUILT_IN if d.check is recorder.phone)

    def made(found: Sequence[tuple[str, bytes, Check | None]]) -> list[Detector]:
        return [(kind, compile_bytes(pattern), check) for kind, pattern, check in found]

    return (
        *by_name[:3],
        ("CREDENTIALS", bearer.pattern, bearer.check),
        *made(_EXTRA[:3]),
        ("SECRET", secret.pattern, assigned),
        *by_name[3:],
        *made(_EXTRA[3:]),
        *made(NATIONAL_IDS),
        *made(_NAMED),
        ("PHONE", abroad.pattern, any_phone),
        *made(
            (("PHONE", rb"(?:\(0[1-9][0-9]{0,4}\)|\b0[1-9][0-9]{0,4})[ ./\-][0-9 ./\-]{4,14}[0-9]\b", national_phone),)
        ),
    )


def compile_bytes(pattern: bytes) -> re2._Regexp:
    """For patterns of this package, over UTF-8 as bytes."""
    return re2.compile(pattern, _options())


def _options(bytes_max: int = 8 << 20) -> re2._re2.RE2.Options:
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.max_mem = bytes_max
    return options


DETECTORS: Final = _detectors()
"""In the order in which they run: what is longest and surest first."""

ALL: Final = re2.Set.SearchSet(_options(64 << 20))
"""Tells in one pass which of them match, by their place; and last, always, the end of the text: without it the search
has run out of memory, and any may match."""
for _detector in DETECTORS:
    ALL.Add(_detector[1].pattern)
ALL.Add(rb"\z")
ALL.Compile()
