"""Exchanges that left no frame in their directory, because the disk refused even the begin mark.

Kept in a file that is allocated when the directory is made and needs no room afterwards, so that the ledger adds up
after a full disk and a kill.
"""

from __future__ import annotations

import contextlib
import struct
from pathlib import Path
from typing import Final, NamedTuple

_LAYOUT: Final = struct.Struct("<8s3Q")
_MAGIC: Final = b"PENSTAT1"


class Stats(NamedTuple):
    open: int = 0
    """Still open: their records may yet be written."""
    disk_full: int = 0
    """Dropped, for this reason."""
    io_error: int = 0

    def pack(self) -> bytes:
        return _LAYOUT.pack(_MAGIC, *self)


def read_stats(path: Path) -> Stats:
    """The stats of a directory; zeros when there are none."""
    with contextlib.suppress(FileNotFoundError, struct.error):
        magic, *values = _LAYOUT.unpack_from(path.read_bytes())
        if magic == _MAGIC:
            return Stats(*values)
    return Stats()
