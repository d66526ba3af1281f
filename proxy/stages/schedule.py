"""Find out whether a call may wait, and in what way."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from exporters.record import REUSED

from ..batching.callers.control import Deferral
from ..chain import Handler, Stage
from ..exchange import Exchange
from ..reply import Reply

Later = Callable[[Exchange, Reply], Awaitable[Reply]]
"""Keeps a reply that is here already for a caller that comes for it later."""


def schedule(schedules: Callable[[Exchange], Deferral | None], later: Later) -> Stage:
    """A stage that notes what `schedules` says of a call, for those after it.

    The cache after it may answer a call at once; one that is `async` gets its reply `later` all the same. Raises
    `ClientFault`.
    """

    def stage(exchange: Exchange, inner: Handler) -> Awaitable[Reply]:
        deferral = exchange.deferral = schedules(exchange)
        if deferral is None or deferral.mode != "async":
            return inner(exchange)
        return answered_later(exchange, inner)

    async def answered_later(exchange: Exchange, inner: Handler) -> Reply:
        reply = await inner(exchange)
        return await later(exchange, reply) if exchange.cache_status in REUSED else reply

    return stage
