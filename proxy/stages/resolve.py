"""Put a model in the place of an alias: the variant that its weight, or the caller, has chosen."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

from ..chain import Handler
from ..errors import ClientFault
from ..exchange import Exchange
from ..http.headers import without
from ..openai.call import Endpoint
from ..openai.coding import plain
from ..openai.rewrite import set_model
from ..reply import Reply
from ..settings import Model, Variant
from ..variants import STICKS_TO, choose, name_of, named

_AT_ONCE_BYTES_MAX: Final = 512 * 1024


class Resolve:
    """The stage. From here on the call is one of the variant's model; calls of other models pass untouched."""

    def __init__(self, models: Iterable[Model]) -> None:
        self._aliases = {model.name: model for model in models}
        if any(variant.prune or variant.prune_user for alias in self._aliases.values() for variant in alias.variants):
            _import_prune()

    def __call__(self, exchange: Exchange, inner: Handler) -> Awaitable[Reply]:
        alias = self._aliases.get(exchange.call.model) if exchange.call is not None else None
        return inner(exchange) if alias is None else _resolved(exchange, inner, alias)


async def _resolved(exchange: Exchange, inner: Handler, alias: Model) -> Reply:
    exchange.alias = alias.name
    variant = _variant(exchange, alias)
    exchange.variant = name_of(variant)
    exchange.bound = variant.upstream
    if len(exchange.body.data or b"") <= _AT_ONCE_BYTES_MAX:
        _rewrite(exchange, variant)
    else:  # To look through a long body takes milliseconds, which are the other callers'.
        await asyncio.to_thread(_rewrite, exchange, variant)
    return await inner(exchange)


def _variant(exchange: Exchange, alias: Model) -> Variant:
    wanted = exchange.header(b"x-penstock-variant")
    if wanted is None:
        return choose(alias, _stickiness(exchange, alias))
    variant = named(alias, wanted.decode("latin-1"))
    if variant is None:
        names = ", ".join(name_of(one) for one in alias.variants)
        raise ClientFault(
            f"The alias {alias.name} has no variant of that name; x-penstock-variant takes one of {names}.",
            code="variant_not_found",
            param="x-penstock-variant",
            status=404,
        )
    return variant


def _stickiness(exchange: Exchange, alias: Model) -> str:
    """What the call is known by; by itself, which a retry with the same Idempotency-Key is too, when by nothing."""
    own = {"session": exchange.session, "user": exchange.user, "key": exchange.key_id}
    for kind in STICKS_TO[alias.sticky]:
        if own[kind]:
            return f"{kind} {own[kind]}"
    key = exchange.header(b"idempotency-key")
    return f"call {key.decode('latin-1')}" if key else f"call {exchange.request_id}"


def _rewrite(exchange: Exchange, variant: Variant) -> None:
    """Raises `ClientFault` when the call names its model elsewhere than once in a JSON body."""
    call, encoding = exchange.call, exchange.header(b"content-encoding")
    assert call is not None
    data = plain(exchange.body.data, encoding) if exchange.body.data else None
    changed = set_model(data, variant.model) if data else None
    if data is None or changed is None:
        raise ClientFault(
            f"{exchange.alias} is an alias, which is put into the JSON body of a call that names it once. Name one of "
            "its models instead.",
            code="alias_not_supported",
            param="model",
        )
    if variant.prune or variant.prune_user:
        changed, exchange.pruned = _import_prune()(exchange.endpoint, changed, variant.prune, variant.prune_user)
        exchange.asked = data if exchange.pruned else None
    exchange.body.data = changed
    call.model = variant.model
    if encoding is not None:
        exchange.headers = without(exchange.headers, b"content-encoding")
        exchange.names = [name.lower() for name, _ in exchange.headers]
        exchange.fields = {name: value for name, value in exchange.fields.items() if name != b"content-encoding"}


def _import_prune() -> Callable[[Endpoint, bytes, tuple[str, ...], tuple[str, ...]], tuple[bytes, str]]:
    """With it comes a part of what makes datasets, which other workers do without."""
    from ..openai.prune import prune

    return prune
