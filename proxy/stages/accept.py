"""Mark the call as accepted in the spool, now that it is known what it is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from ..chain import Handler, Stage
from ..exchange import Exchange
from ..reply import Reply


def accept(mark: Callable[[Exchange], None]) -> Stage:
    """A stage that calls `mark`: from then on the call is recorded even if this process is killed."""

    def stage(exchange: Exchange, inner: Handler) -> Awaitable[Reply]:
        mark(exchange)
        return inner(exchange)

    return stage
