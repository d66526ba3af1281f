"""`Lane`: a thread that does, one after the other, what an event loop must not wait for."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from .refusal import QueueUnavailable

J = TypeVar("J")


class Ticket(Generic[J]):
    """A job and who waits for it. To be settled once."""

    __slots__ = ("_future", "_loop", "error", "job", "result")

    def __init__(self, job: J) -> None:
        self.job = job
        self.result: Any = None
        self.error: BaseException | None = None
        self._loop = asyncio.get_running_loop()
        self._future: asyncio.Future[Any] = self._loop.create_future()

    @property
    def abandoned(self) -> bool:
        """Nobody waits any more."""
        return self._future.done()

    async def wait(self, within_s: float) -> Any:
        """Raises what went wrong; `QueueUnavailable` when it takes too long, though it may be done yet."""
        try:
            async with asyncio.timeout(within_s):
                return await self._future
        except TimeoutError as error:
            raise QueueUnavailable(f"the database took longer than {within_s:.0f} s") from error

    def _finish(self) -> None:
        if self._future.done():
            return
        if self.error is not None:
            self._future.set_exception(self.error)
        else:
            self._future.set_result(self.result)


def settle(tickets: Sequence[Ticket[Any]]) -> None:
    """Tell those who wait, from the lane's thread. One wake-up for all of an event loop's."""
    loops = {ticket._loop for ticket in tickets}
    for loop in loops:
        ours = [ticket for ticket in tickets if ticket._loop is loop]
        with contextlib.suppress(RuntimeError):  # The loop was closed meanwhile.
            loop.call_soon_threadsafe(_finish_all, ours)


def _finish_all(tickets: Sequence[Ticket[Any]]) -> None:
    for ticket in tickets:
        ticket._finish()


class Lane(Generic[J]):
    """Gives `work` all jobs that wait, at most `together_max` at a time. `work` must settle them, and never raise."""

    def __init__(
        self, name: str, work: Callable[[list[Ticket[J]]], None], *, waiting_max: int, together_max: int
    ) -> None:
        self._name = name
        self._work = work
        self._waiting_max = waiting_max
        self._together_max = together_max
        self._waiting: deque[Ticket[J]] = deque()
        self._wake = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = False

    def submit(self, job: J) -> Ticket[J]:
        """Raises `QueueUnavailable` when too much waits already, and after `close`."""
        ticket = Ticket(job)
        with self._wake:
            if self._closed:
                raise QueueUnavailable("shutting down")
            if len(self._waiting) >= self._waiting_max:
                raise QueueUnavailable(f"{len(self._waiting)} calls wait for the database already")
            self._waiting.append(ticket)
            if self._thread is None:
                # A daemon: a hanging disk must not keep the process from ending.
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()
            self._wake.notify()
        return ticket

    def close(self) -> None:
        """What waits is still done."""
        with self._wake:
            self._closed = True
            self._wake.notify()

    def join(self, timeout_s: float) -> bool:
        """After `close`: whether all is done."""
        if self._thread is None:
            return True
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while tickets := self._take():
            self._work(tickets)
            del tickets  # Hold nothing while there is nothing to do.

    def _take(self) -> list[Ticket[J]]:
        """Empty at the end."""
        with self._wake:
            while not self._waiting and not self._closed:
                self._wake.wait()
            return [self._waiting.popleft() for _ in range(min(len(self._waiting), self._together_max))]
