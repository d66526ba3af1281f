"""The contract of every sink. A sink's tests inherit `SinkContract` and say how to make one and what arrived."""

from __future__ import annotations

from typing import Any, Protocol

import pytest

from exporters.sink import Batch, Sink, SinkUnavailable
from tests.unit.exporters.spooled import MemorySink, record


class Harness(Protocol):
    """A sink and the place that it writes to, which can be taken away."""

    @property
    def sink(self) -> Sink: ...

    def arrived(self) -> list[str]:
        """The request ids at the destination, with repetitions."""

    def cut_off(self) -> None:
        """From now on the destination cannot be reached."""

    def restore(self) -> None: ...


class SinkContract:
    """Override the fixture `harness`."""

    keeps_tokens = True
    """False for a destination that has no memory of tokens (a terminal, counters)."""

    @pytest.fixture
    def harness(self) -> Any:
        raise LookupError("A sink's tests define the fixture `harness`.")

    def test_a_batch_arrives_once_for_its_token(self, harness: Harness) -> None:
        batch = Batch("token-1", [record(1), record(2)])
        harness.sink.write(batch)
        if self.keeps_tokens:
            harness.sink.write(batch)
        assert sorted(harness.arrived()) == ["req-1", "req-2"]

    def test_equal_records_under_another_token_are_another_batch(self, harness: Harness) -> None:
        harness.sink.write(Batch("token-1", [record(1)]))
        harness.sink.write(Batch("token-2", [record(2)]))
        assert sorted(harness.arrived()) == ["req-1", "req-2"]

    def test_what_cannot_be_reached_is_unavailable_and_takes_the_same_batch_later(self, harness: Harness) -> None:
        batch = Batch("token-1", [record(1)])
        harness.cut_off()
        with pytest.raises(SinkUnavailable):
            harness.sink.write(batch)
        harness.restore()
        harness.sink.write(batch)
        assert harness.arrived() == ["req-1"]

    def test_an_empty_batch_is_fine(self, harness: Harness) -> None:
        harness.sink.write(Batch("token-1", []))
        assert harness.arrived() == []

    def test_close_may_be_called_again(self, harness: Harness) -> None:
        harness.sink.close()
        harness.sink.close()

    def test_the_name_stays(self, harness: Harness) -> None:
        assert harness.sink.name
        assert harness.sink.name == harness.sink.name


class MemoryHarness:
    def __init__(self) -> None:
        self.sink = MemorySink()

    def arrived(self) -> list[str]:
        return [record.request_id for record in self.sink.records]

    def cut_off(self) -> None:
        self.sink.faults = [SinkUnavailable("The memory is away.")] * 100

    def restore(self) -> None:
        self.sink.faults = []
