"""How many live calls an upstream has at this moment, told by the workers and read by the dispatcher.

Each worker has a file of eight bytes for each upstream with `batch = "local"`, mapped into its memory: telling costs it
one store. A file is locked as long as its worker lives, so that the count of one that was killed is not believed.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import logging
import mmap
import os
import secrets
from pathlib import Path
from typing import Final

_log = logging.getLogger(__name__)

_BYTES: Final = 8


class Load:
    """A worker's side: its live calls of one upstream."""

    __slots__ = ("_count", "_file", "_map", "_path")

    def __init__(self, file: int, path: Path | None, memory: mmap.mmap) -> None:
        self._file = file
        self._path = path
        self._map = memory
        self._count = memoryview(memory).cast("q")

    @classmethod
    def open(cls, data_dir: Path, upstream: str) -> Load:
        """Never raises: where the disk refuses, the calls are counted for nobody, and that is logged."""
        directory = data_dir / "batch" / "load"
        name = f"{_prefix(upstream)}{os.getpid()}-{secrets.token_hex(4)}"
        hidden = directory / f".{name}"
        file = -1
        try:
            directory.mkdir(parents=True, exist_ok=True)
            file = os.open(hidden, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            os.truncate(file, _BYTES)
            fcntl.flock(file, fcntl.LOCK_EX)
            memory = mmap.mmap(file, _BYTES)
            hidden.rename(directory / name)  # not seen by a reader before it is locked
        except OSError as error:
            if file >= 0:
                os.close(file)
            _log.warning("local batches cannot see live calls, and do not make room for them: %s", error.strerror)
            return cls(-1, None, mmap.mmap(-1, _BYTES))
        return cls(file, directory / name, memory)

    @property
    def open_calls(self) -> int:
        return self._count[0]

    def enter(self) -> None:
        self._count[0] += 1

    def leave(self) -> None:
        self._count[0] -= 1

    def close(self) -> None:
        """Nothing is told after this. Safe to call again."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)
            self._path = None
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


class Gauge:
    """The dispatcher's side: the live calls of one upstream, over all workers of this data directory."""

    def __init__(self, data_dir: Path, upstream: str) -> None:
        self._directory = data_dir / "batch" / "load"
        self._prefix = _prefix(upstream)
        self._maps: dict[str, mmap.mmap] = {}

    def scan(self) -> None:
        """Look for workers that came and went. Costs some system calls: about once a second is often enough."""
        try:
            names = {name for name in os.listdir(self._directory) if name.startswith(self._prefix)}
        except FileNotFoundError:
            names = set()
        for gone in self._maps.keys() - names:
            self._maps.pop(gone).close()
        for name in names:
            with contextlib.suppress(FileNotFoundError):  # it went at this moment
                self._look_at(name)

    def live(self) -> int:
        """Open calls, of the workers that the last scan found."""
        return sum(max(0, int.from_bytes(counted[:_BYTES], "little", signed=True)) for counted in self._maps.values())

    def close(self) -> None:
        for counted in self._maps.values():
            counted.close()
        self._maps.clear()

    def _look_at(self, name: str) -> None:
        path = self._directory / name
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if _is_locked(file):
                if name not in self._maps:
                    self._maps[name] = mmap.mmap(file, _BYTES, prot=mmap.PROT_READ)
                return
        finally:
            os.close(file)
        if name in self._maps:
            self._maps.pop(name).close()
        path.unlink(missing_ok=True)  # its worker was killed


def _is_locked(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False


def _prefix(upstream: str) -> str:
    return hashlib.sha256(upstream.encode()).hexdigest()[:16] + "-"
