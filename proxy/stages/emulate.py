"""Answer `/v1/files` and `/v1/batches` here where the upstream has no such thing: those with `batch = "local"`.

These calls name no model, so they go to the upstream that `x-penstock-upstream` names, else to the first one. All
other calls, and all to other upstreams, go on untouched.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from ..batching.local.api import LocalApi
from ..batching.queue import Queue
from ..chain import Handler, Stage
from ..exchange import Exchange
from ..reply import Reply
from ..settings import Settings


def emulate(settings: Settings, queue: Queue, choose: Callable[[Exchange], Any]) -> Stage:
    """The last stage before the upstream. `choose` notes the upstream in the exchange, and raises `ClientFault`."""
    local = frozenset(upstream.name for upstream in settings.upstreams if upstream.batch == "local")
    api = LocalApi(settings, queue)

    def stage(exchange: Exchange, inner: Handler) -> Awaitable[Reply]:
        if exchange.endpoint != "other" or exchange.websocket or not _is_ours(exchange.path):
            return inner(exchange)
        if not exchange.upstream:
            choose(exchange)
        return api(exchange) if exchange.upstream in local else inner(exchange)

    return stage


def _is_ours(path: str) -> bool:
    return path[:4] == "/v1/" and path[4:].partition("/")[0] in ("files", "batches")
