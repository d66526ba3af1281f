"""Taking replies out of all tiers: what is to go, and the file by which workers learn of it."""

from __future__ import annotations

import contextlib
import fcntl
import os
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

import msgspec

from .entry import Entry

_FILE: Final = "purges"
_FILE_BYTES_MAX: Final = 1024 * 1024


class Selection(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The entries that fit all that is given; with nothing given, all."""

    key: str = ""
    namespace: str | None = None
    model: str = ""
    """A name or a pattern (`*`, `?`, `[...]`)."""
    until_ns: int = 0
    """Unix time: only what was created then or before. 0: whenever."""

    @property
    def everything(self) -> bool:
        return not self.key and self.namespace is None and not self.model and not self.until_ns

    def fits(self, key: str, entry: Entry) -> bool:
        return (
            (not self.key or key == self.key)
            and (self.namespace is None or entry.namespace == self.namespace)
            and (not self.model or fnmatchcase(entry.model, self.model))
            and (not self.until_ns or entry.created_ns <= self.until_ns)
        )


class Purges:
    """A file to which purges are appended, one JSON line each, and which every worker reads from where it stood.

    A line begins with a line break too, so that one that was torn by a kill spoils no other. What cannot be read, and a
    file that was replaced, stand for a purge of everything: a memory that is emptied for nothing is soon full again.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / _FILE
        self._folder = folder
        self._inode, self._read = self._where()

    def append(self, selection: Selection) -> None:
        """Raises `OSError`."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        line = b"\n" + msgspec.json.encode(selection) + b"\n"
        with (self._folder / f"{_FILE}.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if self._where()[1] > _FILE_BYTES_MAX:
                new = self._path.with_suffix(".new")
                new.write_bytes(line)
                new.replace(self._path)
                return
            with self._path.open("ab", buffering=0) as file:
                file.write(line)

    def fresh(self) -> list[Selection]:
        """Those that came since it was last asked. Costs one `stat` when there are none."""
        inode, size = self._where()
        if inode == self._inode and size == self._read:
            return []
        if (inode != self._inode and self._inode) or size < self._read:
            self._inode, self._read = inode, size
            return [Selection()]
        self._inode = inode
        try:
            with self._path.open("rb") as file:
                file.seek(self._read)
                data = file.read(size - self._read)
        except OSError:
            return [Selection()]
        whole = data[: data.rfind(b"\n") + 1]
        self._read += len(whole)
        return [_selection(line) for line in whole.splitlines() if line]

    def _where(self) -> tuple[int, int]:
        with contextlib.suppress(OSError):
            found = os.stat(self._path)
            return found.st_ino, found.st_size
        return 0, 0


def _selection(line: bytes) -> Selection:
    try:
        return msgspec.json.decode(line, type=Selection)
    except msgspec.DecodeError:
        return Selection()
