"""Say which live calls are open at the upstreams that Penstock runs batches on, so that these make room."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import cast

from ..batching.live.load import Load
from ..chain import Handler
from ..exchange import Exchange
from ..reply import BodyStream, Reply


class Announce:
    """The stage next to the upstream. Calls to other upstreams pass untouched."""

    def __init__(self, loads: Mapping[str, Load], choose: Callable[[Exchange], object]) -> None:
        """`loads` by the name of the upstream; `choose` notes the one that a call goes to."""
        self._loads = loads
        self._choose = choose

    def __call__(self, exchange: Exchange, inner: Handler) -> Awaitable[Reply]:
        if not exchange.upstream:
            self._choose(exchange)
        load = self._loads.get(exchange.upstream)
        return inner(exchange) if load is None or exchange.websocket else _counted(load, exchange, inner)

    def close(self) -> None:
        for load in self._loads.values():
            load.close()


async def _counted(load: Load, exchange: Exchange, inner: Handler) -> Reply:
    load.enter()
    try:
        reply = await inner(exchange)
    except BaseException:
        load.leave()
        raise
    if isinstance(reply.body, bytes):
        load.leave()
    else:
        reply.body = _CountedBody(cast(BodyStream, reply.body), load)
    return reply


class _CountedBody:
    """A body whose call is open until it is closed."""

    __slots__ = ("_body", "_load", "read")

    def __init__(self, body: BodyStream, load: Load) -> None:
        self._body = body
        self._load: Load | None = load
        self.read = body.read
        """The body's own: a stream has many pieces, and this costs none of them anything."""

    async def aclose(self) -> None:
        load, self._load = self._load, None
        if load is not None:
            load.leave()
        await self._body.aclose()
