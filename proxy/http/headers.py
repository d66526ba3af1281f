"""Which header fields travel on, in either direction (RFC 9110, section 7.6.1)."""

from __future__ import annotations

from ..reply import RawHeaders

_HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
_NOT_TO_UPSTREAM = _HOP_BY_HOP | {b"host", b"content-length", b"expect"}
"""Host and framing are the connection's own; 100-continue is answered by the server itself."""


def to_upstream(headers: RawHeaders, without: frozenset[bytes] = frozenset()) -> RawHeaders:
    """The caller's fields that go on, in their order and spelling: not `x-penstock-*`, nor those in `without`."""
    dropped = _NOT_TO_UPSTREAM | without if without else _NOT_TO_UPSTREAM
    named = [(field[0].lower(), field) for field in headers]
    dropped = _with_nominated(dropped, named)
    return [field for name, field in named if name not in dropped and name[:11] != b"x-penstock-"]


def to_caller(headers: RawHeaders) -> RawHeaders:
    """The upstream's fields that go back. Content-Length stays: it is true as long as the body is unchanged."""
    named = [(field[0].lower(), field) for field in headers]
    dropped = _with_nominated(_HOP_BY_HOP, named)
    return [field for name, field in named if name not in dropped]


def without(headers: RawHeaders, *names: bytes) -> RawHeaders:
    """`headers` less those with these lower-case names."""
    return [field for field in headers if field[0].lower() not in names]


def first_values(headers: RawHeaders) -> dict[bytes, bytes]:
    """The first value of each field, by lower-case name."""
    fields: dict[bytes, bytes] = {}
    for name, value in headers:
        fields.setdefault(name.lower(), value)
    return fields


def _with_nominated(dropped: frozenset[bytes], named: list[tuple[bytes, tuple[bytes, bytes]]]) -> frozenset[bytes]:
    """`dropped` and the fields that a Connection field declares hop-by-hop. What an exchange needs to be understood
    cannot be nominated away."""
    for name, (_, value) in named:
        if name == b"connection":
            nominated = {token.strip().lower() for token in value.split(b",")}
            dropped |= nominated - {b"", b"host", b"content-length", b"authorization", b"content-type"}
    return dropped
