"""Nothing is removed before it was counted and passed, and nothing that may still grow is removed at all."""

from __future__ import annotations

from pathlib import Path
from threading import Event
from threading import enumerate as enumerate_threads
from typing import Any

import pytest

from exporters.janitor import Janitor
from exporters.ledger import Ledger
from exporters.sink import SinkUnavailable
from exporters.spool import SpoolWriter
from exporters.tail import Cursor
from tests.unit.exporters.spooled import (
    FOR_EVER,
    SMALL_BATCHES,
    MemorySink,
    Standing,
    drain,
    exchange,
    here,
    ids,
    recorder,
)


@pytest.fixture
def writer(tmp_path: Path) -> Any:
    made = SpoolWriter(tmp_path / "spool", 0, segment_bytes_max=4000)
    yield made
    made.close()


def ledger(root: Path) -> Ledger:
    return Ledger(root / "spool", root / "ledger.json")


def test_what_may_grow_stays_though_a_sink_says_it_is_past_it(tmp_path: Path, writer: SpoolWriter) -> None:
    exchange(writer, 1, 2, body=b"x" * 4000)
    Janitor(tmp_path / "spool", ledger(tmp_path), [Standing(writer, Cursor(99))], bytes_max=1).sweep()
    assert here(writer).segments() == [3]


def test_what_was_counted_is_saved_before_it_is_removed(tmp_path: Path, writer: SpoolWriter) -> None:
    first = ledger(tmp_path)
    first.advance()
    first.save()
    exchange(writer, 1, 2, body=b"x" * 4000)
    Janitor(tmp_path / "spool", first, [Standing(writer, Cursor(99))], bytes_max=1 << 40).sweep()
    assert here(writer).segments() == [3]
    assert ledger(tmp_path).snapshot([], 0).accepted == 2


def test_the_quota_spares_what_is_being_written(tmp_path: Path, writer: SpoolWriter) -> None:
    down = MemorySink(faults=[SinkUnavailable("")] * FOR_EVER)
    exchange(writer, 1, 2, 3)
    (ledger,) = drain(tmp_path, down, bytes_max=1).sinks
    assert (ledger.spooled, ledger.dropped) == (3, {})


def test_the_quota_takes_a_segment_that_a_sink_is_in_the_middle_of(tmp_path: Path) -> None:
    writer = SpoolWriter(tmp_path / "spool", 0)
    exchange(writer, *range(5))
    writer.close()
    sink = MemorySink(faults=[None] + [SinkUnavailable("")] * FOR_EVER)
    (ledger,) = drain(tmp_path, sink, limits=SMALL_BATCHES).sinks
    assert (ledger.exported, ledger.spooled) == (2, 3)
    sink.faults = [SinkUnavailable("")] * FOR_EVER
    (ledger,) = drain(tmp_path, sink, limits=SMALL_BATCHES, bytes_max=1).sinks
    assert (ledger.exported, ledger.dropped) == (2, {"quota": 3})
    sink.faults = []
    (ledger,) = drain(tmp_path, sink, limits=SMALL_BATCHES).sinks
    assert (sink.ids, ledger.dropped) == (ids(0, 1), {"quota": 3})


def test_a_recorder_ended_by_a_defect_leaves_no_thread_behind(
    tmp_path: Path, writer: SpoolWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or its process would neither record nor end."""
    exchange(writer, 1)

    def fail(self: Janitor) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr(Janitor, "sweep", fail)
    before = set(enumerate_threads())
    sink = MemorySink()
    with pytest.raises(RuntimeError, match="a defect"):
        recorder(tmp_path, sink, sweep_s=0.01).run(Event())
    assert set(enumerate_threads()) <= before
    assert (sink.ids, sink.closed) == (ids(1), 1)
