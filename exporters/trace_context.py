"""W3C Trace Context and Baggage: read strictly, written plainly, and the ids of traces, spans and requests.

On every request's way, so it is slicing and one match, without the OpenTelemetry API (which the tests compare it with).
A header that breaks the rules is as good as absent: the call then begins a trace of its own.
Sources: W3C Trace Context level 2 (version 00), W3C Baggage, RFC 9562 (UUID version 7).
"""

from __future__ import annotations

import os
import re
from typing import Final, NamedTuple
from urllib.parse import unquote

BAGGAGE_BYTES_MAX: Final = 8192
BAGGAGE_MEMBERS_MAX: Final = 64
"""The least that W3C Baggage asks everybody to take; also the most that is looked at here."""

TRACESTATE_MEMBERS_MAX: Final = 32

_SAMPLED: Final = 1
_RANDOM: Final = 2
_KNOWN_FLAGS: Final = _SAMPLED | _RANDOM

_traceparent = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?").fullmatch
_NO_TRACE: Final = b"0" * 32
_NO_SPAN: Final = b"0" * 16

_token = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+").fullmatch
_baggage_value = re.compile(r"[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]*").fullmatch
_state_member = re.compile(
    r"(?P<key>[a-z][a-z0-9_\-*/]{0,255}|[a-z0-9][a-z0-9_\-*/]{0,240}@[a-z][a-z0-9_\-*/]{0,13})"
    r"=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]"
).fullmatch


class TraceParent(NamedTuple):
    trace_id: str
    span_id: str
    """The caller's span: the parent of ours."""
    flags: int

    @property
    def sampled(self) -> bool:
        return bool(self.flags & _SAMPLED)


_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}
"""The two bits of RFC 9562's variant, over a random digit."""


def parse_traceparent(header: bytes | None) -> TraceParent | None:
    """None when there is no header or when it is not a valid one. A later version is read by the rules of this one."""
    if header is None or (found := _traceparent(header)) is None:
        return None
    version, trace_id, span_id, flags, rest = found.groups()
    if version == b"ff" or (rest is not None and version == b"00") or trace_id == _NO_TRACE or span_id == _NO_SPAN:
        return None
    return TraceParent(trace_id.decode(), span_id.decode(), int(flags, 16))


def format_traceparent(trace_id: str, span_id: str, received: bytes | None = None) -> bytes:
    """The header that goes on, with the flags of the one that was `received`; sampled when there was none."""
    parent = parse_traceparent(received)
    flags = _SAMPLED if parent is None else parent.flags & _KNOWN_FLAGS
    return f"00-{trace_id}-{span_id}-{flags:02x}".encode()


def parse_tracestate(header: str) -> list[tuple[str, str]]:
    """The members in order; none at all when one is malformed, repeated, or there are more than 32, as W3C wants it."""
    members: dict[str, str] = {}
    for member in header.split(","):
        member = member.strip(" \t")
        if not member:
            continue
        if (found := _state_member(member)) is None or found["key"] in members:
            return []
        members[found["key"]] = member[len(found["key"]) + 1 :]
    return list(members.items()) if len(members) <= TRACESTATE_MEMBERS_MAX else []


def parse_baggage(header: str) -> dict[str, str]:
    """Entries by name, percent-decoded as UTF-8; properties are left out, and so is what is malformed.

    Of a name that comes twice the last counts. At most 64 members and 8192 bytes are looked at.
    """
    found: dict[str, str] = {}
    for member in header[:BAGGAGE_BYTES_MAX].split(",")[:BAGGAGE_MEMBERS_MAX]:
        name, equals, value = member.partition(";")[0].partition("=")
        name, value = name.strip(" \t"), value.strip(" \t")
        if equals and _token(name) and _baggage_value(value):
            found[name] = unquote(value) if "%" in value else value
    return found


class _Randomness:
    """The kernel's random bytes, fetched by the page: an id then costs no system call. Processes are never forked."""

    def __init__(self) -> None:
        self._page = ""
        self._used = 0

    def digits(self, count: int) -> str:
        """`count` hex digits that were never handed out before."""
        start = self._used
        end = start + count
        if end > len(self._page):
            self._page = os.urandom(2048).hex()
            start, end = 0, count
        self._used = end
        return self._page[start:end]


_digits = _Randomness().digits


def new_trace_id() -> str:
    """32 random hex digits, never all zero."""
    return _digits(32).replace("0" * 32, "1" * 32)


def new_span_id() -> str:
    """16 random hex digits, never all zero."""
    return _digits(16).replace("0" * 16, "1" * 16)


def new_request_id(now_ns: int) -> str:
    """A UUID version 7 without hyphens: sorts by time down to 244 ns, and serves as a trace id. `now_ns` is Unix time.

    The last 62 bits are random, so that an id cannot be guessed.
    """
    milliseconds, rest = divmod(now_ns, 1_000_000)
    fraction = rest * 4096 // 1_000_000
    random = _digits(16)
    return f"{milliseconds & 0xFFFF_FFFF_FFFF:012x}7{fraction:03x}{_VARIANT[random[0]]}{random[1:]}"
