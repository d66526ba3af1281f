"""Completion: once for all sinks where they are near each other, in bounded memory, and nobody waits for long."""

from __future__ import annotations

import time
from collections.abc import Sequence
from threading import Event, Thread

import pytest

from exporters.completion import FRESH_S, Completion
from exporters.frames import Frame, Kind
from exporters.record import CallRecord, encode
from tests.unit.exporters.spooled import record

SINKS = ("first", "second", "third")
FOR_EVER_S = 3600.0


def frames(*numbers: int) -> list[Frame]:
    payloads = [encode(record(number, b"x" * 100)) for number in numbers]
    return [Frame(Kind.RECORD, data, 1000 * n, 1000 * n + 1000) for n, data in zip(numbers, payloads, strict=True)]


SIZE = len(frames(1)[0].payload)


class Counted(Completion):
    """Counts what it completes."""

    def __init__(
        self, sinks: Sequence[str] = SINKS, records: int = 100, *, patience_s: float = 0.0, now_ns: int | None = None
    ) -> None:
        def complete(one: CallRecord) -> CallRecord:
            self.made.append(one.request_id)
            return one

        self.made: list[str] = []
        clock = time.time_ns if now_ns is None else lambda: now_ns
        self._asked = 0
        super().__init__(
            complete, sinks, records * SIZE, patience_s=patience_s, clock=clock, monotonic=self._one_second_later
        )

    def _one_second_later(self) -> float:
        """Asked before and after each wait, so that one wait uses up all patience below a second."""
        self._asked += 1
        return float(self._asked)

    @property
    def waits(self) -> int:
        return self._asked // 2

    def read(self, sink: str, *numbers: int) -> list[str]:
        found = self.records(sink, "directory", 1, frames(*numbers))
        return [one.request_id for one in found if one is not None]


def test_each_record_is_completed_once_for_all_sinks() -> None:
    completion = Counted()
    assert completion.read("first", 1, 2, 3) == ["req-1", "req-2", "req-3"]
    assert completion.read("second", 1) + completion.read("second", 2, 3) == ["req-1", "req-2", "req-3"]
    assert completion.read("third", 1, 2) + completion.read("third", 3) == ["req-1", "req-2", "req-3"]
    assert completion.made == ["req-1", "req-2", "req-3"]


def test_nothing_is_kept_for_those_who_have_passed() -> None:
    completion = Counted(records=4)
    for sink in SINKS:
        completion.read(sink, 5, 6)
    completion.read("first", 1, 2, 3, 4)
    completion.read("first", 7, 8)
    completion.read("second", 7, 8)
    assert completion.made == [f"req-{n}" for n in (5, 6, 1, 2, 3, 4, 7, 8)]


def test_a_sink_that_goes_back_shares_nothing() -> None:
    completion = Counted(records=2)
    completion.read("first", 1, 2)
    assert [one.request_id for one in completion.again(frames(8, 9)) if one] == ["req-8", "req-9"]
    assert completion.read("second", 1, 2) == ["req-1", "req-2"]
    assert completion.made == ["req-1", "req-2", "req-8", "req-9"]


def test_the_window_lets_the_oldest_go() -> None:
    completion = Counted(("first", "second"), records=4)
    completion.read("first", 1, 2, 3, 4, 5, 6)
    completion.read("second", 1, 2, 3, 4, 5, 6)
    assert completion.made == [f"req-{n}" for n in (1, 2, 3, 4, 5, 6, 1, 2)]


@pytest.fixture
def leading() -> Counted:
    """Two sinks, the first one ahead by the whole window, in old records."""
    completion = Counted(("first", "second"), records=4, patience_s=FOR_EVER_S)
    completion.read("first", 1, 2, 3, 4)
    return completion


def test_a_sink_that_leads_by_the_window_waits_for_the_others(leading: Counted) -> None:
    going, done = Event(), Event()

    def lead() -> None:
        going.set()
        leading.read("first", 5, 6)
        done.set()

    Thread(target=lead, daemon=True).start()
    going.wait()
    assert not done.wait(0.2)
    leading.read("second", 1, 2)
    assert done.wait(30)
    leading.read("second", 3, 4, 5, 6)
    assert leading.made == [f"req-{n}" for n in (1, 2, 3, 4, 5, 6)]


def test_fresh_records_wait_for_nobody() -> None:
    ended_ns = record(1).end_ns
    completion = Counted(("first", "second"), 4, patience_s=0.1, now_ns=ended_ns + int(FRESH_S * 1e9))
    for number in range(1, 11):
        completion.read("first", number)
    assert len(completion.made) == 10
    assert completion.waits == 0


def test_patience_with_a_dead_sink_ends_and_comes_back_with_it() -> None:
    completion = Counted(("first", "second"), 4, patience_s=0.1)
    for number in range(1, 21):
        completion.read("first", number)
    assert completion.waits == 1
    completion.read("second", 17, 18, 19, 20)
    completion.read("first", 21, 22, 23, 24)
    completion.read("first", 25)
    assert completion.waits == 2
