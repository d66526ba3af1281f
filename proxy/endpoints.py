"""Penstock's own endpoints, below /penstock/. They are not exchanges: nothing here is recorded."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from exporters.record import CallRecord

from .cache_endpoints import CacheEndpoints
from .deferred_endpoints import DeferredEndpoints
from .entry import Journal
from .errors import ClientFault, Overload, PenstockError
from .exchange import Exchange
from .feedback import FeedbackEndpoint
from .reply import Reply, json_reply
from .stages.authenticate import KeyId, check

_log = logging.getLogger(__name__)

_YOUNG_S = 3.0
_LOOK_AGAIN_S = 0.25

Lookup = Callable[[str], Mapping[str, Any] | None]
"""Finds one request in the store by its id or response id. Blocks; raises `LookupFailed`."""


class LookupFailed(Exception):
    """The store cannot be asked now; the message says why in one line."""


@dataclass(frozen=True, slots=True)
class Own:
    """The handler of these endpoints."""

    journal: Journal
    lookup: Lookup
    key_id: KeyId | None
    new_id: Callable[[], str]
    cache: CacheEndpoints | None
    """None when the cache is off."""
    ready: Callable[[], str]
    """"" when the worker takes calls, else the reason why not."""
    deferred: DeferredEndpoints | None = None
    """None when nothing is deferred."""

    async def __call__(self, exchange: Exchange) -> Reply:
        try:
            return await self._route(exchange)
        except PenstockError as error:
            return error.reply()

    async def _route(self, exchange: Exchange) -> Reply:
        path = exchange.path.removeprefix("/penstock/")
        if path in ("health", "ready"):
            _allow(exchange, "GET", "HEAD")
            return self._health() if path == "health" else self._ready()
        if self.cache is not None and (path == "cache" or path.startswith("cache/")):
            return await self.cache(exchange, path.removeprefix("cache"))
        if self.key_id is not None:
            check(exchange, self.key_id)
        if path == "feedback":
            _allow(exchange, "POST")
            return await FeedbackEndpoint(self.journal, self.new_id)(exchange)
        if path.startswith("requests/"):
            _allow(exchange, "GET", "HEAD")
            return await self._request(path.removeprefix("requests/"))
        if self.deferred is not None and path.startswith("deferred/"):
            return await self.deferred(exchange, path.removeprefix("deferred/"))
        raise ClientFault(
            f"There is nothing at {exchange.path!r}. Below /penstock/ are health, ready, requests/ID, feedback, "
            "deferred/ID and cache.",
            code="not_found",
            status=404,
        )

    def _health(self) -> Reply:
        return json_reply(200, {"status": "ok"})

    def _ready(self) -> Reply:
        reason = self.ready()
        return (
            json_reply(503, {"status": "unavailable", "reason": reason})
            if reason
            else json_reply(200, {"status": "ready"})
        )

    async def _request(self, wanted: str) -> Reply:
        recent = self.journal.recent.get(wanted)
        if recent is not None and recent.kind == "call":
            return json_reply(200, summary(recent))
        found: Mapping[str, Any] | None = None
        try:
            found = await self._look_up(wanted)
        except LookupFailed as error:
            if recent is None:
                raise Overload(
                    f"The store cannot be asked now: {error}", code="store_unavailable", retry_after_s=2
                ) from error
        if found is None and recent is not None:  # put off, and not answered yet
            found = summary(recent)
        if found is None:
            raise ClientFault(
                "No such request. One that has just ended appears within two seconds.",
                code="request_not_found",
                status=404,
            )
        return json_reply(200, found)

    async def _look_up(self, wanted: str) -> Mapping[str, Any] | None:
        """From the store. A call that has just ended may still be on its way there, so a young id is waited for."""
        patience = _YOUNG_S / _LOOK_AGAIN_S if 0 <= time.time() - _made_at_s(wanted) < _YOUNG_S else 0
        while True:
            found = await asyncio.to_thread(self.lookup, wanted)
            if found is not None or patience <= 0:
                return found
            patience -= 1
            await asyncio.sleep(_LOOK_AGAIN_S)


def _made_at_s(request_id: str) -> float:
    """Unix time of a request id, which begins with it in milliseconds; 0 for other text."""
    try:
        return int(request_id[:12], 16) / 1000 if len(request_id) == 32 else 0.0
    except ValueError:
        return 0.0


def summary(record: CallRecord) -> dict[str, Any]:
    """What a caller is told about its call afterwards. The same names as the columns of `generations`."""
    return {name: getattr(record, field) for name, field in _SUMMARY.items()} | {
        "duration_ms": (record.end_ns - record.start_ns) / 1e6,
        "ttft_ms": (record.first_token_ns - record.start_ns) / 1e6 if record.stream and record.first_token_ns else None,
    }


_SUMMARY = {
    "request_id": "request_id",
    "trace_id": "trace_id",
    "response_id": "response_id",
    "endpoint": "endpoint",
    "model": "request_model",
    "response_model": "response_model",
    "upstream": "upstream",
    "stream": "stream",
    "status": "status",
    "outcome": "outcome",
    "error_type": "error_type",
    "user": "user",
    "session": "session",
    "usage_source": "usage_source",
    "input_tokens": "input_tokens",
    "cached_tokens": "cached_tokens",
    "cache_write_tokens": "cache_write_tokens",
    "output_tokens": "output_tokens",
    "reasoning_tokens": "reasoning_tokens",
    "cost": "cost",
}
SUMMARY_COLUMNS = (*_SUMMARY, "duration_ms", "ttft_ms")
"""Columns of `generations` that a lookup selects."""


def _allow(exchange: Exchange, *methods: str) -> None:
    if exchange.method not in methods:
        raise ClientFault(f"{exchange.path} takes {' or '.join(methods)}.", code="method_not_allowed", status=405)
