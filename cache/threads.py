"""A few threads for work that may block, with a short queue before them. They never keep the process from ending."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")


class Threads:
    """For one event loop. `concurrent.futures` waits for its threads when the interpreter ends, however long a disk or
    a lock makes them wait; these are daemons, and there is a bound on what waits for them."""

    def __init__(self, name: str, count: int, waiting_max: int) -> None:
        self._name = name
        self._count = count
        self._waiting_max = waiting_max
        self._jobs: SimpleQueue[tuple[Callable[[], Any], asyncio.Future[Any]] | None] = SimpleQueue()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._threads: list[threading.Thread] = []
        self._closed = False
        self._idle = asyncio.Event()
        self.waiting = 0
        """Jobs that are not finished."""

    def submit(self, job: Callable[[], T]) -> asyncio.Future[T] | None:
        """None when too much waits already, or after `close`. Call it on the event loop; the job may be given up by
        cancelling the future, and runs all the same."""
        if self.waiting >= self._waiting_max or self._closed:
            return None
        if not self._threads:
            self._start()
        assert self._loop is not None
        future: asyncio.Future[T] = self._loop.create_future()
        self.waiting += 1
        self._jobs.put((job, future))
        return future

    async def drain(self, timeout_s: float) -> bool:
        """True when nothing waits any more."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while self.waiting:
                    self._idle.clear()
                    await self._idle.wait()
        return not self.waiting

    def close(self) -> None:
        """Jobs that wait are still done if the process lives that long. Safe to call again."""
        self._closed = True
        for _ in self._threads:
            self._jobs.put(None)
        self._threads = []

    def _start(self) -> None:
        self._loop = asyncio.get_running_loop()
        for number in range(self._count):
            thread = threading.Thread(target=self._work, args=(self._loop,), name=f"{self._name}-{number}", daemon=True)
            thread.start()
            self._threads.append(thread)

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        while (taken := self._jobs.get()) is not None:
            job, future = taken
            result, fault = None, None
            try:
                result = job()
            except Exception as error:  # noqa: BLE001 - it is raised where the job is awaited
                fault = error
            with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
                loop.call_soon_threadsafe(self._finish, future, result, fault)
            del taken, job, future, result, fault  # hold nothing while there is nothing to do

    def _finish(self, future: asyncio.Future[Any], result: object, fault: Exception | None) -> None:
        self.waiting -= 1
        if not self.waiting:
            self._idle.set()
        if future.done():
            return
        if fault is None:
            future.set_result(result)
        else:
            future.set_exception(fault)
