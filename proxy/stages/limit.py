"""Refuse what is beyond the number of exchanges one worker may have open."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from ..chain import Handler, Stage
from ..errors import Overload
from ..exchange import Exchange
from ..reply import Reply


def limit(concurrent_max: int, open_now: Callable[[], int]) -> Stage:
    """A stage that answers 503 with Retry-After while `open_now()`, this exchange included, is over the limit."""

    def stage(exchange: Exchange, inner: Handler) -> Awaitable[Reply]:
        if open_now() > concurrent_max:
            raise Overload(
                f"{concurrent_max} calls are open already. Retry shortly, or raise server.concurrent_max or "
                "server.workers.",
                code="too_many_requests_open",
                retry_after_s=1,
            )
        return inner(exchange)

    return stage
