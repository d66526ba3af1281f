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
    dropped = _NOT_TO_UPSTREAM | without | _nominated(headers)
    kept = []
    for field in headers:
        name = field[0].lower()
        if name not in dropped and not name.startswith(b"x-penstock-"):
            kept.append(field)
    return kept


def to_caller(headers: RawHeaders) -> RawHeaders:
    """The upstream's fields that go back. Content-Length stays: it is true as long as the body is unchanged."""
    dropped = _HOP_BY_HOP | _nominated(headers)
    return [field for field in headers if field[0].lower() not in dropped]


def without(headers: RawHeaders, *names: bytes) -> RawHeaders:
    """`headers` less those with these lower-case names."""
    return [field for field in headers if field[0].lower() not in names]


def _nominated(headers: RawHeaders) -> frozenset[bytes]:
    """Fields that a Connection field declares hop-by-hop. Framing and routing fields cannot be nominated away."""
    names = frozenset[bytes]()
    for name, value in headers:
        if name.lower() == b"connection":
            names |= {token.strip().lower() for token in value.split(b",")}
    return names - {b"", b"host", b"content-length", b"authorization", b"content-type"}
