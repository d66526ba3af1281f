"""`Dispatcher`: whoever holds the lease runs the parts, each in a loop of its own, until it has to stop or loses it."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Sequence
from typing import Final

from .lease import Lease, LeaseHolder, LeaseLost
from .part import Part
from .refusal import QueueUnavailable

_log = logging.getLogger(__name__)

_ASK_EVERY_S: Final = 1.0
"""For the lease, while another dispatcher has it."""
_FIRST_PAUSE_S: Final = 0.5
_PAUSE_MAX_S: Final = 30.0
_SAY_EVERY_S: Final = 60.0
_FINISH_WITHIN_S: Final = 3.0
"""A step that takes longer when it is time to stop is broken off."""

MakeParts = Callable[[], Sequence[Part]]


class Dispatcher:
    """For one queue. `parts` makes them anew each time that the lease is acquired."""

    def __init__(
        self, holder: LeaseHolder, parts: MakeParts, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._holder = holder
        self._parts = parts
        self._monotonic = monotonic
        self._said: dict[str, float] = {}

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop` is set; the lease is given back then. Does not raise what the queue or a part raises."""
        while not stop.is_set():
            try:
                lease = await self._holder.acquire()
            except QueueUnavailable as error:
                self._say("queue", "The batch queue cannot be reached: %s.", error)
                lease = None
            if lease is None:
                await _wait(stop, _ASK_EVERY_S * random.uniform(0.8, 1.2))
                continue
            _log.info("dispatching: what waits in the batch queue is asked from here")
            try:
                await self._dispatch(lease, stop)
            finally:
                await self._holder.release()

    async def _dispatch(self, lease: Lease, stop: asyncio.Event) -> None:
        parts = self._parts()
        over = asyncio.Event()
        loops = [asyncio.create_task(self._loop(part, lease, stop, over), name=part.name) for part in parts]
        ended = asyncio.create_task(_either(stop, over))
        try:
            await ended
            await asyncio.wait(loops, timeout=_FINISH_WITHIN_S)
        finally:
            for task in (ended, *loops):
                task.cancel()
            await asyncio.gather(ended, *loops, return_exceptions=True)
            for part in parts:
                await self._close(part)

    async def _loop(self, part: Part, lease: Lease, stop: asyncio.Event, over: asyncio.Event) -> None:
        pause_s = _FIRST_PAUSE_S
        while not stop.is_set() and not over.is_set():
            try:
                wait_s = await part.step(lease)
                pause_s = _FIRST_PAUSE_S
            except LeaseLost:
                self._say("lease", "Another dispatcher has taken over the batch queue.")
                over.set()
                return
            except Exception as error:  # noqa: BLE001 - one part that fails must not end the others
                told = f"{type(error).__name__}: {error}".splitlines()[0][:500]
                self._say(part.name, "The %s failed and goes on in a moment: %s", part.name, told)
                _log.debug("what failed", exc_info=True)
                wait_s, pause_s = pause_s, min(_PAUSE_MAX_S, pause_s * 2)
            if wait_s > 0:
                await _wait(stop, wait_s, over)

    async def _close(self, part: Part) -> None:
        try:
            await part.aclose()
        except Exception as error:  # noqa: BLE001 - the others are to be closed as well
            _log.warning("the %s did not close: %s", part.name, type(error).__name__)

    def _say(self, about: str, message: str, *arguments: object) -> None:
        """At most once a minute about one thing."""
        now_s = self._monotonic()
        if now_s - self._said.get(about, float("-inf")) >= _SAY_EVERY_S:
            self._said[about] = now_s
            _log.warning(message, *arguments)


async def _either(*events: asyncio.Event) -> None:
    waits = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()


async def _wait(stop: asyncio.Event, timeout_s: float, *others: asyncio.Event) -> None:
    waiting = asyncio.create_task(_either(stop, *others))
    await asyncio.wait([waiting], timeout=timeout_s)
    waiting.cancel()
