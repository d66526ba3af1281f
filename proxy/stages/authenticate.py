"""Know the caller by a Penstock key. Not in the chain when no keys are configured."""

from __future__ import annotations

from collections.abc import Callable

from ..chain import Handler, Stage
from ..errors import Unauthorized
from ..exchange import Exchange
from ..reply import Reply

KeyId = Callable[[str], str | None]
"""The id of an accepted key, None for any other text. Compares in constant time."""


def authenticate(key_id: KeyId) -> Stage:
    """A stage that lets only accepted keys through, and notes whose it was.

    The key comes as `x-penstock-key`, which leaves `Authorization` to the upstream, or as the bearer token itself,
    which then does not travel on.
    """

    async def stage(exchange: Exchange, inner: Handler) -> Reply:
        check(exchange, key_id)
        return await inner(exchange)

    return stage


def check(exchange: Exchange, key_id: KeyId) -> None:
    """Raises `Unauthorized` unless the request carries an accepted key."""
    own = exchange.header(b"x-penstock-key")
    token = own if own is not None else _bearer(exchange.header(b"authorization"))
    known = key_id(token.decode("latin-1")) if token else None
    if known is None:
        raise Unauthorized(
            "This Penstock accepts calls with one of its own keys only: send it as the API key (Authorization: Bearer) "
            "or in x-penstock-key.",
            code="invalid_api_key",
        )
    exchange.key_id = known
    exchange.caller_authorization_is_ours = own is None


def _bearer(value: bytes | None) -> bytes | None:
    if value is None or value[:7].lower() != b"bearer ":
        return None
    return value[7:].strip()
