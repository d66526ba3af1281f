"""What a store does about its faults: leave off for a while, and say so now and then."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

_log = logging.getLogger(__name__)

_FIRST_S: Final = 0.5
_LONGEST_S: Final = 30.0
_LOG_EVERY_S: Final = 60.0


class Pause:
    """After a fault, operations are not tried for half a second; for twice as long after each fault that follows, up
    to half a minute. One that succeeds ends it. Faults of operations that were already under way count as one."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._until = 0.0
        self._next_s = _FIRST_S

    @property
    def on(self) -> bool:
        return self._until > 0 and self._monotonic() < self._until

    def begin(self) -> None:
        if not self.on:
            self._until = self._monotonic() + self._next_s
            self._next_s = min(_LONGEST_S, 2 * self._next_s)

    def end(self) -> None:
        if not self.on:  # what succeeds now was begun before the fault
            self._until, self._next_s = 0.0, _FIRST_S


class Complaints:
    """One line a minute for each kind of fault. Callable from any thread."""

    def __init__(self, store: str, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._monotonic = monotonic
        self._said: dict[str, float] = {}

    def say(self, fault: str) -> None:
        """`fault` has neither credentials nor content in it, and is one of a few."""
        now = self._monotonic()
        if fault not in self._said or now - self._said[fault] >= _LOG_EVERY_S:
            if len(self._said) >= 100:
                self._said.clear()
            self._said[fault] = now
            _log.warning("The cache goes on without its %s: %s", self._store, fault)
