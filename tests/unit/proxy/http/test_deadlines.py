"""Deadlines on a clock of their own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

from proxy.http.deadlines import Deadlines


class Timer:
    def __init__(self, at: float, call: Callable[[], None]) -> None:
        self.at = at
        self.call = call
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Clock:
    """The part of an event loop that tells the time."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.timers: list[Timer] = []

    def time(self) -> float:
        return self.now_s

    def call_at(self, at: float, call: Callable[[], None]) -> Timer:
        self.timers.append(Timer(at, call))
        return self.timers[-1]

    @property
    def pending(self) -> list[Timer]:
        return [timer for timer in self.timers if not timer.cancelled]

    def advance(self, seconds: float) -> None:
        until = self.now_s + seconds
        while due := [timer for timer in self.pending if timer.at <= until]:
            timer = min(due, key=lambda timer: timer.at)
            self.timers.remove(timer)
            self.now_s = max(self.now_s, timer.at)
            timer.call()
        self.now_s = until


def make() -> tuple[Clock, Deadlines, list[tuple[float, str]]]:
    clock, expired = Clock(), list[tuple[float, str]]()
    loop = cast(asyncio.AbstractEventLoop, cast(Any, clock))
    return clock, Deadlines(loop, lambda phase: expired.append((clock.now_s - 1000.0, phase))), expired


def test_a_phase_expires_once() -> None:
    clock, deadlines, expired = make()
    deadlines.begin(0.0)
    deadlines.watch("first_byte", 5.0)
    clock.advance(4.9)
    assert expired == []
    clock.advance(20.0)
    assert expired == [(5.0, "first_byte")]


def test_a_nearer_deadline_moves_the_timer_and_a_later_one_does_not() -> None:
    clock, deadlines, expired = make()
    deadlines.watch("first_byte", 600.0)
    deadlines.watch("idle", 10.0)
    clock.advance(8.0)
    deadlines.watch("idle", 10.0)
    assert len(clock.pending) == 1
    clock.advance(9.0)
    assert expired == []
    clock.advance(1.0)
    assert expired == [(18.0, "idle")]


def test_a_thousand_requests_share_one_timer() -> None:
    clock, deadlines, expired = make()
    for _ in range(1000):
        deadlines.begin(0.0)
        deadlines.watch("first_byte", 60.0)
        clock.advance(0.05)
        deadlines.clear()
    assert len(clock.timers) == 1
    clock.advance(1000.0)
    assert expired == []
    assert clock.timers == []


def test_the_total_runs_on_through_phases_and_pauses() -> None:
    clock, deadlines, expired = make()
    deadlines.begin(1030.0)
    deadlines.watch("first_byte", 20.0)
    clock.advance(15.0)
    deadlines.pause()
    clock.advance(10.0)
    deadlines.watch("idle", 20.0)
    clock.advance(10.0)
    assert expired == [(30.0, "total")]


def test_the_total_is_still_watched_after_a_phase_expired() -> None:
    clock, deadlines, expired = make()
    deadlines.begin(1030.0)
    deadlines.watch("first_byte", 10.0)
    clock.advance(50.0)
    assert expired == [(10.0, "first_byte"), (30.0, "total")]


def test_without_limits_there_is_no_timer() -> None:
    clock, deadlines, _ = make()
    deadlines.begin(0.0)
    deadlines.watch("first_byte", 0.0)
    assert clock.timers == []


def test_close_lets_go_of_the_timer() -> None:
    clock, deadlines, expired = make()
    deadlines.begin(1001.0)
    deadlines.watch("idle", 1.0)
    deadlines.close()
    assert clock.pending == []
    assert expired == []
