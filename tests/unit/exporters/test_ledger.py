"""accepted = exported + spooled + dropped, after everything that can go wrong (`drain` checks the sum each time)."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from exporters import janitor
from exporters.frames import Kind, frame
from exporters.layout import directories
from exporters.ledger import Ledger
from exporters.record import encode
from exporters.sink import SinkUnavailable
from exporters.spool import SpoolWriter
from exporters.tail import Cursor
from tests.unit.exporters.spooled import FOR_EVER, MemorySink, Standing, begin, drain, exchange, here, ids, record
from tests.unit.exporters.test_spool import Clock, Refusing


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def writer(tmp_path: Path, clock: Clock) -> Any:
    made = SpoolWriter(tmp_path / "spool", 0, segment_bytes_max=4000, monotonic=clock)
    yield made
    made.close()


def outcomes(sink: MemorySink) -> dict[str, str]:
    return {one.request_id: one.outcome for one in sink.records}


def damage(writer: SpoolWriter, number: int, what: bytes, occurrence: int = 1) -> None:
    """Change one byte of the `occurrence`-th place where `what` stands in a segment."""
    path = Path(here(writer).segment(number))
    data = bytearray(path.read_bytes())
    at = -1
    for _ in range(occurrence):
        at = data.index(what, at + 1)
    data[at] ^= 0x20
    path.write_bytes(data)


def rotate(writer: SpoolWriter, clock: Clock) -> None:
    clock.now_s += 61
    writer.tick()


def test_open_exchanges_of_a_living_worker_are_spooled(tmp_path: Path, writer: SpoolWriter) -> None:
    exchange(writer, 1)
    writer.begin(begin(2))
    status = drain(tmp_path, MemorySink())
    assert (status.accepted, status.open, status.sinks[0].spooled) == (2, 1, 1)


def test_open_exchanges_of_a_dead_worker_are_interrupted(tmp_path: Path, writer: SpoolWriter) -> None:
    sink = MemorySink()
    exchange(writer, 1)
    writer.begin(begin(2))
    exchange(writer, 3, body=b"x" * 4000)
    writer.begin(begin(4))
    died_ns = os.stat(here(writer).segment(2)).st_mtime_ns
    writer.close()
    status = drain(tmp_path, sink)
    assert outcomes(sink) == {"req-1": "answered", "req-2": "interrupted", "req-3": "answered", "req-4": "interrupted"}
    assert {one.end_ns for one in sink.records if one.outcome == "interrupted"} == {died_ns}
    assert (status.accepted, status.open, status.spool_bytes) == (4, 0, 0)
    assert drain(tmp_path, sink).accepted == 4, "kept when the directory is gone"
    assert len(sink.records) == 4


@pytest.mark.parametrize("step", ["the last segment", "finished"])
def test_a_recorder_killed_while_it_buries(
    tmp_path: Path, writer: SpoolWriter, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    writer.begin(begin(1))
    writer.begin(begin(2))
    writer.close()
    replace = janitor.files.replace
    sink = MemorySink()

    def die(path: Path, data: bytes) -> None:
        if path.name == "finished" if step == "finished" else path.suffix == ".seg":
            raise KeyboardInterrupt
        replace(path, data)

    with monkeypatch.context() as patch:
        patch.setattr(janitor.files, "replace", die)
        with pytest.raises(KeyboardInterrupt):
            drain(tmp_path, sink)
    drain(tmp_path, sink)
    assert sink.ids == ids(1, 2)


def test_a_torn_record_of_a_dead_worker(tmp_path: Path, writer: SpoolWriter) -> None:
    writer.begin(begin(1))
    with open(here(writer).segment(1), "ab") as file:
        file.write(frame(here(writer).marker, Kind.RECORD, encode(record(1)))[:-9])
    writer.close()
    sink = MemorySink()
    status = drain(tmp_path, sink)
    assert outcomes(sink) == {"req-1": "interrupted"}
    assert (status.torn, status.corrupt, status.accepted) == (1, 0, 1)


def test_a_damaged_record_is_dropped_when_the_next_segment_does_not_name_it(
    tmp_path: Path, writer: SpoolWriter, clock: Clock
) -> None:
    sink = MemorySink()
    exchange(writer, 1, 2, 3)
    damage(writer, 1, b"req-2", 2)
    assert drain(tmp_path, sink).sinks[0].spooled == 1
    rotate(writer, clock)
    status = drain(tmp_path, sink)
    assert (status.accepted, status.corrupt, status.dropped) == (3, 1, {"corrupt": 1})
    assert sink.ids == ids(1, 3)
    (aside,) = (tmp_path / "spool" / "corrupt").iterdir()
    assert b"eq-2" in aside.read_bytes()


def test_a_damaged_mark_costs_nothing(tmp_path: Path, writer: SpoolWriter, clock: Clock) -> None:
    exchange(writer, 1, 2)
    damage(writer, 1, b"req-2", 1)
    rotate(writer, clock)
    sink = MemorySink()
    status = drain(tmp_path, sink)
    assert (sink.ids, status.accepted, status.corrupt, status.dropped) == (ids(1, 2), 2, 1, {})


@pytest.mark.parametrize("place", ["head", "carry"])
def test_a_damaged_head_decides_nothing(tmp_path: Path, writer: SpoolWriter, clock: Clock, place: str) -> None:
    sink = MemorySink()
    writer.begin(begin(1))
    writer.begin(begin(2))
    rotate(writer, clock)
    writer.append(record(1))
    damage(writer, 2, here(writer).marker if place == "head" else b"req-2")
    drain(tmp_path, sink)
    rotate(writer, clock)
    writer.append(record(2))
    status = drain(tmp_path, sink)
    assert (sink.ids, status.accepted, status.dropped, status.corrupt) == (ids(1, 2), 2, {}, 1)


def test_every_flipped_byte_leaves_a_ledger_that_adds_up(tmp_path: Path, clock: Clock) -> None:
    """The whole way, for a sample of places: the truth is three exchanges, and none is delivered twice."""
    reference = SpoolWriter(tmp_path / "spool", 0, monotonic=clock)
    length = 0
    for at in range(0, 2000, 37):
        root = tmp_path / str(at)
        writer = SpoolWriter(root / "spool", 0, monotonic=clock)
        exchange(writer, 1)
        writer.begin(begin(2))
        rotate(writer, clock)
        writer.append(record(2))
        exchange(writer, 3)
        path = Path(here(writer).segment(1 + at % 2))
        data = bytearray(path.read_bytes())
        length = max(length, len(data))
        data[at % len(data)] ^= 0x55
        path.write_bytes(data)
        writer.close()
        sink = MemorySink()
        status = drain(root, sink)
        assert status.sinks[0].spooled == 0
        assert len(set(sink.ids)) == len(sink.ids)
        assert status.accepted >= 2
        assert status.accepted <= 3
    reference.close()


def test_what_a_full_disk_refused(
    tmp_path: Path, writer: SpoolWriter, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = MemorySink()
    exchange(writer, 1)
    writer.begin(begin(2))
    disk = Refusing(monkeypatch)
    for number in (3, 4, 5):
        writer.begin(begin(number))
    writer.append(record(2))
    writer.append(record(3))
    disk.active = False
    status = drain(tmp_path, sink)
    assert (status.accepted, status.dropped, status.sinks[0].spooled) == (5, {"disk_full": 1}, 3)
    rotate(writer, clock)
    writer.append(record(4))
    status = drain(tmp_path, sink)
    assert (status.accepted, status.dropped) == (5, {"disk_full": 1, "unwritten": 1})
    writer.close()
    status = drain(tmp_path, sink)
    assert outcomes(sink) == {"req-1": "answered", "req-4": "answered", "req-5": "interrupted"}
    assert (status.accepted, status.dropped, status.sinks[0].spooled) == (5, {"disk_full": 1, "unwritten": 1}, 0)


def test_killed_on_a_full_disk(tmp_path: Path, writer: SpoolWriter, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Refusing(monkeypatch, errno.EIO)
    writer.begin(begin(1))
    writer.begin(begin(2))
    writer.append(record(2))
    disk.active = False
    writer.close()
    status = drain(tmp_path, MemorySink())
    assert (status.accepted, status.dropped) == (2, {"killed": 1, "io_error": 1})
    assert drain(tmp_path, MemorySink()).dropped == {"killed": 1, "io_error": 1}


def test_the_quota_drops_the_oldest_and_counts_for_each_sink(
    tmp_path: Path, writer: SpoolWriter, caplog: pytest.LogCaptureFixture
) -> None:
    down, up = MemorySink("down", [SinkUnavailable("")] * FOR_EVER), MemorySink("up")
    exchange(writer, *range(6), body=b"x" * 4000)
    assert here(writer).segments() == [1, 2, 3, 4, 5, 6, 7]
    status = drain(tmp_path, down, up, bytes_max=100_000)
    assert [ledger.spooled for ledger in status.sinks] == [6, 0]
    status = drain(tmp_path, down, up, bytes_max=9000)
    assert status.sinks[0].dropped == {"quota": 4}
    assert (status.sinks[0].spooled, status.sinks[1].dropped) == (2, {})
    assert "over its quota" in caplog.text
    assert here(writer).segments() == [5, 6, 7]
    down.faults = []
    status = drain(tmp_path, down, up)
    assert (down.ids, up.ids) == (ids(4, 5), ids(*range(6)))
    assert status.sinks[0].dropped == {"quota": 4}


def test_what_the_quota_took_is_no_longer_spooled_though_its_loss_could_not_be_committed(
    tmp_path: Path, writer: SpoolWriter
) -> None:
    down = MemorySink("down", [SinkUnavailable("")] * FOR_EVER)
    exchange(writer, *range(6), body=b"x" * 4000)
    drain(tmp_path, down, bytes_max=100_000)
    ledger = Ledger(tmp_path / "spool", tmp_path / "checkpoints" / "ledger.json")
    janitor.Janitor(tmp_path / "spool", ledger, [Standing(writer, Cursor(1))], bytes_max=9000).sweep()
    (status,) = drain(tmp_path, down, bytes_max=9000).sinks
    assert (status.spooled, status.dropped) == (2, {"quota": 4})
    down.faults = []
    (status,) = drain(tmp_path, down).sinks
    assert (down.ids, status.exported, status.spooled, status.dropped) == (ids(4, 5), 2, 0, {"quota": 4})


def test_the_quota_takes_a_finished_directory_whole(tmp_path: Path, writer: SpoolWriter) -> None:
    down = MemorySink(faults=[SinkUnavailable("")] * FOR_EVER)
    exchange(writer, 1, 2, 3)
    writer.close()
    drain(tmp_path, down)
    status = drain(tmp_path, down, bytes_max=1)
    assert (status.accepted, status.sinks[0].dropped) == (3, {"quota": 3})
    down.faults = []
    drain(tmp_path, down)
    assert directories(tmp_path / "spool") == []


def test_segments_removed_by_hand_are_counted(tmp_path: Path, writer: SpoolWriter) -> None:
    down = MemorySink(faults=[SinkUnavailable("")] * FOR_EVER)
    exchange(writer, *range(4), body=b"x" * 4000)
    drain(tmp_path, down)
    os.unlink(here(writer).segment(2))
    down.faults = []
    status = drain(tmp_path, down)
    assert (down.ids, status.sinks[0].dropped) == (ids(0, 2, 3), {"missing": 1})


def test_a_kill_between_counting_and_removing_a_directory(
    tmp_path: Path, writer: SpoolWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = MemorySink()
    exchange(writer, 1)
    disk = Refusing(monkeypatch)
    writer.begin(begin(2))
    writer.append(record(2))
    disk.active = False
    writer.close()

    def die(self: Path, target: Path) -> Path:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", die)
        with pytest.raises(KeyboardInterrupt):
            drain(tmp_path, sink)
    status = drain(tmp_path, sink)
    assert (status.accepted, status.dropped, sink.ids) == (2, {"disk_full": 1}, ids(1))
    assert directories(tmp_path / "spool") == []


def test_leftovers_are_swept_up(tmp_path: Path, writer: SpoolWriter) -> None:
    root = tmp_path / "spool"
    old = root / f".0-1-2-{'ab' * 8}"
    young = root / f".0-1-3-{'ab' * 8}"
    for path in (old, young, root / ".trash-0-1-2-x"):
        path.mkdir()
        (path / "lock").write_text("")
    os.utime(old, (1, 1))
    drain(tmp_path, MemorySink())
    assert [path.name for path in root.glob(".*")] == [young.name]
