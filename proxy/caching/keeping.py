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
from ..openai.facts import Read
from ..openai.replay import complete
from ..openai.replay_whole import whole_facts
from ..reply import RawHeaders, Reply
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
        self._keeping: set[asyncio.Future[tuple[Entry | None, Read | None]]] = set()

    async def aclose(self) -> None:
        """Let what was kept reach the lower tiers, as far as a moment allows."""
        if self._keeping:
            await asyncio.wait(self._keeping, timeout=_DRAIN_S)
        if self._semantic is not None:
            await self._semantic.aclose()
        await self._tiers.drain(_DRAIN_S)
        await self._tiers.aclose()

    def keep(self, ask: Ask, exchange: Exchange, reply: Reply, body: bytes, *, ended: bool) -> Read | None:
        """Keep `body` if that is the whole of `reply`. Returns what was read of it, so that nobody reads it again."""
        stream = asks_for_stream(exchange)
        if not ask.control.keep or not 200 <= reply.status < 300 or not (ended or stream):
            return None
        if len(body) <= _AT_ONCE_BYTES_MAX:
            entry, read = self._entry(ask, exchange, reply.headers, body, stream=stream)
            if entry is not None:
                self._put(ask, entry)
            return read
        # To judge a long stream takes milliseconds, which are the other callers'.
        work = asyncio.to_thread(self._entry, ask, exchange, reply.headers, body, stream=stream)
        task = asyncio.ensure_future(work)
        self._keeping.add(task)
        task.add_done_callback(partial(self._kept, ask))
        return None

    def _kept(self, ask: Ask, task: asyncio.Future[tuple[Entry | None, Read | None]]) -> None:
        self._keeping.discard(task)
        if not task.cancelled() and (entry := task.result()[0]) is not None:
            self._put(ask, entry)

    def _entry(
        self, ask: Ask, exchange: Exchange, headers: RawHeaders, body: bytes, *, stream: bool
    ) -> tuple[Entry | None, Read | None]:
        """No entry for a reply that must not be given again."""
        read = None
        try:
            kept, coding = headers_to_keep(headers)
            data = plain(body, coding, self._bytes_max) if coding else body
            if data is None or len(data) > self._bytes_max:
                return None, None
            if not stream:
                facts = whole_facts(exchange.endpoint, data)
                if facts is None:
                    return None, None
                read = Read(data, facts)
            elif not complete(exchange.endpoint, data, stream=True):
                return None, None
        except Exception:  # noqa: BLE001 - whatever it is, the call itself went well
            _log.exception("a reply could not be kept")
            return None, None
        control, call = ask.control, exchange.call
        now_ns = self._clock()
        entry = Entry(
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
        return entry, read

    def _put(self, ask: Ask, entry: Entry) -> None:
        self._tiers.put(ask.key, entry)
        if self._semantic is not None and ask.control.semantic is not None and (asked := ask.question.semantic()):
            rest, text = asked
            self._semantic.remember(ask.partition + "\n" + rest, text, ask.key)
