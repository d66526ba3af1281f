"""What a connection is waiting for, and until when: one lazy timer for all of it.

A deadline is a number that is overwritten; the timer is touched only when a deadline comes nearer than it is set. On a
busy connection that is almost never, so a timeout costs a request next to nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Literal

Phase = Literal["", "first_byte", "idle", "upload", "total"]

_ROUNDING_S = 0.002
"""Loops round to milliseconds, so a timer may fire this much early."""


class Deadlines:
    """Calls `expired` with the phase that took too long; the deadlines are cleared by then."""

    __slots__ = ("_expired", "_loop", "_phase", "_phase_at", "_timer", "_timer_at", "_total_at")

    def __init__(self, loop: asyncio.AbstractEventLoop, expired: Callable[[Phase], None]) -> None:
        self._loop = loop
        self._expired = expired
        self._phase: Phase = ""
        self._phase_at = 0.0
        self._total_at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0

    def begin(self, total_at: float) -> None:
        """A new exchange, which must be over at `total_at` on the loop's clock (0: no limit)."""
        self._phase_at = 0.0
        self._total_at = total_at
        if total_at:
            self._tighten(total_at)

    def watch(self, phase: Phase, limit_s: float) -> None:
        """`phase` begins and may last `limit_s` (0: no limit)."""
        if limit_s:
            self._phase = phase
            self._phase_at = at = self._loop.time() + limit_s
            if self._timer is None or at < self._timer_at:
                self._tighten(at)
        else:
            self._phase_at = 0.0

    def pause(self) -> None:
        """Nothing is waited for; only the total runs on."""
        self._phase_at = 0.0

    def clear(self) -> None:
        self._phase_at = self._total_at = 0.0

    def close(self) -> None:
        """No more deadlines: lets go of the timer, and of what it refers to."""
        self.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tighten(self, at: float) -> None:
        if self._timer is not None:
            if self._timer_at <= at:
                return
            self._timer.cancel()
        self._timer_at = at
        self._timer = self._loop.call_at(at, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        phase_at, total_at = self._phase_at, self._total_at
        at = min(phase_at, total_at) if phase_at and total_at else phase_at or total_at
        if not at:
            return
        if self._loop.time() + _ROUNDING_S < at:
            self._tighten(at)
            return
        phase: Phase = "total" if at == total_at else self._phase
        self._phase_at = 0.0
        if phase == "total":
            self._total_at = 0.0
        elif total_at:
            self._tighten(total_at)
        self._expired(phase)
