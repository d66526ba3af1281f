"""The reader's end of the spool: frames from a cursor on, as far as they have been written.

Several readers follow the same files, each with its own cursor, and take no notice of each other or of the writer.
"""

from __future__ import annotations

import os
from typing import Final, NamedTuple

import msgspec

from .frames import Damage, Decoder, Frame, Kind
from .layout import FINISHED, SpoolDirectory

_WINDOW_BYTES: Final = 256 * 1024
_LOOK_AROUND: Final = 50


class Cursor(msgspec.Struct, frozen=True, array_like=True):
    """The next byte to read: everything before it is done with."""

    segment: int = 0
    offset: int = 0
    records: int = 0
    """RECORD frames before `offset` in this segment."""


class Chunk(NamedTuple):
    """What was read in one go, of one segment."""

    segment: int
    start: int
    end: int
    pieces: list[Frame | Damage]


class Gap(NamedTuple):
    """Segments that are not there any more, from `first` to `last`. `records`: those read of the first one before."""

    first: int
    last: int
    records: int


class _Identity(msgspec.Struct, array_like=True):
    request_id: str


_identity = msgspec.msgpack.Decoder(_Identity)


def identify(payload: bytes) -> str | None:
    """The request id of a begin mark or a record, of whatever version; None when it has none."""
    try:
        return _identity.decode(payload).request_id
    except msgspec.DecodeError:
        return None


def _checked(pieces: list[Frame | Damage]) -> list[Frame | Damage]:
    """A record without a readable id is damage: its exchange is accounted for by its begin mark."""
    for index, piece in enumerate(pieces):
        if piece.__class__ is Frame and piece.kind == _RECORD and identify(piece.payload) is None:
            pieces[index] = Damage(piece.start, piece.end, torn=False)
    return pieces


def _count_records(pieces: list[Frame | Damage]) -> int:
    return len([1 for piece in pieces if piece.__class__ is Frame and piece.kind == _RECORD])


_RECORD: Final = int(Kind.RECORD)
"""A plain number is compared faster, and every reader compares it for every frame."""


class Tail:
    """Follows one directory. `position` is where the next `read` goes on, and may be kept as a checkpoint."""

    def __init__(self, directory: SpoolDirectory, position: Cursor | None = None) -> None:
        self.directory = directory
        self.position = position or Cursor(1)
        self.ended = False
        """The directory is finished and everything in it was read."""
        self._finished = str(directory.path / FINISHED)
        self._asked = 0

    def read(self, *, bytes_max: int = 1024 * 1024, records_max: int = 1 << 62) -> Chunk | Gap | None:
        """The next frames of one segment; None when there is nothing new. Stops soon after either limit.

        A frame that is not whole yet is waited for as long as its segment may grow; when the segment is sealed (a newer
        one exists, or the directory is finished) it is `Damage`.
        """
        if self.ended:
            return None
        here = self.position
        number, offset = here.segment, here.offset
        path = self.directory.segment(number)
        try:
            sealed = self._is_sealed(number)  # Asked before reading: then all of a sealed segment can be seen.
            if not sealed and os.stat(path).st_size <= offset:
                return None
            fd = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            return self._gap(here)
        try:
            pieces, end, at_end = _read_frames(fd, self.directory.marker, offset, bytes_max, records_max, final=sealed)
        finally:
            os.close(fd)
        self.position = Cursor(number, end, here.records + _count_records(pieces))
        if sealed and at_end:
            self._move_to(number + 1)
        elif not pieces:
            return None
        return Chunk(number, offset, end, pieces)

    def _is_sealed(self, number: int) -> bool:
        if os.path.exists(self.directory.segment(number + 1)) or os.path.exists(self._finished):
            return True
        # The next one may be missing though later ones exist; that is rare enough to look for it now and then.
        look = self._asked % _LOOK_AROUND == 0
        self._asked += 1
        return look and any(other > number for other in self.directory.segments())

    def _move_to(self, number: int) -> None:
        last = self.directory.finished()
        self.ended = last is not None and number > last
        self.position = Cursor(number)
        self._asked = 0

    def _gap(self, here: Cursor) -> Gap | None:
        last = self.directory.finished()
        following = [number for number in self.directory.segments() if number > here.segment]
        if following:
            last = following[0] - 1
        elif last is None:
            return None
        elif here.segment > last:
            self.ended = True
            return None
        self._move_to(last + 1)
        return Gap(here.segment, last, here.records)


def read_range(directory: SpoolDirectory, segment: int, start: int, end: int) -> list[Frame | Damage]:
    """The frames of a range that was read before, the same as then. Raises `FileNotFoundError` when it is gone."""
    decoder = Decoder(directory.marker, start)
    pieces: list[Frame | Damage] = []
    with open(directory.segment(segment), "rb") as file:
        file.seek(start)
        while start < end and (data := file.read(min(_WINDOW_BYTES, end - start))):
            start += len(data)
            pieces += decoder.feed(data)
    return _checked(pieces + decoder.finish())


def _read_frames(
    fd: int, marker: bytes, offset: int, bytes_max: int, records_max: int, *, final: bool
) -> tuple[list[Frame | Damage], int, bool]:
    """Pieces from `offset` on, where they end, and whether that is the end of the file."""
    decoder = Decoder(marker, offset)
    pieces: list[Frame | Damage] = []
    records, at, at_end = 0, offset, False
    while not at_end and records < records_max and (at - offset < bytes_max or not pieces):
        # Where no frame is found the window doubles, so that a long damage is not copied over and over.
        data = os.pread(fd, max(_WINDOW_BYTES, decoder.wanted, 0 if pieces else at - offset), at)
        at += len(data)
        at_end = not data
        found = _checked(decoder.finish() if at_end and final else decoder.feed(data))
        pieces += found
        records += _count_records(found)
    if records > records_max:
        pieces, at_end = _first_records(pieces, records_max), False
    return pieces, pieces[-1].end if pieces else offset, at_end


def _first_records(pieces: list[Frame | Damage], records_max: int) -> list[Frame | Damage]:
    for index, piece in enumerate(pieces):
        if isinstance(piece, Frame) and piece.kind == Kind.RECORD:
            records_max -= 1
            if records_max < 0:
                return pieces[:index]
    return pieces
