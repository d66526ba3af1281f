"""How many lines of local batches may be asked of an upstream now: what live calls leave."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from .load import Gauge

PEAK_S: Final = 4.0
"""Live calls come in bursts: the most that were open in this time keep their room."""
STARVED_S: Final = 3.0
"""One line is asked all the same after this time without any, so that no batch is stuck."""
_SCAN_S: Final = 1.0


class Room:
    """Of one upstream, for at most `concurrency` calls, live ones and lines together."""

    def __init__(self, gauge: Gauge, concurrency: int, monotonic: Callable[[], float]) -> None:
        self._gauge = gauge
        self._concurrency = concurrency
        self._monotonic = monotonic
        self._scanned_s = float("-inf")
        self._began_s = float("-inf")
        self._seen: deque[tuple[float, int]] = deque()
        """Live calls, falling from the most in the last `PEAK_S` to the newest count, each with its time."""

    def look(self) -> int:
        """The most live calls that were open at once, in the last `PEAK_S`: of those that a look found."""
        now_s = self._monotonic()
        if now_s - self._scanned_s >= _SCAN_S:
            self._gauge.scan()
            self._scanned_s = now_s
        count = self._gauge.live()
        while self._seen and self._seen[-1][1] <= count:
            self._seen.pop()
        self._seen.append((now_s, count))
        while self._seen[0][0] < now_s - PEAK_S:
            self._seen.popleft()
        return self._seen[0][1]

    def free(self, running: int, *, urgent: bool) -> int:
        """How many more lines may begin beside `running` ones. `urgent`: there are some whose deadline is near."""
        free = self._concurrency - self.look() - running
        if urgent:
            free = max(free, (self._concurrency + 1) // 2 - running)
        if free <= 0 and not running and self._monotonic() - self._began_s >= STARVED_S:
            return 1
        return max(0, free)

    def began(self) -> None:
        """A line was just begun."""
        self._began_s = self._monotonic()

    def close(self) -> None:
        self._gauge.close()
