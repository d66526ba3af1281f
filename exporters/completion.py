"""Records decoded and completed once for all sinks, as long as these are near each other in the spool."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterable
from threading import Lock
from typing import Final

import msgspec

from .files import Throttle
from .frames import Frame
from .record import VERSION, CallRecord, Complete, decode_record

logger = logging.getLogger(__name__)

_SHARED_BYTES_MAX: Final = 16 * 1024 * 1024
"""Of records as they were written; a sink that is down must not cost more memory than this."""


def where(error: BaseException) -> str:
    """The type of an error and the line that raised it: its message may hold what a caller wrote."""
    frames = traceback.extract_tb(error.__traceback__)
    return f"{type(error).__name__} at {frames[-1].filename}:{frames[-1].lineno}" if frames else type(error).__name__


class Completion:
    """Safe to use from the threads of all sinks. Completed records are shared: nobody changes them."""

    def __init__(self, complete: Complete, sinks: int, bytes_max: int = _SHARED_BYTES_MAX) -> None:
        self._complete = complete
        self._sinks = sinks
        self._bytes_max = bytes_max
        self._bytes = 0
        self._shared: dict[tuple[str, int, int], tuple[CallRecord | None, int, int]] = {}
        self._lock = Lock()
        self._throttle = Throttle()
        self.uncompleted = 0
        """Records that `complete` failed on; they go on as the worker wrote them."""

    def records(self, directory: str, segment: int, frames: Iterable[Frame]) -> list[CallRecord | None]:
        """The record of each frame; None for one that cannot be decoded or is of a newer version."""
        with self._lock:
            return [self._take((directory, segment, frame.start), frame.payload) for frame in frames]

    def _take(self, key: tuple[str, int, int], payload: bytes) -> CallRecord | None:
        if self._sinks <= 1:
            return self._make(payload)
        shared = self._shared.pop(key) if key in self._shared else None
        record, takers, size = shared or (self._make(payload), self._sinks, len(payload))
        if takers == self._sinks:
            self._bytes += size
        if takers == 1:
            self._bytes -= size
        else:
            self._shared[key] = (record, takers - 1, size)
            while self._bytes > self._bytes_max:
                self._bytes -= self._shared.pop(next(iter(self._shared)))[2]
        return record

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
