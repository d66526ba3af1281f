"""Coalescing: identical calls in flight share one upstream call, from its first byte and in both directions of time.

Nobody leads: whoever wants the next piece reads it for all, and a caller who leaves takes nothing with him. The call is
cancelled when the last one has left.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

from ..errors import PenstockError
from ..exchange import Exchange
from ..reply import BodyStream

Found = TypeVar("Found")


class Flight(Generic[Found]):
    """One search for an answer, and all who wait for it. Made by its first member, in whose task the search runs, and
    which says how it ended.

    A member that leaves takes nothing with it: while others wait, the first one's task stays until the search is over.
    The first member pays, as its record has the cost; when it leaves before the end, the next one pays.
    """

    _task: asyncio.Task[Any] | None = None
    _found: Found | None = None

    def __init__(self, leader: Exchange, close: Callable[[], object], discard: Callable[[Found], None]) -> None:
        """`close` is called when nobody may join any more, `discard` is given what nobody wants in the end."""
        self.close = close
        self._discard = discard
        self._leader = self._payer = leader
        self._members = {leader.request_id: leader}
        self._unsettled = {leader.request_id: leader}
        self._waiting: list[asyncio.Future[Found]] = []
        leader.settle = self._settle
        leader.departed = self._departed

    @property
    def members(self) -> int:
        return len(self._members)

    @property
    def has_followers(self) -> bool:
        """Somebody waited for what was found, or still does."""
        return bool(self._waiting)

    def landed(self, found: Found) -> None:
        """The search is over. Raises CancelledError when the leader left, and the others heard of it."""
        self._leader.departed = None
        self._found = found
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_result(found)
        if self._leader.request_id not in self._members:
            self._discard_unwanted(found)
            raise asyncio.CancelledError

    def failed(self, error: BaseException) -> None:
        """The search raised this: it is everybody's."""
        self._leader.departed = None
        self.close()
        for waiting in self._waiting:
            if waiting.done():
                continue
            if isinstance(error, asyncio.CancelledError):
                waiting.cancel()
            else:
                waiting.set_exception(error)

    async def follow(self, exchange: Exchange) -> Found:
        """The same for everybody else. One who is cancelled has left."""
        name = exchange.request_id
        self._members[name] = self._unsettled[name] = exchange
        exchange.settle = self._settle
        landed = self._found
        if landed is not None:
            return landed
        waiting: asyncio.Future[Found] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        try:
            return await waiting
        except asyncio.CancelledError:
            self._settle(exchange, abandoned=True)
            self.leave(exchange)
            self._discard_unwanted(self._found)
            raise

    def leave(self, exchange: Exchange) -> None:
        """This member wants nothing more of the answer. Safe to call again."""
        self._members.pop(exchange.request_id, None)
        if not self._members and self._leader.departed is not None and self._task is not None:
            self.close()
            self._task.cancel()

    def _departed(self, task: asyncio.Task[Any]) -> bool:
        """The leader's caller hung up. True when its `task` must go on, for the others."""
        self._task = task
        self._settle(self._leader, abandoned=True)
        self._members.pop(self._leader.request_id, None)
        if not self._members:
            self.close()
        return bool(self._members)

    def _settle(self, exchange: Exchange, *, abandoned: bool) -> None:
        """The record of `exchange` is about to be written. Somebody else pays for what it did not take to its end."""
        exchange.settle = None  # Which leads back to the exchange: it would wait for the garbage collector.
        self._unsettled.pop(exchange.request_id, None)
        if abandoned and self._payer is exchange and self._unsettled:
            heir = next(iter(self._unsettled.values()))
            self._payer = heir
            heir.cache_status, exchange.cache_status = exchange.cache_status, heir.cache_status

    def _discard_unwanted(self, found: Found | None) -> None:
        if found is not None and not self._members:
            self._discard(found)


class Kept(Protocol):
    """Told when a reply is whole, as far as it is known: at its clean end, or when its last reader leaves."""

    def __call__(self, body: bytes, *, ended: bool) -> None: ...


class SharedBody:
    """A reply body that is read once and heard by several. Each has its own `Listener`."""

    def __init__(
        self,
        inner: BodyStream,
        keep: Kept,
        *,
        keep_bytes_max: int,
        close: Callable[[], object],
        members: Callable[[], int],
    ) -> None:
        """`close` is called when nobody may join any more; `members` counts those who may still begin to listen."""
        self._inner = inner
        self._members = members
        self._keep: Kept | None = keep
        self._keep_bytes_max = keep_bytes_max
        self._close = close
        self._news: asyncio.Event | None = None
        self._reading = False
        self._size = 0
        self._closing: asyncio.Future[None] | None = None
        self.pieces: list[bytes] = []
        self.first = 0
        """Number of the first piece that is still here."""
        self.ended = False
        self.error: PenstockError | None = None
        self.listeners = 0

    async def more(self) -> None:
        """Return when there is another piece, or the end. Cancelling loses nothing: another listener reads on."""
        if self._reading:
            if self._news is None:
                self._news = asyncio.Event()
            await self._news.wait()
            return
        self._reading = True
        try:
            piece = await self._inner.read()
        except PenstockError as fault:
            self._end(fault)
        else:
            if piece:
                self._arrived(piece)
            else:
                self._end(None)
        finally:
            self._reading = False
            if self._news is not None:
                self._news.set()
                self._news = None

    def _arrived(self, piece: bytes) -> None:
        self.pieces.append(piece)
        self._size += len(piece)
        if self._size > self._keep_bytes_max:
            if self._keep is not None:
                self._keep = None
                self._close()  # nobody joins any more
            if self.listeners == 1 and self._members() <= 1:
                self.first += len(self.pieces) - 1
                del self.pieces[:-1]

    def _end(self, fault: PenstockError | None) -> None:
        self.error = fault
        self._tell(ended=fault is None)
        self.ended = True
        self._close()

    def _tell(self, *, ended: bool) -> None:
        keep, self._keep = self._keep, None
        if keep is not None and self.error is None:
            keep(b"".join(self.pieces), ended=ended)

    async def left(self) -> None:
        """A listener has closed. The last one closes the body."""
        self.listeners -= 1
        if not self.listeners:
            await self.aclose()

    def abandon(self) -> None:
        """`aclose` for those who cannot wait."""
        self._closing = asyncio.ensure_future(self.aclose())

    async def aclose(self) -> None:
        """Let go of the upstream. What came may be whole all the same: callers close at the last event."""
        if not self.ended:
            self.ended = True
            self._tell(ended=False)
            self._close()
        await self._inner.aclose()


class Listener:
    """One caller's way through a `SharedBody`. Implements `BodyStream`."""

    def __init__(self, shared: SharedBody, left: Callable[[], None]) -> None:
        self._shared = shared
        self._left = left
        self._next = 0
        self._closed = False
        shared.listeners += 1

    async def read(self) -> bytes:
        shared = self._shared
        while True:
            at = self._next - shared.first
            if at < len(shared.pieces):
                piece = shared.pieces[at] if at == len(shared.pieces) - 1 else b"".join(shared.pieces[at:])
                self._next = shared.first + len(shared.pieces)
                return piece
            if shared.ended:
                if shared.error is not None:
                    raise shared.error
                return b""
            await shared.more()

    async def aclose(self) -> None:
        if not self._closed:
            self._closed = True
            self._left()
            await self._shared.left()
