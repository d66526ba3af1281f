"""Files that are never seen half written, locks that end with their holder, and a log that does not flood."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

import msgspec

logger = logging.getLogger(__name__)

T = TypeVar("T")
NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_PAGE_BYTES: Final = 4096


def replace(path: Path, data: bytes) -> None:
    """Put `data` at `path` in one step: a reader, or a process killed in between, finds the old bytes or the new."""
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_bytes(data)
    os.replace(temporary, path)


def write_json(path: Path, value: msgspec.Struct) -> None:
    """Like `replace`, and works on a full disk too as long as the old file has room. Raises `OSError`."""
    data = msgspec.json.encode(value)
    try:
        replace(path, data)
    except OSError as error:
        # Exports free the disk, so they must not wait for room. One page of an existing file is written in one step.
        path.with_name(f".{path.name}.tmp").unlink(missing_ok=True)
        size = path.stat().st_size if path.exists() else 0
        if error.errno not in NO_ROOM or not size or max(size, len(data)) > _PAGE_BYTES:
            raise
        with path.open("r+b") as file:
            os.pwrite(file.fileno(), data.ljust(size), 0)


def read_json(path: Path, kind: type[T]) -> T | None:
    """What `write_json` wrote. None when there is nothing, or nothing readable, which is kept aside and logged."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError:
        aside = path.with_suffix(".unreadable")
        os.replace(path, aside)
        logger.error("%s cannot be read. It is kept as %s; what it counted begins anew.", path, aside)
        return None


def try_lock(path: Path) -> int | None:
    """An open file with an exclusive flock on `path`, which lasts until it is closed or its process dies.

    None when somebody else holds it. Raises `OSError` when the file cannot be opened.
    """
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return None
    except BaseException:
        os.close(fd)
        raise
    return fd


class Aside:
    """A folder for bytes that cannot be used but should not be lost, bounded in bytes: what does not fit is let go."""

    def __init__(self, path: Path, bytes_max: int = 256 * 1024 * 1024) -> None:
        self.path = path
        self._bytes_max = bytes_max
        self._bytes: int | None = None
        self._throttle = Throttle()

    def put(self, name: str, data: bytes) -> bool:
        """Keep `data` under `name`, over an earlier one of that name. False when there is no room for it."""
        try:
            if self._bytes is None:
                self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._bytes = sum(entry.stat().st_size for entry in os.scandir(self.path))
            if self._bytes + len(data) <= self._bytes_max:
                replace(self.path / name, data)
                self._bytes += len(data)
                return True
            reason = f"it holds {self._bytes} bytes already"
        except OSError as error:
            reason = str(error.strerror)
        if self._throttle.due(""):
            logger.error("Nothing more is set aside in %s: %s.", self.path, reason)
        return False


class Throttle:
    """Says whether it is time to log again about `key`: at once, then at most once in `interval_s`."""

    def __init__(self, interval_s: float = 60.0, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._interval_s = interval_s
        self._monotonic = monotonic
        self._last: dict[str, float] = {}

    def due(self, key: str) -> bool:
        now = self._monotonic()
        if now - self._last.get(key, float("-inf")) < self._interval_s:
            return False
        self._last[key] = now
        return True
