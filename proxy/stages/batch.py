"""Put off what may wait: at the flex tier, held until the queue has its reply, or told where it will be."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, cast

from exporters.files import Throttle

from .. import settings
from ..batching.callers.control import Deferral
from ..batching.callers.deferring import Deferring, Prepared, told_to_callers
from ..batching.callers.holding import HeldStream, Hold, come_again
from ..batching.callers.told import EVENTS, STREAMED, as_answered, marks, ticket
from ..batching.callers.waiting import Waiting
from ..batching.item import Answer, Found
from ..batching.refusal import QueueUnavailable
from ..chain import Handler
from ..errors import Overload
from ..exchange import Exchange
from ..reply import Reply

_log = logging.getLogger(__name__)

_RETRY_MAX_S: Final = 60.0
_DELIVERED_WITHIN_S: Final = 2.0

Flex = Callable[[Exchange, Handler, int], Awaitable[Reply]]
"""Asks at the flex tier until a Unix time (`batching.flex.ask_flex`)."""


class Batch:
    """The stage."""

    def __init__(
        self,
        configured: settings.Batch,
        deferring: Deferring,
        waiting: Waiting,
        flex: Flex,
        *,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self._settings = configured
        self._deferring = deferring
        self._waiting = waiting
        self._flex = flex
        self._clock = clock
        self._delivering: set[asyncio.Task[None]] = set()
        self._throttle = Throttle()
        self.held = 0
        """Callers that stay for a reply now."""

    def __call__(self, exchange: Exchange, inner: Handler) -> Awaitable[Reply]:
        deferral = exchange.deferral
        if deferral is None:
            return inner(exchange)
        if deferral.mode == "flex":
            return self._flex(exchange, inner, deferral.deadline_ns)
        return self._accepted(exchange, deferral) if deferral.mode == "async" else self._held(exchange, deferral)

    @property
    def retry_after_s(self) -> float:
        """When a caller may ask again."""
        return min(max(self._settings.poll_s, 1.0), _RETRY_MAX_S)

    async def later(self, exchange: Exchange, reply: Reply) -> Reply:
        """What the cache has answered at once, for a caller that comes for it later."""
        deferral = cast(Deferral, exchange.deferral)
        answer = Answer(status=reply.status, headers=reply.headers, body=cast(bytes, reply.body))
        prepared = await self._deferring.prepare(exchange, deferral)
        added = await self._deferring.add_answered(exchange, prepared, answer)
        item = prepared.item
        return ticket(added.id, "done", created_ns=item.created_ns, deadline_ns=item.deadline_ns, retry_after_s=1)

    def release(self) -> None:
        """Send those away who are held: this worker ends. Nobody is held any more."""
        self._waiting.close()

    async def aclose(self) -> None:
        """Let the queue hear of what was delivered, as far as a moment allows."""
        self._waiting.close()
        if self._delivering:
            await asyncio.wait(self._delivering, timeout=_DELIVERED_WITHIN_S)

    # async

    async def _accepted(self, exchange: Exchange, deferral: Deferral) -> Reply:
        prepared = await self._deferring.prepare(exchange, deferral)
        added = await self._deferring.add(exchange, prepared)
        item = prepared.item
        if added.joined:
            found = await self._deferring.find(added.id, item.scope)
            if found is not None:
                return self._told(found)
        times = {"created_ns": item.created_ns, "deadline_ns": item.deadline_ns}
        return ticket(added.id, "queued", **times, retry_after_s=self.retry_after_s)

    def _told(self, found: Found) -> Reply:
        return ticket(
            found.id,
            found.state,
            created_ns=found.created_ns,
            deadline_ns=found.deadline_ns,
            retry_after_s=1 if found.state == "done" else self.retry_after_s,
        )

    # hold

    async def _held(self, exchange: Exchange, deferral: Deferral) -> Reply:
        if self._waiting.closed:
            raise come_again()
        if self.held >= self._settings.held_max:
            raise Overload(
                f"{self.held} calls are held already. Retry later, or raise batch.held_max or server.workers.",
                code="too_many_held",
                retry_after_s=self.retry_after_s,
            )
        self.held += 1
        try:
            prepared = await self._deferring.prepare(exchange, deferral)
            hold, found = await self._joined(exchange, deferral, prepared)
        except BaseException:
            self._let_go()
            raise
        streams = exchange.endpoint in STREAMED and exchange.call is not None and exchange.call.stream is True
        if streams and (found is None or _is_ok(found)):
            delivered = partial(self.delivered, exchange.item_id)
            stream = HeldStream(hold, exchange, heartbeat_s=self._settings.heartbeat_s, delivered=delivered)
            return Reply(200, [EVENTS, *marks(exchange.item_id, "hold")], stream)
        try:
            while found is None:
                found = await hold.answered()
        finally:
            hold.close()
        reply = as_answered(found, "hold")
        reply.sent = partial(self.delivered, found.id)
        return reply

    async def _joined(self, exchange: Exchange, deferral: Deferral, prepared: Prepared) -> tuple[Hold, Found | None]:
        """A place to wait at, and the item when it is done already."""
        item = prepared.item
        with told_to_callers():
            expected = await self._waiting.expect(item.id)
        try:
            added = await self._deferring.add(exchange, prepared)
            if added.joined:
                expected.close()
                with told_to_callers():
                    expected = await self._waiting.expect(added.id)
            find = partial(self._deferring.find, added.id, item.scope)
            hold = Hold(expected, until_ns=item.deadline_ns, clock=self._clock, find=find, release=self._let_go)
            # It may have ended before anybody waited for it.
            return hold, await hold.look() if added.joined else None
        except BaseException:
            expected.close()
            raise

    def _let_go(self) -> None:
        self.held -= 1

    def delivered(self, item_id: str) -> None:
        """Have the queue know that a caller has the reply of `item_id`, behind its back."""
        task = asyncio.ensure_future(self._deliver(item_id))
        self._delivering.add(task)
        task.add_done_callback(self._delivering.discard)

    async def _deliver(self, item_id: str) -> None:
        try:
            await self._deferring.queue.delivered(item_id)
        except QueueUnavailable as error:
            if self._throttle.due("delivered"):
                _log.warning("a reply was delivered, but the queue cannot be told: %s", error)


def _is_ok(found: Found) -> bool:
    return found.answer is not None and found.answer.status < 400
