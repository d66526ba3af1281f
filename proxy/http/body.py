"""A reply body that is still arriving, between the connection that fills it and the one reader that empties it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from exporters.record import Attempt

from ..errors import UpstreamFault

HIGH_WATER_BYTES = 256 * 1024
"""Of a reply that nobody reads: beyond, the socket is left alone until somebody does."""


class Source(Protocol):
    """What fills a body."""

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def expect_more(self, expected: bool) -> None:
        """Whether somebody waits for the next piece: only then does the idle timeout run."""

    def abort(self) -> None: ...


class ResponseBody:
    """Implements `BodyStream`. A cancelled `read` loses nothing and may be repeated."""

    __slots__ = ("_attempt", "_error", "_loop", "_parts", "_source", "_unread_bytes", "_waiter", "_wall_ns")

    def __init__(self, source: Source, loop: asyncio.AbstractEventLoop, parts: list[bytes]) -> None:
        self._source: Source | None = source
        self._loop = loop
        self._parts = parts
        self._unread_bytes = 0
        self._waiter: asyncio.Future[None] | None = None
        self._error: BaseException | None = None
        self._attempt: Attempt | None = None
        self._wall_ns: Callable[[], int] | None = None

    def times(self, attempt: Attempt, wall_ns: Callable[[], int]) -> None:
        """Write the end of this body, and how it ended, into `attempt`."""
        self._attempt = attempt
        self._wall_ns = wall_ns
        if self._source is None:
            self._close_attempt()

    async def read(self) -> bytes:
        parts = self._parts
        while not parts:
            if self._source is None:
                if self._error is not None:
                    raise self._error
                return b""
            await self._wait()
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        parts.clear()
        if self._unread_bytes >= HIGH_WATER_BYTES and self._source is not None:
            self._source.resume_reading()
        self._unread_bytes = 0
        return data

    async def aclose(self) -> None:
        self.close()

    def close(self) -> None:
        """`aclose` without waiting: what has not come yet is abandoned, and the connection with it."""
        source = self._source
        self._parts.clear()
        if source is not None:
            self.ended(None)
            if self._attempt is not None:
                self._attempt.error_type = "cancelled"
            source.abort()

    # Called by the connection.

    def arrived(self, wire_bytes: int) -> None:
        self._unread_bytes += wire_bytes
        if self._waiter is not None:
            self._wake()
        elif self._unread_bytes >= HIGH_WATER_BYTES and self._source is not None:
            self._source.pause_reading()

    def ended(self, error: BaseException | None) -> None:
        """Nothing more will come; what is buffered can still be read, then `error` is raised."""
        self._source = None
        self._error = error
        if self._attempt is not None:
            self._close_attempt()
        self._wake()

    async def _wait(self) -> None:
        if self._waiter is not None:
            raise RuntimeError("a body has one reader")
        source = self._source
        assert source is not None
        self._waiter = self._loop.create_future()
        source.expect_more(True)
        try:
            await self._waiter
        except asyncio.CancelledError:
            source.expect_more(False)
            raise
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _close_attempt(self) -> None:
        assert self._attempt is not None
        assert self._wall_ns is not None
        self._attempt.end_ns = self._wall_ns()
        if isinstance(self._error, UpstreamFault):
            self._attempt.error_type = self._error.code
