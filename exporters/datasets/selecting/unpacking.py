"""Files as streams of bytes, unpacked by what their names say: `.gz`, `.zst`, or as they are."""

from __future__ import annotations

import gzip
import io
from pathlib import Path
from typing import IO, Any, Final, cast

import zstandard

PACKED: Final = frozenset({".gz", ".zst"})
_PIECE_BYTES: Final = 256 * 1024


def opened(path: Path) -> IO[bytes]:
    """To be closed. Reading raises `OSError`, `EOFError` for what ends too early, `ZstdError` or `zlib.error`."""
    if path.suffix == ".gz":
        return cast(IO[bytes], gzip.open(path, "rb"))
    if path.suffix == ".zst":
        return io.BufferedReader(_Frames(path), _PIECE_BYTES)
    return path.open("rb")


class _Frames(io.RawIOBase):
    """Zstandard frames, one after the other. The library's own reader takes a frame that was cut for a whole one."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self._frame: Any = None
        self._packed = b""
        self._waiting = memoryview(b"")

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self._file.close()
        super().close()

    def readinto(self, buffer: Any) -> int:
        while not self._waiting and self._advance():
            pass
        count = min(len(buffer), len(self._waiting))
        buffer[:count] = self._waiting[:count]
        self._waiting = self._waiting[count:]
        return count

    def _advance(self) -> bool:
        """Unpack a piece. False at the end of the file."""
        packed = self._packed or self._file.read(_PIECE_BYTES)
        self._packed = b""
        if not packed:
            if self._frame is not None:
                raise EOFError("it ends in the middle of a frame")
            return False
        if self._frame is None:
            self._frame = zstandard.ZstdDecompressor().decompressobj()
        self._waiting = memoryview(self._frame.decompress(packed))
        if self._frame.eof:
            self._packed = self._frame.unused_data
            self._frame = None
        return True
