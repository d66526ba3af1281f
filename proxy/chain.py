"""A chain of stages around one handler: each stage may answer itself, or change what goes in and what comes out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from .exchange import Exchange
from .reply import Reply

Handler = Callable[[Exchange], Awaitable[Reply]]
Stage = Callable[[Exchange, Handler], Awaitable[Reply]]


def compose(stages: Sequence[Stage], last: Handler) -> Handler:
    """The handler in which `stages[0]` is outermost and `last` reaches the upstream."""
    handler = last
    for stage in reversed(stages):
        handler = _wrap(stage, handler)
    return handler


def _wrap(stage: Stage, inner: Handler) -> Handler:
    def handler(exchange: Exchange) -> Awaitable[Reply]:
        return stage(exchange, inner)

    return handler
