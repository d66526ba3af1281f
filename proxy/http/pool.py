"""The connections to one origin: bounded, the freshest reused first, the old ones let go of."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from ..errors import UpstreamFault
from .connection import Connection

Dial = Callable[[float], Awaitable[Connection]]
"""Opens a connection within so many seconds (0: no limit)."""


class OriginPool:
    """At most `connections_max` connections, counting those being opened. Implements `Home`."""

    def __init__(
        self, peer: str, dial: Dial, loop: asyncio.AbstractEventLoop, *, connections_max: int, keepalive_s: float
    ) -> None:
        self.open = 0
        """Connections that are open or being opened."""
        self._peer = peer
        self._dial = dial
        self._loop = loop
        self._connections_max = connections_max
        self._keepalive_s = keepalive_s
        self._connections: set[Connection] = set()
        self._idle: dict[Connection, None] = {}
        """In the order of their release: the last is taken first, the first expires first."""
        self._waiters: dict[asyncio.Future[Connection | None], None] = {}
        """In the order of arrival. A result of None is a place: the right to open a connection."""
        self._sweeper: asyncio.TimerHandle | None = None
        self._closed = False

    @property
    def idle(self) -> int:
        return len(self._idle)

    @property
    def waiting(self) -> int:
        return len(self._waiters)

    def take_idle(self) -> Connection | None:
        """The connection that was used last, if any is idle."""
        while self._idle:
            connection, _ = self._idle.popitem()
            if self._loop.time() - connection.idle_since < self._keepalive_s:
                return connection
            connection.close()
        return None

    async def take(self, timeout_s: float) -> Connection:
        """A connection that was just opened, or one that was waited for. Raises `UpstreamFault`."""
        if self._closed:
            raise _shut(self._peer)
        started_s = self._loop.time()
        if self.open >= self._connections_max and self._idle:
            next(iter(self._idle)).close()
        if self.open < self._connections_max:
            self.open += 1
        else:
            while (connection := await self._wait(timeout_s)) is not None:
                if not connection.closed:
                    return connection
                if self.open < self._connections_max:
                    self.open += 1
                    break
        if timeout_s:
            timeout_s = max(0.001, timeout_s - (self._loop.time() - started_s))
        return await self._connect(timeout_s)

    async def _connect(self, timeout_s: float) -> Connection:
        """Open a connection in a place already taken."""
        try:
            connection = await self._dial(timeout_s)
            if connection.closed:
                message = f"{self._peer} closed a new connection at once. Try again."
                raise UpstreamFault(message, code="connection_reset", replayable=True)
        except BaseException:
            self._vacate()
            raise
        self._connections.add(connection)
        if self._closed:
            connection.abort()
            raise _shut(self._peer)
        return connection

    async def _wait(self, timeout_s: float) -> Connection | None:
        waiter: asyncio.Future[Connection | None] = self._loop.create_future()
        self._waiters[waiter] = None
        timer = self._loop.call_later(timeout_s, self._give_up, waiter) if timeout_s else None
        try:
            return await waiter
        except asyncio.CancelledError:
            self._waiters.pop(waiter, None)
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                connection = waiter.result()
                if connection is None:
                    self._vacate()
                elif not connection.closed:
                    self.released(connection)
            raise
        finally:
            if timer is not None:
                timer.cancel()

    def _give_up(self, waiter: asyncio.Future[Connection | None]) -> None:
        self._waiters.pop(waiter, None)
        if not waiter.done():
            waiter.set_exception(
                UpstreamFault(
                    f"All {self._connections_max} connections to {self._peer} are in use. Try again, or raise "
                    "connections_max for this upstream.",
                    code="upstream_pool_exhausted",
                    status=504,
                )
            )

    def _next_waiter(self) -> asyncio.Future[Connection | None] | None:
        while self._waiters:
            waiter = next(iter(self._waiters))
            del self._waiters[waiter]
            if not waiter.done():
                return waiter
        return None

    def _vacate(self) -> None:
        """A place became free: it goes to whoever waits longest."""
        waiter = self._next_waiter()
        if waiter is None:
            self.open -= 1
        else:
            waiter.set_result(None)

    # Called by connections.

    def released(self, connection: Connection) -> None:
        waiter = self._next_waiter() if self._waiters else None
        if waiter is not None:
            waiter.set_result(connection)
        elif self._closed or not self._keepalive_s:
            connection.close()
        else:
            connection.idle_since = self._loop.time()
            self._idle[connection] = None
            if self._sweeper is None:
                self._sweeper = self._loop.call_later(self._keepalive_s, self._sweep)

    def dropped(self, connection: Connection) -> None:
        if connection in self._connections:
            self._connections.discard(connection)
            self._idle.pop(connection, None)
            self._vacate()

    def _sweep(self) -> None:
        self._sweeper = None
        oldest_s = self._loop.time() - self._keepalive_s + 0.002  # loops round to milliseconds
        for connection in list(self._idle):
            if connection.idle_since > oldest_s:
                self._sweeper = self._loop.call_at(connection.idle_since + self._keepalive_s, self._sweep)
                return
            connection.close()

    def close(self) -> None:
        """Close all connections; whoever uses or waits for one is told."""
        self._closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        while (waiter := self._next_waiter()) is not None:
            waiter.set_exception(_shut(self._peer))
        for connection in list(self._connections):
            connection.fail(_shut(self._peer))


def _shut(peer: str) -> UpstreamFault:
    return UpstreamFault(f"Penstock is shutting down and has closed its connections to {peer}.", code="upstream_cut")
