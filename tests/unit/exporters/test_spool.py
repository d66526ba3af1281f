"""The writer: what it has written can be read, and a disk that refuses costs what it refused and nothing else."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from exporters import layout
from exporters.files import try_lock
from exporters.frames import Damage, Decoder, Frame, Kind
from exporters.record import Feedback, decode_record
from exporters.spool import SpoolUnwritable, SpoolWriter
from exporters.stats import Stats, read_stats
from exporters.tail import identify
from tests.unit.exporters.spooled import begin, exchange, here, record


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def writer(tmp_path: Path, clock: Clock) -> Any:
    made = SpoolWriter(tmp_path, 3, segment_bytes_max=4096, segment_age_max_s=60, monotonic=clock)
    yield made
    made.close()


def frames(writer: SpoolWriter, number: int) -> list[Frame | Damage]:
    data = Path(here(writer).segment(number)).read_bytes()
    decoder = Decoder(here(writer).marker)
    return decoder.feed(data) + decoder.finish()


def shape(writer: SpoolWriter, number: int) -> list[str]:
    """`BEGIN req-1`, ... for each frame of a segment."""
    return [
        f"{Kind(piece.kind).name} {identify(piece.payload) or ''}".strip()
        if isinstance(piece, Frame) and piece.kind != Kind.HEAD
        else ("HEAD" if isinstance(piece, Frame) else "DAMAGE")
        for piece in frames(writer, number)
    ]


class Refusing:
    """Stands before os.writev: lets half a frame through, then the disk has no more."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, number: int = errno.ENOSPC, half: bool = True) -> None:
        self.number, self.half = number, half
        self.real = os.writev
        self.patch = monkeypatch
        monkeypatch.setattr(os, "writev", self)
        monkeypatch.setattr(os, "write", self.write)
        self.active = True

    def __call__(self, fd: int, buffers: tuple[bytes, bytes]) -> int:
        if not self.active:
            return self.real(fd, buffers)
        if self.half:
            data = b"".join(buffers)
            return self.real(fd, (data[: len(data) // 2],))
        raise OSError(self.number, os.strerror(self.number))

    def write(self, fd: int, data: bytes) -> int:
        if self.active:
            raise OSError(self.number, os.strerror(self.number))
        return self.real(fd, (data,))


def test_an_exchange_is_a_mark_and_a_record(writer: SpoolWriter) -> None:
    exchange(writer, 1)
    assert shape(writer, 1) == ["HEAD", "BEGIN req-1", "RECORD req-1"]
    written = frames(writer, 1)[2]
    assert isinstance(written, Frame)
    assert decode_record(written.payload) == record(1)
    assert (writer.accepted, writer.written, writer.open_exchanges) == (1, 1, 0)


def test_the_directory_is_named_for_its_writer_and_locked(writer: SpoolWriter, tmp_path: Path) -> None:
    (directory,) = layout.directories(tmp_path)
    assert (directory.slot, directory.pid) == (3, os.getpid())
    assert try_lock(directory.path / "lock") is None
    writer.close()
    fd = try_lock(directory.path / "lock")
    assert fd is not None
    os.close(fd)


def test_nobody_else_may_read_it(writer: SpoolWriter) -> None:
    assert here(writer).path.stat().st_mode & 0o777 == 0o700


def test_rotation_by_size_carries_what_is_open(writer: SpoolWriter) -> None:
    writer.begin(begin(1))
    exchange(writer, 2, body=b"x" * 5000)
    exchange(writer, 3)
    assert shape(writer, 1) == ["HEAD", "BEGIN req-1", "BEGIN req-2", "RECORD req-2"]
    assert shape(writer, 2) == ["HEAD", "CARRY req-1", "BEGIN req-3", "RECORD req-3"]


def test_rotation_by_age_but_not_of_what_is_empty(writer: SpoolWriter, clock: Clock) -> None:
    clock.now_s = 61
    writer.tick()
    assert here(writer).segments() == [1]
    writer.begin(begin(1))
    writer.tick()
    assert here(writer).segments() == [1, 2]
    clock.now_s = 200
    writer.tick()
    assert here(writer).segments() == [1, 2], "only the head is in it"


@pytest.mark.parametrize("half", [True, False])
def test_a_full_disk_drops_counts_and_recovers(
    writer: SpoolWriter, clock: Clock, monkeypatch: pytest.MonkeyPatch, half: bool
) -> None:
    writer.begin(begin(1))
    disk = Refusing(monkeypatch, half=half)
    assert not writer.append(record(1))
    disk.active = False
    assert writer.dropped == {"disk_full": 1}
    exchange(writer, 2)
    assert shape(writer, 1) == ["HEAD", "BEGIN req-1", "BEGIN req-2", "RECORD req-2"], "half a frame was cut off"
    writer.tick()
    assert shape(writer, 2) == ["HEAD"], "the next head says that req-1 is over"


def test_a_segment_that_cannot_be_cut_is_left(writer: SpoolWriter, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(fd: int, size: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    disk = Refusing(monkeypatch, errno.EIO)
    monkeypatch.setattr(os, "ftruncate", refuse)
    writer.begin(begin(1))
    disk.active = False
    exchange(writer, 2)
    assert shape(writer, 1) == ["HEAD", "DAMAGE"]
    assert shape(writer, 2) == ["HEAD", "CARRY req-1", "BEGIN req-2", "RECORD req-2"]


def test_stats_hold_what_has_no_mark(writer: SpoolWriter, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    stats = here(writer).path / "stats"
    disk = Refusing(monkeypatch)
    for number in (1, 2, 3):
        assert not writer.begin(begin(number))
    assert read_stats(stats) == Stats(open=3)
    writer.append(record(1))
    assert read_stats(stats) == Stats(open=2, disk_full=1)
    disk.active = False
    writer.append(record(2))
    assert read_stats(stats) == Stats(open=1, disk_full=1)
    writer.begin(begin(4))
    clock.now_s = 61
    writer.tick()
    assert shape(writer, 2) == ["HEAD", "CARRY req-3", "CARRY req-4"]
    assert read_stats(stats) == Stats(open=0, disk_full=1)


def test_too_large_a_body_is_left_out_and_the_rest_kept(writer: SpoolWriter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("exporters.spool.FRAME_BYTES_MAX", 1000)
    writer.begin(begin(1))
    assert writer.append(record(1, b"x" * 2000))
    kept = frames(writer, 1)[2]
    assert isinstance(kept, Frame)
    found = decode_record(kept.payload)
    assert (found.request_body, found.truncated) == (None, True)


def test_no_room_for_a_new_segment_keeps_the_old_one(
    writer: SpoolWriter, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = os.open

    def refuse(path: Any, flags: int, mode: int = 0o777) -> int:
        if "0000000002" in str(path):
            raise OSError(errno.EMFILE, "Too many open files")
        return opened(path, flags, mode)

    monkeypatch.setattr(os, "open", refuse)
    exchange(writer, 1, body=b"x" * 5000)
    exchange(writer, 2)
    assert shape(writer, 1)[-1] == "RECORD req-2"
    monkeypatch.setattr(os, "open", opened)
    exchange(writer, 3)
    clock.now_s = 2
    writer.tick()
    exchange(writer, 4)
    assert not writer.dropped
    assert shape(writer, 2)[0] == "HEAD"


def test_starts_on_a_full_disk_and_catches_up(tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Refusing(monkeypatch)
    with_nothing = SpoolWriter(tmp_path / "spool", 0, monotonic=clock)
    assert with_nothing.directory is None
    with_nothing.begin(begin(1))
    with_nothing.begin(begin(2))
    with_nothing.append(record(2))
    assert list((tmp_path / "spool").iterdir()) == [], "nothing half made stays"
    disk.active = False
    clock.now_s = 2
    with_nothing.tick()
    assert shape(with_nothing, 1) == ["HEAD", "CARRY req-1"]
    assert read_stats(here(with_nothing).path / "stats") == Stats(disk_full=1)
    with_nothing.close()


def test_a_place_that_cannot_be_used_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SpoolUnwritable, match="Cannot write to the spool"):
        SpoolWriter(tmp_path / "file" / "spool", 0)


@pytest.mark.parametrize("fsync", ["never", "interval", "always"])
def test_fsync(tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch, fsync: Any) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fdatasync", synced.append)
    writer = SpoolWriter(tmp_path, 0, fsync=fsync, segment_bytes_max=4096, monotonic=clock)
    exchange(writer, 1, body=b"x" * 5000)
    during = len(synced)
    writer.tick()
    writer.close()
    assert {"never": during == 0, "interval": during == 0, "always": during == 2}[fsync]
    assert bool(synced) == (fsync != "never")


def test_feedback_and_close(writer: SpoolWriter) -> None:
    assert writer.feedback(Feedback(id="f", at_ns=1, request_id="req-1", score=1.0))
    writer.close()
    writer.close()
    writer.tick()
    assert [piece.kind for piece in frames(writer, 1) if isinstance(piece, Frame)] == [Kind.HEAD, Kind.FEEDBACK]


@pytest.fixture
def turns() -> list[Callable[[], object]]:
    """What the writer asked to be run at the end of the turn."""
    return []


@pytest.fixture
def deferring(tmp_path: Path, clock: Clock, turns: list[Callable[[], object]]) -> Iterator[SpoolWriter]:
    made = SpoolWriter(tmp_path / "deferring", 1, monotonic=clock, defer=turns.append)
    yield made
    made.close()


def test_marks_of_one_turn_are_written_together(deferring: SpoolWriter, turns: list[Callable[[], object]]) -> None:
    deferring.begin(begin(1))
    deferring.begin(begin(2))
    assert shape(deferring, 1) == ["HEAD"]
    assert len(turns) == 1
    turns.pop()()
    assert shape(deferring, 1) == ["HEAD", "BEGIN req-1", "BEGIN req-2"]
    deferring.begin(begin(3))
    assert len(turns) == 1


def test_a_record_takes_the_waiting_marks_along(deferring: SpoolWriter, turns: list[Callable[[], object]]) -> None:
    deferring.begin(begin(1))
    deferring.begin(begin(2))
    deferring.append(record(1))
    turns.pop()()
    assert shape(deferring, 1) == ["HEAD", "BEGIN req-1", "BEGIN req-2", "RECORD req-1"]


@pytest.mark.parametrize("end", ["close", "rotate"])
def test_waiting_marks_survive_the_end_of_a_segment(deferring: SpoolWriter, clock: Clock, end: str) -> None:
    exchange(deferring, 1)
    deferring.begin(begin(2))
    if end == "close":
        deferring.close()
    else:
        clock.now_s = 61
        deferring.tick()
        assert shape(deferring, 2) == ["HEAD", "CARRY req-2"]
    assert shape(deferring, 1) == ["HEAD", "BEGIN req-1", "RECORD req-1", "BEGIN req-2"]


@pytest.mark.parametrize("by", ["turn", "record"])
def test_marks_that_the_disk_refuses_are_in_the_stats(
    deferring: SpoolWriter, turns: list[Callable[[], object]], monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    stats = here(deferring).path / "stats"
    deferring.begin(begin(1))
    deferring.begin(begin(2))
    disk = Refusing(monkeypatch)
    if by == "turn":
        turns.pop()()
        assert read_stats(stats) == Stats(open=2)
    assert not deferring.append(record(1))
    assert read_stats(stats) == Stats(open=1, disk_full=1)
    disk.active = False
    assert shape(deferring, 1) == ["HEAD"]
