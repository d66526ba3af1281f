"""Delivery: the next batch is gathered while one is written, one at most, and nothing of that can lose or double."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event, Thread

import pytest

from exporters.checkpoint import Checkpoint, SinkState
from exporters.completion import Completion
from exporters.delivery import Delivery, Limits
from exporters.gathering import Gatherer
from exporters.sink import Batch, SinkUnavailable
from exporters.spool import SpoolWriter
from tests.unit.exporters.spooled import MemorySink, as_it_is, exchange, here, ids

PAIRS = Limits(batch_records_max=2, poll_s=0.01, backoff_max_s=0.01, batch_age_max_s=0.01)


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[SpoolWriter]:
    made = SpoolWriter(tmp_path / "spool", 0)
    yield made
    made.close()


class Held(MemorySink):
    """Stays in its write until it is let go."""

    def __init__(self) -> None:
        super().__init__("held")
        self.entered, self.free = Event(), Event()

    def write(self, batch: Batch) -> None:
        self.entered.set()
        assert self.free.wait(30)
        super().write(batch)


def delivery(root: Path, sink: MemorySink, checkpoint: type[Checkpoint] = Checkpoint) -> Delivery:
    (root / "checkpoints").mkdir(exist_ok=True)
    gatherer = Gatherer(sink.name, root / "spool", Completion(as_it_is, [sink.name]), lambda *_: (0, False))
    return Delivery(sink, gatherer, checkpoint(root / "checkpoints", sink.name), PAIRS)


def ended() -> Event:
    stop = Event()
    stop.set()
    return stop


def eventually(look: Callable[[], bool]) -> bool:
    tick = Event()
    return any(look() or tick.wait(0.01) for _ in range(3000))


def read(made: Delivery, writer: SpoolWriter) -> int:
    claimed = made.claimed(here(writer).name)
    return claimed.records if claimed else 0


def test_gathers_one_batch_and_no_more_while_one_is_written(tmp_path: Path, writer: SpoolWriter) -> None:
    exchange(writer, *range(1, 11))
    sink, stop = Held(), Event()
    made = delivery(tmp_path, sink)
    thread = Thread(target=made.run, args=(stop,), daemon=True)
    thread.start()
    assert sink.entered.wait(30)

    assert eventually(lambda: read(made, writer) >= 4)
    assert made.state.intent is not None
    assert made.state.intent.cursors[here(writer).name].records == 2
    assert made.oldest_ns is not None
    assert read(made, writer) == 4
    sink.free.set()
    stop.set()
    thread.join(30)
    assert sink.ids == ids(*range(1, 11))
    assert [len(batch.records) for batch in sink.batches.values()] == [2] * 5
    assert made.state.exported == 10
    assert made.oldest_ns is None


def test_a_batch_grows_while_the_one_before_it_is_written(tmp_path: Path, writer: SpoolWriter) -> None:
    exchange(writer, 1, 2)
    sink, stop = Held(), Event()
    made = delivery(tmp_path, sink)
    thread = Thread(target=made.run, args=(stop,), daemon=True)
    thread.start()
    assert sink.entered.wait(30)
    exchange(writer, 3)
    assert not Event().wait(20 * PAIRS.batch_age_max_s)
    exchange(writer, 4)
    assert eventually(lambda: read(made, writer) == 4)
    sink.free.set()
    stop.set()
    thread.join(30)
    assert [len(batch.records) for batch in sink.batches.values()] == [2, 2]


def test_what_was_gathered_ahead_is_not_lost_when_the_recorder_ends(tmp_path: Path, writer: SpoolWriter) -> None:
    exchange(writer, *range(1, 7))
    down = MemorySink(faults=[SinkUnavailable("down")] * 1000)
    first = delivery(tmp_path, down)
    first.run(ended())
    assert first.state.intent is not None
    down.faults = []
    second = delivery(tmp_path, down)
    second.run(ended())
    assert down.ids == ids(*range(1, 7))
    assert second.state.exported == 6
    assert set(down.writes) == set(down.batches)


@pytest.mark.parametrize("failing", [2, 6], ids=["first batch", "last batch"])
def test_what_was_gathered_ahead_of_a_defect_is_gathered_anew(
    tmp_path: Path, writer: SpoolWriter, failing: int
) -> None:
    class Defective(Checkpoint):
        saves = 0

        def save(self, state: SinkState) -> None:
            self.saves += 1
            if self.saves == failing:
                raise RuntimeError("a defect")
            super().save(state)

    exchange(writer, *range(1, 7))
    sink, stop = MemorySink(), Event()
    made = delivery(tmp_path, sink, Defective)
    thread = Thread(target=made.run, args=(stop,), daemon=True)
    thread.start()
    assert eventually(lambda: made.state.exported == 6)
    stop.set()
    thread.join(30)
    assert sink.ids == ids(*range(1, 7))
    assert len(sink.batches) == 3
