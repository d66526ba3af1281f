"""The data directory: one Penstock at a time, and a note for the commands that want to talk to it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from pathlib import Path
from typing import Final, Self

import msgspec

LOCK = "serve.lock"
NOTE = "serve.json"

_LOOKS_WITHIN_S: Final = 30.0
"""Whoever holds the lock for so long is not only looking."""
_LOOK_AGAIN_S: Final = 0.02


class Serving(msgspec.Struct, frozen=True, kw_only=True):
    """What a running `penstock serve` says about itself in `serve.json`. No credentials."""

    pid: int
    host: str
    port: int
    store_url: str
    """The embedded store's ClickHouse interface; "" when ClickHouse is elsewhere."""
    metrics_port: int
    started: float
    """Unix time, seconds."""
    configuration: str = ""
    """The file, with its whole path; "" for the defaults."""
    loaded: float = 0.0
    """Unix time at which it was read for the last time that it was taken."""
    refused: float = 0.0
    """Unix time at which it was read and not taken; the reason is in the log and in `refusal`."""
    refusal: str = ""

    @property
    def url(self) -> str:
        """Where a client on this machine reaches the proxy."""
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(self.host, self.host)
        return f"http://{f'[{host}]' if ':' in host and host[0] != '[' else host}:{self.port}"


class DataDirUnusable(Exception):
    """One line for the terminal: why this directory cannot be served from."""


class DataDir:
    """Holds the lock from `claim` to `release`; the kernel releases it when the process dies, however it dies."""

    def __init__(self, path: Path, lock_fd: int, *, unclean: bool) -> None:
        self.path = path
        self.unclean = unclean
        """The former supervisor did not say goodbye: its children may need a moment to notice."""
        self._lock_fd = lock_fd

    @classmethod
    def claim(cls, path: Path) -> Self:
        """Make the directory if need be and lock it. Raises `DataDirUnusable`."""
        try:
            path.mkdir(parents=True, exist_ok=True)
            lock_fd = os.open(path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise DataDirUnusable(_unusable(path, error)) from error
        try:
            _lock(lock_fd)
            os.ftruncate(lock_fd, 0)
            os.pwrite(lock_fd, f"{os.getpid()}\n".encode(), 0)
            probe = path / f".writable-{os.getpid()}"
            probe.touch()
            probe.unlink()
        except BlockingIOError as error:
            holder = os.pread(lock_fd, 32, 0).decode(errors="replace").strip()
            os.close(lock_fd)
            raise DataDirUnusable(
                f"Another Penstock (process {holder or 'unknown'}) serves from {path}. "
                "Stop it, or choose another directory with --data-dir."
            ) from error
        except OSError as error:
            os.close(lock_fd)
            raise DataDirUnusable(_unusable(path, error)) from error
        return cls(path, lock_fd, unclean=(path / NOTE).exists())

    def publish(self, note: Serving) -> None:
        """Write the note, whole or not at all."""
        new = self.path / f"{NOTE}.new"
        new.write_bytes(msgspec.json.encode(note) + b"\n")
        new.replace(self.path / NOTE)

    def release(self) -> None:
        """Take the note away and unlock. The lock file stays: removing it would let two processes hold two locks."""
        with contextlib.suppress(FileNotFoundError):
            (self.path / NOTE).unlink()
        os.close(self._lock_fd)


def serving(path: Path) -> Serving | None:
    """The Penstock that serves from `path` now. The note of one that was killed does not count."""
    try:
        lock_fd = os.open(path / LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(lock_fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return None
    except BlockingIOError:
        pass
    finally:
        os.close(lock_fd)
    try:
        return msgspec.json.decode((path / NOTE).read_bytes(), type=Serving)
    except (OSError, msgspec.DecodeError):
        return None


def is_served_by(path: Path, pid: int) -> bool:
    """Whether process `pid`, as this machine knows it, is the one that holds the lock of `path`.

    A directory that is shared with a container names a process by the number that it has there. Where the system does
    not tell (no /proc), the note is believed.
    """
    if not Path("/proc/self/fd").is_dir():
        return True
    try:
        lock = (path / LOCK).stat()
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                found = descriptor.stat()
                if (found.st_dev, found.st_ino) == (lock.st_dev, lock.st_ino):
                    return True
    except OSError:
        return False
    return False


def _lock(fd: int) -> None:
    """Raises `BlockingIOError` when another one serves.

    `serving` shares the lock for an instant when it looks, or for longer where its process stands still in between: a
    lock that can be shared is nobody's who serves, and is waited for.
    """
    for _ in range(round(_LOOKS_WITHIN_S / _LOOK_AGAIN_S)):
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        fcntl.flock(fd, fcntl.LOCK_UN)
        time.sleep(_LOOK_AGAIN_S)
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _unusable(path: Path, error: OSError) -> str:
    return f"Cannot write to the data directory {path}: {error.strerror}. Choose another with --data-dir."
