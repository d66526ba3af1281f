"""Readers get every frame once, wait for what may still come, and step over what never will."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from exporters.frames import Damage, Frame, Kind, frame
from exporters.spool import SpoolWriter
from exporters.tail import Chunk, Cursor, Gap, Tail, identify, read_range
from tests.unit.exporters.spooled import begin, exchange, here, ids


@pytest.fixture
def writer(tmp_path: Path) -> Any:
    made = SpoolWriter(tmp_path, 0, segment_bytes_max=2000)
    yield made
    made.close()


def rest(tail: Tail, **limits: int) -> list[Chunk | Gap]:
    found = []
    while (piece := tail.read(**limits)) is not None:
        found.append(piece)
    return found


def records(found: list[Chunk | Gap]) -> list[str]:
    return [
        identify(piece.payload) or ""
        for chunk in found
        if isinstance(chunk, Chunk)
        for piece in chunk.pieces
        if isinstance(piece, Frame) and piece.kind == Kind.RECORD
    ]


def add(writer: SpoolWriter, data: bytes, number: int = 1) -> None:
    with open(here(writer).segment(number), "ab") as file:
        file.write(data)


def finish(writer: SpoolWriter, last: int) -> None:
    (here(writer).path / "finished").write_text(str(last))


def test_follows_over_segments(writer: SpoolWriter) -> None:
    tail = Tail(here(writer))
    exchange(writer, 1)
    assert records(rest(tail)) == ["req-1"]
    assert rest(tail) == []
    exchange(writer, 2, 3, 4, body=b"x" * 1500)
    assert records(rest(tail)) == ["req-2", "req-3", "req-4"]
    assert here(writer).segments() == [1, 2, 3]


@pytest.mark.parametrize("limit", range(1, 6))
def test_a_cursor_taken_anywhere_goes_on_there(writer: SpoolWriter, limit: int) -> None:
    exchange(writer, *range(9), body=b"x" * 400)
    position, found = Cursor(1), list[str]()
    while True:
        tail = Tail(here(writer), position)
        chunk = tail.read(records_max=limit)
        if chunk is None:
            break
        assert len(records([chunk])) <= limit
        assert tail.position.records <= 9
        found += records([chunk])
        position = tail.position
    assert found == [f"req-{number}" for number in range(9)]


def test_waits_for_the_rest_of_a_frame_at_every_point(writer: SpoolWriter) -> None:
    whole = frame(here(writer).marker, Kind.RECORD, b"\x91\xa5req-7")
    tail = Tail(here(writer))
    rest(tail)
    for at in range(len(whole) - 1):
        add(writer, whole[at : at + 1])
        assert tail.read() is None, at
    add(writer, whole[-1:])
    assert records(rest(tail)) == ["req-7"]


def test_a_torn_end_is_cut_once_the_segment_is_sealed(writer: SpoolWriter) -> None:
    exchange(writer, 1)
    add(writer, frame(here(writer).marker, Kind.RECORD, b"torn")[:-1])
    tail = Tail(here(writer))
    assert records(rest(tail)) == ["req-1"]
    assert not tail.ended
    finish(writer, 1)
    (last,) = rest(tail)
    assert isinstance(last, Chunk)
    assert [piece.torn for piece in last.pieces if isinstance(piece, Damage)] == [True]
    assert tail.ended


def test_damage_in_the_middle(writer: SpoolWriter) -> None:
    exchange(writer, 1, 2, 3)
    path = Path(here(writer).segment(1))
    data = bytearray(path.read_bytes())
    data[data.index(b"req-2", data.index(b"req-2") + 1)] ^= 1
    path.write_bytes(data)
    found = rest(Tail(here(writer)))
    assert records(found) == ["req-1", "req-3"]


def test_a_record_without_an_id_is_damage(writer: SpoolWriter) -> None:
    add(writer, frame(here(writer).marker, Kind.RECORD, b"\xc1 not messagepack"))
    exchange(writer, 1)
    (chunk,) = rest(Tail(here(writer)))
    assert isinstance(chunk, Chunk)
    assert sum(isinstance(piece, Damage) for piece in chunk.pieces) == 1
    assert records([chunk]) == ["req-1"]


def test_long_garbage_does_not_stop_a_reader(writer: SpoolWriter) -> None:
    add(writer, os.urandom(3_000_000))
    exchange(writer, 1)
    tail = Tail(here(writer))
    assert records(rest(tail, bytes_max=1000)) == ["req-1"]


def test_missing_segments_are_told(writer: SpoolWriter) -> None:
    exchange(writer, 1, 2, 3, 4, body=b"x" * 2000)
    tail = Tail(here(writer))
    rest(tail, bytes_max=1)
    tail = Tail(here(writer), Cursor(1, 40, 1))
    for number in (1, 2):
        os.unlink(here(writer).segment(number))
    assert tail.read() == Gap(1, 2, 1)
    assert records(rest(tail)) == ["req-3", "req-4"]


def test_a_missing_segment_behind_the_one_that_was_read(writer: SpoolWriter) -> None:
    tail = Tail(here(writer))
    exchange(writer, 1, body=b"x" * 100)
    assert records(rest(tail)) == ["req-1"]
    exchange(writer, 2, 3, 4, body=b"x" * 2000)
    os.unlink(here(writer).segment(2))
    found = [piece for _ in range(60) if (piece := tail.read()) is not None]
    assert records(found) == ["req-2", "req-4"]


def test_everything_missing_ends_a_finished_directory(writer: SpoolWriter) -> None:
    os.unlink(here(writer).segment(1))
    tail = Tail(here(writer))
    assert tail.read() is None
    finish(writer, 1)
    assert tail.read() == Gap(1, 1, 0)
    assert tail.ended


def test_a_range_is_read_again_the_same(writer: SpoolWriter) -> None:
    exchange(writer, 1, 2)
    add(writer, b"garbage")
    exchange(writer, 3)
    chunk = Tail(here(writer)).read()
    assert isinstance(chunk, Chunk)
    writer.begin(begin(4))
    assert read_range(here(writer), chunk.segment, chunk.start, chunk.end) == chunk.pieces


def test_a_large_frame_among_small_windows(writer: SpoolWriter) -> None:
    exchange(writer, 1, body=os.urandom(5_000_000))
    exchange(writer, 2)
    assert sorted(records(rest(Tail(here(writer)), bytes_max=1000))) == ids(1, 2)
