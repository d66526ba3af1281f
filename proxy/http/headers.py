"""Which header fields travel on, in either direction (RFC 9110, section 7.6.1)."""

from __future__ import annotations

from ..reply import RawHeaders

CREDENTIALS = (b"authorization", b"api-key", b"x-api-key", b"x-goog-api-key")
"""Where callers send keys of an upstream."""
MEANING = (b"openai-beta", b"anthropic-beta", b"anthropic-version")
"""Request headers that change what an upstream does."""
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


def to_upstream(headers: RawHeaders, names: list[bytes], without: frozenset[bytes] = frozenset()) -> RawHeaders:
    """The caller's fields that go on, in their order and spelling: not `x-penstock-*`, nor those in `without`.

    `names` are the lower-case names of `headers`, one for one.
    """
    dropped = _NOT_TO_UPSTREAM | without if without else _NOT_TO_UPSTREAM
    if b"connection" in names:
        dropped |= _nominated(headers)
    return [
        field for name, field in zip(names, headers, strict=True) if name not in dropped and name[:11] != b"x-penstock-"
    ]


def to_caller(headers: RawHeaders) -> RawHeaders:
    """The upstream's fields that go back. Content-Length stays: it is true as long as the body is unchanged."""
    names = [name.lower() for name, _ in headers]
    if _HOP_BY_HOP.isdisjoint(names):
        return headers
    dropped = _HOP_BY_HOP | _nominated(headers) if b"connection" in names else _HOP_BY_HOP
    return [field for name, field in zip(names, headers, strict=True) if name not in dropped]


def without(headers: RawHeaders, *names: bytes) -> RawHeaders:
    """`headers` less those with these lower-case names."""
    return [field for field in headers if field[0].lower() not in names]


def _nominated(headers: RawHeaders) -> frozenset[bytes]:
    """Fields that a Connection field declares hop-by-hop. What an exchange needs to be understood cannot be nominated
    away."""
    tokens = b",".join(value for name, value in headers if name.lower() == b"connection").split(b",")
    nominated = frozenset(token.strip().lower() for token in tokens)
    return nominated - {b"", b"host", b"content-length", b"authorization", b"content-type"}
