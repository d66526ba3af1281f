"""A directory that comes into the spool whole, and only once; and what the recorder makes of it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from exporters import handover, layout
from exporters.frames import FRAME_BYTES_MAX
from exporters.record import encode
from tests.unit.exporters.spooled import MemorySink, drain, ids, record


def stage(root: Path, *numbers: int) -> Path:
    folder = root / "outgoing" / "one"
    handover.stage(folder, (encode(record(number)) for number in numbers), start_ns=5)
    return folder


def test_nothing_is_in_the_spool_before_it_is_published(tmp_path: Path) -> None:
    folder = stage(tmp_path, 1, 2)
    assert layout.directories(tmp_path / "spool") == []
    assert handover.publish(folder, tmp_path / "spool")
    (directory,) = layout.directories(tmp_path / "spool")
    assert (directory.start_ns, directory.pid, directory.finished()) == (5, os.getpid(), 1)
    assert stat.S_IMODE(directory.path.stat().st_mode) == 0o700
    assert not folder.exists()


def test_it_is_published_once(tmp_path: Path) -> None:
    folder = stage(tmp_path, 1)
    assert [handover.publish(folder, tmp_path / "spool") for _ in range(2)] == [True, False]
    assert len(layout.directories(tmp_path / "spool")) == 1


def test_what_was_staged_before_is_staged_anew(tmp_path: Path) -> None:
    stage(tmp_path, 1, 2)
    folder = stage(tmp_path, 3)
    handover.publish(folder, tmp_path / "spool")
    sink = MemorySink()
    drain(tmp_path, sink)
    assert sink.ids == ids(3)


def test_the_recorder_delivers_all_of_it_and_its_accounts_add_up(tmp_path: Path) -> None:
    handover.publish(stage(tmp_path, 1, 2, 3), tmp_path / "spool")
    handover.publish(stage(tmp_path, 3, 3), tmp_path / "spool")
    sink = MemorySink()
    status = drain(tmp_path, sink)
    assert sink.ids == ids(1, 2, 3, 3, 3), "two records may be of one request"
    assert (status.accepted, status.open, status.sinks[0].exported, status.dropped) == (5, 0, 5, {})
    assert layout.directories(tmp_path / "spool") == [], "nothing is left of what was delivered"


def test_damage_is_counted_and_leaves_nothing_open(tmp_path: Path) -> None:
    folder = stage(tmp_path, 1, 2)
    (directory,) = layout.directories(folder)
    path = Path(directory.segment(1))
    data = path.read_bytes()
    path.write_bytes(data.replace(b"req-1", b"req-X"))
    handover.publish(folder, tmp_path / "spool")
    sink = MemorySink()
    status = drain(tmp_path, sink)
    assert sink.ids == ids(2)
    assert (status.accepted, status.open, status.corrupt) == (1, 0, 1)


def test_a_record_that_no_frame_holds_loses_its_bodies(tmp_path: Path) -> None:
    folder = tmp_path / "outgoing" / "one"
    large = encode(record(1, b"x" * (FRAME_BYTES_MAX + 1)))
    handover.stage(folder, [large, encode(record(2))], start_ns=5)
    handover.publish(folder, tmp_path / "spool")
    sink = MemorySink()
    drain(tmp_path, sink)
    first, second = sorted(sink.records, key=lambda record: record.request_id)
    assert (first.request_body, first.truncated) == (None, True)
    assert (second.request_body, second.truncated) == (b"{}", False)


def test_what_cannot_be_published_is_kept(tmp_path: Path) -> None:
    folder = stage(tmp_path, 1)
    (tmp_path / "spool").write_bytes(b"")
    with pytest.raises(FileExistsError):
        handover.publish(folder, tmp_path / "spool")
    (tmp_path / "spool").unlink()
    assert handover.publish(folder, tmp_path / "spool")
