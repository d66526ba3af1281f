"""Know the caller by a Penstock key. Not in the chain when no keys are configured."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from ..chain import Handler, Stage
from ..errors import Unauthorized
from ..exchange import Exchange
from ..reply import Reply

SUBPROTOCOL_KEY = b"openai-insecure-api-key."
KeyId = Callable[[str], str | None]
"""The id of an accepted key, None for any other text. Compares in constant time."""


def authenticate(key_id: KeyId) -> Stage:
    """A stage that lets only accepted keys through, and notes whose it was.

    The key comes as `x-penstock-key`, which leaves `Authorization` to the upstream, or as the bearer token itself (of a
    WebSocket also as a subprotocol), which then does not travel on.
    """

    def stage(exchange: Exchange, inner: Handler) -> Awaitable[Reply]:
        check(exchange, key_id)
        return inner(exchange)

    return stage


def check(exchange: Exchange, key_id: KeyId) -> None:
    """Raises `Unauthorized` unless the request carries an accepted key."""
    own = exchange.header(b"x-penstock-key")
    other = _bearer(exchange.header(b"authorization"))
    if other is None and exchange.websocket:
        other = subprotocol_key(exchange.header(b"sec-websocket-protocol") or b"")
    token = own if own is not None else other
    known = key_id(token.decode("latin-1")) if token else None
    if known is None:
        raise Unauthorized(
            "This Penstock accepts calls with one of its own keys only: send it as the API key (Authorization: Bearer) "
            "or in x-penstock-key.",
            code="invalid_api_key",
        )
    exchange.key_id = known
    # Some callers send the key both ways; it must not travel on then either.
    exchange.caller_authorization_is_ours = own is None or (
        other is not None and key_id(other.decode("latin-1")) is not None
    )


def subprotocol_key(offered: bytes) -> bytes | None:
    """The key among offered WebSocket subprotocols, where browsers, which cannot set Authorization, have to put it."""
    for item in offered.split(b","):
        if (item := item.strip()).startswith(SUBPROTOCOL_KEY):
            return item[len(SUBPROTOCOL_KEY) :]
    return None


def _bearer(value: bytes | None) -> bytes | None:
    if value is None or value[:7].lower() != b"bearer ":
        return None
    return value[7:].strip()
