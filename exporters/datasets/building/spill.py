"""Rows that wait for the choice: scrubbed, encoded and compressed, in the order of their source, read once."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

import msgspec
import zstandard

from ..provenance import Pieces

_BLOCK_BYTES: Final = 256 * 1024
"""Of rows that are compressed together, about."""
_LENGTH: Final = struct.Struct("<I")
_ARRAY: Final = struct.Struct(">BI")
"""How a block begins: as MessagePack's array of so many."""
_ARRAY32: Final = 0xDD


class Waiting(msgspec.Struct, array_like=True, gc=False):
    """A row as it is written, if it is."""

    pieces: Pieces
    encoded: list[bytes] = []
    """By each of `formats.writers`; none when it is known already that it is not written."""
    is_pair: bool = False


class SpillWriter:
    """One file, one writer. Raises `OSError`."""

    def __init__(self, path: Path) -> None:
        self._file: BinaryIO = path.open("xb")
        self._block = bytearray(_ARRAY.size)
        self._count = 0
        self._encode_into = msgspec.msgpack.Encoder().encode_into
        self._compress = zstandard.ZstdCompressor(level=1).compress

    def add(self, row: Waiting) -> None:
        self._encode_into(row, self._block, -1)
        self._count += 1
        if len(self._block) >= _BLOCK_BYTES:
            self._flush()

    def close(self) -> None:
        self._flush()
        self._file.close()

    def _flush(self) -> None:
        if self._count:
            _ARRAY.pack_into(self._block, 0, _ARRAY32, self._count)
            block = self._compress(self._block)
            self._file.write(_LENGTH.pack(len(block)))
            self._file.write(block)
            self._block = bytearray(_ARRAY.size)
            self._count = 0


def read_spill(path: Path) -> Iterator[list[Waiting]]:
    """The rows in the order in which they were added, a block at a time."""
    decode = msgspec.msgpack.Decoder(list[Waiting]).decode
    decompress = zstandard.ZstdDecompressor().decompress
    with path.open("rb") as file:
        while head := file.read(_LENGTH.size):
            yield decode(decompress(file.read(_LENGTH.unpack(head)[0])))
