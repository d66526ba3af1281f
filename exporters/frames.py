"""The spool's frames: how one entry is written, and how entries are found again in bytes that may be torn or damaged.

A frame is a header (marker 8 bytes, kind u8, payload length u32, CRC-32 u32 seeded with the kind; little-endian) and
its payload. The marker is random for each directory and is part of the directory's name: a caller who puts the bytes
of a frame into a request body cannot guess it, so a search for the next frame never finds one inside a payload.

Nothing here does I/O.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import Final, Literal, NamedTuple

try:  # The same checksum in a quarter of the time; not built for every machine.
    from isal.isal_zlib import crc32
except ImportError:
    from zlib import crc32

MARKER_BYTES: Final = 8
FRAME_BYTES_MAX: Final = 64 * 1024 * 1024
"""Of a payload. A header that promises more is damaged."""

HEADER: Final = struct.Struct("<8sBII")
_HEAD = struct.Struct("<I")


class Kind(IntEnum):
    """What a payload is. Unknown numbers are passed on, so that an older reader steps over what a newer one wrote."""

    HEAD = 1
    """First in a segment: how many CARRY frames follow it at once."""
    BEGIN = 2
    CARRY = 3
    """A BEGIN repeated at the head of a new segment, for an exchange that was open when the segment began."""
    RECORD = 4
    FEEDBACK = 5


class Frame(NamedTuple):
    kind: int
    payload: bytes
    start: int
    """Offset of the header in the segment."""
    end: int


class Damage(NamedTuple):
    """Bytes from `start` to `end` that are no frame. `torn`: the beginning of one, cut short."""

    start: int
    end: int
    torn: bool


def header(marker: bytes, kind: int, payload: bytes) -> bytes:
    """What goes before `payload`, which must not be longer than `FRAME_BYTES_MAX`."""
    return HEADER.pack(marker, kind, len(payload), crc32(payload, kind))


def frame(marker: bytes, kind: int, payload: bytes) -> bytes:
    return header(marker, kind, payload) + payload


def head(marker: bytes, carries: int) -> bytes:
    """The frame that opens a segment."""
    return frame(marker, Kind.HEAD, _HEAD.pack(carries))


def carries_in(payload: bytes) -> int:
    """How many CARRY frames a HEAD announces; -1 when it cannot be read."""
    return int(_HEAD.unpack_from(payload)[0]) if len(payload) >= _HEAD.size else -1


class Decoder:
    """Bytes in, frames out, whatever the pieces they come in.

    A frame that fails its checks becomes `Damage` as soon as a valid frame follows it; until then it may be one that is
    still being written, and the decoder waits. `finish` says that nothing follows.
    """

    def __init__(self, marker: bytes, offset: int = 0) -> None:
        self._marker = marker
        self._rest = b""
        self._offset = offset
        self._searched = 0

    @property
    def wanted(self) -> int:
        """How many bytes the frame at the front still lacks, as far as its header is known."""
        if len(self._rest) < HEADER.size or not self._rest.startswith(self._marker):
            return 0
        length = HEADER.unpack_from(self._rest)[2]
        return max(0, HEADER.size + length - len(self._rest)) if length <= FRAME_BYTES_MAX else 0

    def feed(self, data: bytes) -> list[Frame | Damage]:
        self._rest = self._rest + data if self._rest else data
        return self._decode(final=False)

    def finish(self) -> list[Frame | Damage]:
        """What is left, now that no byte will follow. The decoder is empty afterwards."""
        return self._decode(final=True)

    def _decode(self, *, final: bool) -> list[Frame | Damage]:
        pieces: list[Frame | Damage] = []
        data, offset, at = self._rest, self._offset, 0
        while at < len(data):
            at = self._whole_frames(at, pieces)
            if at == len(data):
                break
            end = self._frame_end(at)
            found = self._next_frame(at + 1)
            if found > 0:
                pieces.append(Damage(offset + at, offset + found, torn=False))
                at = found
            elif final:
                pieces.append(Damage(offset + at, offset + len(data), torn=end == 0))
                at = len(data)
            else:
                break
        self._rest = data[at:] if at else data
        self._offset = offset + at
        self._searched = max(0, self._searched - at)
        return pieces

    def _whole_frames(self, at: int, pieces: list[Frame | Damage]) -> int:
        """Add the valid frames that lie one behind the other from `at` on: all there usually is. Returns their end."""
        data, offset, expected, size = self._rest, self._offset, self._marker, len(self._rest)
        unpack, head = HEADER.unpack_from, HEADER.size
        while at + head <= size:
            marker, kind, length, checksum = unpack(data, at)
            end = at + head + length
            if marker != expected or length > FRAME_BYTES_MAX or end > size:
                break
            payload = data[at + head : end]
            if crc32(payload, kind) != checksum:
                break
            pieces.append(Frame(kind, payload, offset + at, offset + end))
            at = end
        return at

    def _frame_end(self, at: int) -> int | Literal[0, -1]:
        """Where the frame at `at` ends; 0 when its bytes have not all come, -1 when it is none."""
        data = self._rest
        if len(data) - at < HEADER.size:
            seen = data[at : at + MARKER_BYTES]
            return 0 if self._marker.startswith(seen) else -1
        marker, kind, length, checksum = HEADER.unpack_from(data, at)
        if marker != self._marker or length > FRAME_BYTES_MAX:
            return -1
        end = at + HEADER.size + int(length)
        if end > len(data):
            return 0
        return end if crc32(memoryview(data)[at + HEADER.size : end], kind) == checksum else -1

    def _next_frame(self, start: int) -> int:
        """Where the first valid frame from `start` on begins; -1 when there is none yet."""
        at = max(start, self._searched)
        again = 0
        while (at := self._rest.find(self._marker, at)) >= 0:
            end = self._frame_end(at)
            if end > 0:
                return at
            if end == 0 and not again:
                again = at  # May become whole with the next bytes.
            at += 1
        self._searched = again or max(0, len(self._rest) - MARKER_BYTES + 1)
        return -1
