"""Where things lie in a spool.

    spool/
      recorder.lock                         held by the one recorder
      recorder-status.json                  its ledger, for whoever looks
      SLOT-STARTNS-PID-MARKER/              one life of one worker
        lock                                held (flock) as long as the worker lives
        stats                               what the worker could not write (see spool.py)
        0000000001.seg ...                  frames, append-only
        finished                            the number of the last segment: nothing will ever be added
      corrupt/                              damaged bytes, set aside
      refused/SINK/                         records that a sink will never take, or that nobody can read

Names beginning with a dot are being made or being removed, and are nobody's business but their maker's.
"""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Final

LOCK: Final = "lock"
STATS: Final = "stats"
FINISHED: Final = "finished"
CORRUPT: Final = "corrupt"
REFUSED: Final = "refused"

_NAME = re.compile(r"(\d+)-(\d+)-(\d+)-([0-9a-f]{16})")
_SEGMENT = re.compile(r"(\d{10})\.seg")


@dataclass(frozen=True)
class SpoolDirectory:
    """One life of one worker."""

    path: Path
    slot: int
    start_ns: int
    pid: int
    marker: bytes

    @property
    def name(self) -> str:
        return self.path.name

    @cached_property
    def _prefix(self) -> str:
        return f"{self.path}/"

    def segment(self, number: int) -> str:
        """The path of a segment; text, because paths are made at every poll."""
        return f"{self._prefix}{number:010}.seg"

    def segments(self) -> list[int]:
        """The numbers of the segments that exist, ascending; empty when the directory is gone."""
        try:
            with os.scandir(self.path) as entries:
                return sorted(int(found[1]) for entry in entries if (found := _SEGMENT.fullmatch(entry.name)))
        except FileNotFoundError:
            return []

    def finished(self) -> int | None:
        """The number of the last segment, once nothing will be added; None while something may be."""
        with contextlib.suppress(FileNotFoundError, ValueError):
            return int((self.path / FINISHED).read_text())
        return None


def directory_name(slot: int, start_ns: int, pid: int, marker: bytes) -> str:
    return f"{slot}-{start_ns}-{pid}-{marker.hex()}"


@lru_cache(maxsize=1024)
def parse(path: Path) -> SpoolDirectory | None:
    """The directory that `path` names; None when it is something else."""
    found = _NAME.fullmatch(path.name)
    if not found:
        return None
    return SpoolDirectory(path, int(found[1]), int(found[2]), int(found[3]), bytes.fromhex(found[4]))


def directories(root: Path) -> list[SpoolDirectory]:
    """All directories of a spool, the oldest life first; empty when there is no spool yet."""
    try:
        names = os.listdir(root)
    except FileNotFoundError:
        return []
    found = [directory for name in names if name[0].isdigit() and (directory := parse(root / name))]
    return sorted(found, key=lambda directory: (directory.start_ns, directory.slot))
