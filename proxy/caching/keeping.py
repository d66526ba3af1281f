"""Which replies are kept: those that are whole, went well and are not too long. Then in every tier, behind the call."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import Final, Protocol

from cache.entry import Entry
from cache.tiers import Tiers

from ..exchange import Exchange
from ..openai.coding import plain
from ..openai.replay import complete
from ..reply import RawHeaders
from .asking import Ask
from .serving import asks_for_stream, asks_for_usage, headers_to_keep

_log = logging.getLogger(__name__)

_AT_ONCE_BYTES_MAX: Final = 256 * 1024
_DRAIN_S: Final = 2.0


class Similar(Protocol):
    """Finds questions that were asked in other words. Never raises."""

    async def find(self, partition: str, text: str, threshold: float) -> list[tuple[str, float]]:
        """Keys of replies and how like their questions are, the likest first."""

    def remember(self, partition: str, text: str, key: str) -> None: ...

    def forget(self, key: str) -> None:
        """The reply of `key` is gone."""

    async def aclose(self) -> None: ...


class Keeper:
    """Puts replies into the tiers, and what leads to them into the index of similar questions. Never raises."""

    def __init__(self, bytes_max: int, tiers: Tiers, semantic: Similar | None, clock: Callable[[], int]) -> None:
        """`clock` gives Unix nanoseconds."""
        self._bytes_max = bytes_max
        self._tiers = tiers
        self._semantic = semantic
        self._clock = clock
        self._keeping: set[asyncio.Future[Entry | None]] = set()

    async def aclose(self) -> None:
        """Let what was kept reach the lower tiers, as far as a moment allows."""
        if self._keeping:
            await asyncio.wait(self._keeping, timeout=_DRAIN_S)
        if self._semantic is not None:
            await self._semantic.aclose()
        await self._tiers.drain(_DRAIN_S)
        await self._tiers.aclose()

    def keep(self, ask: Ask, exchange: Exchange, status: int, headers: RawHeaders, body: bytes, *, ended: bool) -> None:
        """Keep a reply that is whole. The caller has it already."""
        stream = asks_for_stream(exchange)
        if not ask.control.keep or not 200 <= status < 300 or not (ended or stream):
            return
        if len(body) <= _AT_ONCE_BYTES_MAX:
            entry = self._entry(ask, exchange, headers, body, stream=stream)
            if entry is not None:
                self._put(ask, entry)
        else:
            # To judge a long stream takes milliseconds, which are the other callers'.
            work = asyncio.to_thread(self._entry, ask, exchange, headers, body, stream=stream)
            task = asyncio.ensure_future(work)
            self._keeping.add(task)
            task.add_done_callback(partial(self._kept, ask))

    def _kept(self, ask: Ask, task: asyncio.Future[Entry | None]) -> None:
        self._keeping.discard(task)
        if not task.cancelled() and (entry := task.result()) is not None:
            self._put(ask, entry)

    def _entry(self, ask: Ask, exchange: Exchange, headers: RawHeaders, body: bytes, *, stream: bool) -> Entry | None:
        """None for a reply that must not be given again."""
        try:
            kept, coding = headers_to_keep(headers)
            data = plain(body, coding, self._bytes_max) if coding else body
            if data is None or len(data) > self._bytes_max or not complete(exchange.endpoint, data, stream=stream):
                return None
        except Exception:  # noqa: BLE001 - whatever it is, the call itself went well
            _log.exception("a reply could not be kept")
            return None
        control, call = ask.control, exchange.call
        now_ns = self._clock()
        return Entry(
            request_id=exchange.request_id,
            created_ns=now_ns,
            expires_ns=now_ns + int(control.ttl_s * 1e9) if control.ttl_s else 0,
            endpoint=exchange.endpoint,
            upstream=exchange.upstream,
            provider=exchange.provider,
            model=call.model if call is not None else "",
            namespace=control.namespace,
            stream=stream,
            has_usage=not stream or exchange.usage_asked or asks_for_usage(exchange),
            headers=kept,
            body=data,
        )

    def _put(self, ask: Ask, entry: Entry) -> None:
        self._tiers.put(ask.key, entry)
        if self._semantic is not None and ask.control.semantic is not None and (asked := ask.question.semantic()):
            rest, text = asked
            self._semantic.remember(ask.partition + "\n" + rest, text, ask.key)
