"""Callers that stay for their reply: one question to the queue serves all of a worker's."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from exporters.files import Throttle

from ..refusal import QueueUnavailable

_log = logging.getLogger(__name__)

POLL_S: Final = 0.25
_NEWEST: Final = -1
"""Asks for the newest number alone."""

Ended = Callable[[int], Awaitable[tuple[int, list[str]]]]
"""Ids of the items that ended after a number, and the newest number (`Queue.ended`)."""


class Ticket:
    """One caller's wait for one item."""

    def __init__(self, waiting: Waiting, item_id: str, ended: asyncio.Future[None]) -> None:
        self._waiting = waiting
        self._id = item_id
        self._ended = ended

    async def wait(self, timeout_s: float) -> bool:
        """True when the item has ended, or nobody may wait here any longer: look which. False: neither in time."""
        if not self._ended.done():
            await asyncio.wait((self._ended,), timeout=timeout_s)
        return self._ended.done()

    def close(self) -> None:
        """Safe to call again."""
        self._waiting.forget(self._id, self._ended)


class Waiting:
    """Asks the queue four times a second which items have ended, as long as somebody waits for one."""

    def __init__(
        self, ended: Ended, *, poll_s: float = POLL_S, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        self._ask = ended
        self._poll_s = poll_s
        self._sleep = sleep
        self._waiters: dict[str, set[asyncio.Future[None]]] = {}
        self._polling: asyncio.Task[None] | None = None
        self._beginning: asyncio.Future[int] | None = None
        self._throttle = Throttle()
        self.closed = False
        """Nobody may wait here any longer."""

    async def expect(self, item_id: str) -> Ticket:
        """Be told when the item ends from now on. One that ended before is not noticed, so look for it afterwards, or
        expect it before it is added. Raises `QueueUnavailable`."""
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[None] = loop.create_future()
        self._waiters.setdefault(item_id, set()).add(ended)
        ticket = Ticket(self, item_id, ended)
        try:
            if self._polling is None:
                await self._begin()
        except BaseException:
            ticket.close()
            raise
        if self.closed and not ended.done():
            ended.set_result(None)
        return ticket

    def close(self) -> None:
        """Send away all who wait, and all who will."""
        self.closed = True
        for waiters in self._waiters.values():
            for ended in waiters:
                if not ended.done():
                    ended.set_result(None)
        if self._polling is not None:
            self._polling.cancel()

    def forget(self, item_id: str, ended: asyncio.Future[None]) -> None:
        waiters = self._waiters.get(item_id)
        if waiters is not None:
            waiters.discard(ended)
            if not waiters:
                del self._waiters[item_id]

    async def _begin(self) -> None:
        """The newest number is known before anybody counts on being told of a later one."""
        if self._beginning is None:
            self._beginning = asyncio.ensure_future(self._newest())
            self._beginning.add_done_callback(self._begun)
        await asyncio.shield(self._beginning)

    async def _newest(self) -> int:
        seq, _ = await self._ask(_NEWEST)
        return seq

    def _begun(self, beginning: asyncio.Future[int]) -> None:
        self._beginning = None
        if not beginning.cancelled() and beginning.exception() is None and not self.closed:
            self._polling = asyncio.ensure_future(self._poll(beginning.result()))

    async def _poll(self, seq: int) -> None:
        try:
            while True:
                await self._sleep(self._poll_s)
                if not self._waiters:
                    return
                try:
                    seq, ids = await self._ask(seq)
                except QueueUnavailable as error:
                    if self._throttle.due("unavailable"):
                        _log.warning("callers wait for a queue that cannot be asked: %s", error)
                    continue
                except Exception:  # noqa: BLE001 - whatever it is, the others must not wait for ever
                    if self._throttle.due("defect"):
                        _log.exception("a defect of Penstock keeps callers waiting")
                    continue
                for item_id in ids:
                    for ended in self._waiters.get(item_id, ()):
                        if not ended.done():
                            ended.set_result(None)
        finally:
            self._polling = None
