"""Records decoded and completed once for all sinks, as long as these are near each other in the spool."""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Callable, Sequence
from threading import Condition
from typing import Final

import msgspec

from .files import Throttle
from .frames import Frame
from .record import VERSION, CallRecord, Complete, decode_record

logger = logging.getLogger(__name__)

_SHARED_BYTES_MAX: Final = 32 * 1024 * 1024
"""Of records as they were written; a sink that is down must not cost more memory than this."""

PATIENCE_S: Final = 4.0
"""For one whole window that a sink behind takes over, how long the ones ahead may wait for it to do so."""

FRESH_S: Final = 5.0
"""Whoever reads records that ended less than this ago waits for nobody."""

_DIRECTORIES_MAX: Final = 256

Place = tuple[int, int]
"""Segment and offset."""


def where(error: BaseException) -> str:
    """The type of an error and the line that raised it: its message may hold what a caller wrote."""
    frames = traceback.extract_tb(error.__traceback__)
    return f"{type(error).__name__} at {frames[-1].filename}:{frames[-1].lineno}" if frames else type(error).__name__


class Completion:
    """Safe to use from the threads of all sinks. Completed records are shared: nobody changes them.

    A record is kept for the sinks that have not come to it, in a window of bounded size. In a backlog a sink that leads
    by the whole window waits for those behind it, so that no work is done twice; but never long for one that is slow
    (less than 32 MiB in 4 s) or down, and never when its records are fresh.
    """

    def __init__(
        self,
        complete: Complete,
        sinks: Sequence[str],
        bytes_max: int = _SHARED_BYTES_MAX,
        *,
        patience_s: float = PATIENCE_S,
        clock: Callable[[], int] = time.time_ns,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._complete = complete
        self._sinks = sinks
        self._bytes_max = bytes_max
        self._patience_max_s = self._patience_s = patience_s
        self._clock = clock
        self._monotonic = monotonic
        self._bytes = 0
        self._shared: dict[tuple[str, int, int], tuple[CallRecord | None, int, int]] = {}
        self._places: dict[str, dict[str, Place]] = {}
        """By directory and sink: where it reads on. A sink that has not begun is behind all others."""
        self._room = Condition()
        self._throttle = Throttle()
        self.uncompleted = 0
        """Records that `complete` failed on; they go on as the worker wrote them."""

    def records(self, sink: str, directory: str, segment: int, frames: Sequence[Frame]) -> list[CallRecord | None]:
        """The record of each frame; None for one that cannot be decoded or is of a newer version."""
        if not frames:
            return []
        with self._room:
            if (directory, segment, frames[0].start) not in self._shared:
                self._wait_for_others(frames[0].payload)
            places = self._places.setdefault(directory, {})
            places[sink] = (segment, frames[-1].end)
            if len(self._places) > _DIRECTORIES_MAX:
                del self._places[next(iter(self._places))]
            behind = [places.get(other, (0, 0)) for other in self._sinks if other != sink]
            return [self._take((directory, segment, frame.start), frame.payload, behind) for frame in frames]

    def again(self, frames: Sequence[Frame]) -> list[CallRecord | None]:
        """The same for a sink that goes back to what all may have passed: nothing is shared."""
        with self._room:
            return [self._make(frame.payload) for frame in frames]

    def _take(self, key: tuple[str, int, int], payload: bytes, others: list[Place]) -> CallRecord | None:
        shared = self._shared.pop(key, None)
        if shared is None:
            record = self._make(payload)
            takers = sum(place <= key[1:] for place in others)
            size = len(payload)
            self._bytes += size if takers else 0
        else:
            record, takers, size = shared
            takers -= 1
            self._bytes -= 0 if takers else size
            self._patience_s = min(
                self._patience_max_s, self._patience_s + self._patience_max_s * size / self._bytes_max
            )
            self._room.notify_all()
        if takers:
            self._shared[key] = (record, takers, size)
            while self._bytes > self._bytes_max:
                self._bytes -= self._shared.pop(next(iter(self._shared)))[2]
        return record

    def _wait_for_others(self, payload: bytes) -> None:
        """While the window is full, and patience lasts."""
        if len(self._sinks) < 2 or not self._is_full or not self._is_old(payload):
            return
        while self._is_full and self._patience_s > 0:
            began = self._monotonic()
            self._room.wait(self._patience_s)
            self._patience_s = max(0.0, self._patience_s - (self._monotonic() - began))

    @property
    def _is_full(self) -> bool:
        # A reader takes up to a chunk at a time; below this it never has to throw out what somebody waits for.
        return self._bytes > self._bytes_max * 3 // 4

    def _is_old(self, payload: bytes) -> bool:
        try:
            return self._clock() - decode_record(payload).end_ns > FRESH_S * 1e9
        except msgspec.DecodeError:
            return False

    def _make(self, payload: bytes) -> CallRecord | None:
        try:
            record = decode_record(payload)
        except msgspec.DecodeError:
            return None
        if record.version > VERSION:
            return None
        try:
            return self._complete(record)
        except Exception as error:  # noqa: BLE001  A defect, and the record is worth more than what it lacks.
            self.uncompleted += 1
            if self._throttle.due("complete"):
                logger.error("A record could not be completed and is exported as it is: %s.", where(error))
            return record
