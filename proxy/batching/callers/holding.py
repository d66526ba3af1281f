"""A caller that stays for its reply: its place among those that a worker holds, and what it reads meanwhile."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from ...errors import Overload, PenstockError, UpstreamFault
from ...exchange import Exchange
from ...openai.call import Endpoint
from ..item import Found
from .told import as_stream, error_event, gone
from .waiting import Ticket

LATE_S: Final = 60.0
"""How long after its deadline a caller is still held: the dispatcher answers for what is late."""
HEARTBEAT: Final = b": waiting for the batch\n\n"
_SECOND: Final = 1_000_000_000


class Hold:
    """One held caller."""

    def __init__(
        self,
        ticket: Ticket,
        *,
        until_ns: int,
        clock: Callable[[], int],
        find: Callable[[], Awaitable[Found | None]],
        release: Callable[[], None],
    ) -> None:
        """`find` looks the item up, `release` is called once, when the caller is held no longer."""
        self._ticket = ticket
        self._until_ns = until_ns
        self._clock = clock
        self._find = find
        self._release: Callable[[], None] | None = release

    async def answered(self, timeout_s: float | None = None) -> Found | None:
        """The item, done; None when it is not within `timeout_s`.

        Raises `Overload` when the caller cannot be held any longer, `UpstreamFault` when nothing answered in time (the
        item goes on in both cases), and `ClientFault` when the item was cancelled.
        """
        left_s = max(0.0, (self._until_ns - self._clock()) / _SECOND + LATE_S)
        ended = await self._ticket.wait(left_s if timeout_s is None else min(timeout_s, left_s))
        if not ended:
            if timeout_s is None or left_s <= timeout_s:
                raise _too_late()
            return None
        found = await self.look()
        if found is None:  # This worker ends, or the item was given back to the queue.
            raise come_again()
        return found

    async def look(self) -> Found | None:
        """The item as it is now; None unless it is done. Raises `ClientFault` when it was cancelled."""
        found = await self._find()
        if found is None:
            raise UpstreamFault("The reply is no longer kept. Send the call again.", code="batch_item_missing")
        if found.state == "cancelled":
            raise gone(found.id)
        return found if found.answer is not None else None

    def close(self) -> None:
        """Safe to call again."""
        self._ticket.close()
        release, self._release = self._release, None
        if release is not None:
            release()


class HeldStream:
    """Comments until the item is done, then its reply as events. Implements `BodyStream`."""

    def __init__(self, hold: Hold, exchange: Exchange, *, heartbeat_s: float, delivered: Callable[[], object]) -> None:
        """`delivered` is called when the reply has been handed over whole."""
        call = exchange.call
        self._hold = hold
        self._endpoint: Endpoint = exchange.endpoint
        self._include_usage = call is not None and call.asks_for_usage
        self._heartbeat_s = heartbeat_s
        self._delivered = delivered
        self._is_answer = False
        self._told = False
        self._ended = False

    async def read(self) -> bytes:
        if self._told:
            self._ended = True
            return b""
        try:
            found = await self._hold.answered(self._heartbeat_s)
        except PenstockError as error:
            # The head is long gone; an error in the stream is all that can be said.
            self._told = True
            return error_event(self._endpoint, error.envelope()["error"], error.http_status)
        if found is None or found.answer is None:
            return HEARTBEAT
        self._told = self._is_answer = True
        return as_stream(self._endpoint, found.answer, include_usage=self._include_usage)

    async def aclose(self) -> None:
        self._hold.close()
        if self._ended and self._is_answer:
            self._is_answer = False
            self._delivered()


def come_again() -> Overload:
    """To a caller that cannot be held any longer by this worker."""
    return Overload(
        "The call cannot be held any longer here. It goes on: repeat it as it is to wait for its reply.",
        code="hold_ended",
        retry_after_s=1,
    )


def _too_late() -> UpstreamFault:
    return UpstreamFault(
        "The call was not answered by its deadline. It goes on: repeat it as it is to wait longer.",
        code="batch_deadline_exceeded",
        status=504,
    )
