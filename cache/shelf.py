"""Bytes by key in one folder, which several processes and threads share: diskcache, held to what the cache needs of it.

Small values are rows of an SQLite database in WAL mode, larger ones files beside it that a row names once they are
whole. So a process that is killed at any moment leaves at worst a file that no row names, which `sweep` finds.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import diskcache

from .packing import Corrupt

_DATABASE: Final = "cache.db"
_LOCKED_S: Final = 0.5
"""How long a write waits for that of another process."""
_LOOK_S: Final = 1.0
"""How often it is looked whether the database is still the one that was opened."""
_ORPHAN_S: Final = 600.0
"""A file that no row names is not one that is just being written when it is as old as this."""
_KEY: Final = re.compile(r"[\w-]{1,200}", re.ASCII)
_FILE: Final = re.compile(r"[^/.]{1,2}/([\w-]+)\.[0-9a-f]{16}\.val", re.ASCII)
_BROKEN: Final = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT, sqlite3.SQLITE_SCHEMA}
_BUSY: Final = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


class ShelfFault(Exception):
    """The folder cannot be used now; the text says why, in a few words without names."""


class _Foreign(Exception):
    """A row that this module never wrote."""


class _BytesOnly(diskcache.Disk):  # type: ignore[misc]
    """Keys are str and values bytes. diskcache would pickle the rest, and would unpickle whatever is in the folder."""

    def put(self, key: object) -> tuple[str, bool]:
        if type(key) is not str:
            raise TypeError("a key is a str")
        return key, True

    def get(self, key: object, raw: object) -> str:
        if not raw or type(key) is not str:
            raise _Foreign
        return key

    def store(self, value: object, read: bool, key: object = None) -> Any:
        if type(value) is not bytes or read:
            raise TypeError("a value is bytes")
        return super().store(value, read, key=key)

    def fetch(self, mode: int, filename: str | None, value: object, read: bool) -> Any:
        if filename is None:
            if mode != diskcache.core.MODE_RAW or type(value) is not bytes:
                raise Corrupt
        elif mode != diskcache.core.MODE_BINARY or not _FILE.fullmatch(filename):
            raise Corrupt
        return super().fetch(mode, filename, value, read)

    def filename(self, key: str = "", value: object = None) -> tuple[str, str]:
        """Named by the key, so that a file knows its row."""
        name = f"{key[:2]}/{key}.{os.urandom(8).hex()}.val"
        return name, os.path.join(self._directory, name)

    def remove(self, file_path: str) -> None:
        if _FILE.fullmatch(file_path):
            super().remove(file_path)


class Shelf:
    """Blocks; callable from any thread. Every method raises `ShelfFault`, and of a row that is not whole `Corrupt`.

    A database that SQLite finds broken is moved aside with all its values, and a new one is begun; other processes
    notice within a second. What was moved aside is removed by `sweep`.
    """

    def __init__(self, folder: Path, bytes_max: int) -> None:
        self._folder = folder
        self._path = folder / "replies"
        self._bytes_max = bytes_max
        self._lock = threading.Lock()
        self._cache: diskcache.Cache | None = None
        self._inode = 0
        self._looked = 0.0

    def read(self, key: str) -> bytes | None:
        with self._using() as cache:
            value: bytes | None = cache.get(key)
            return value

    def write(self, key: str, data: bytes, expires_ns: int) -> None:
        """Replaces what was there, in one step."""
        if not _KEY.fullmatch(key):
            raise ShelfFault("a key is letters, digits, _ and -")
        with self._using() as cache:
            cache.set(key, data, expire=expires_ns / 1e9 - time.time() if expires_ns else None)

    def remove(self, key: str) -> bool:
        with self._using() as cache:
            return bool(cache.delete(key))

    def keys(self) -> list[str]:
        with self._using() as cache:
            return [*cache]

    def count(self) -> int:
        with self._using() as cache:
            return len(cache)

    def volume(self) -> int:
        """Bytes on disk, nearly."""
        with self._using() as cache:
            return int(cache.volume())

    def cull(self, at_most: int, now_ns: int) -> int:
        """Remove some that have expired or, while the folder is too large, those that were stored first. One short
        transaction; returns how many went.

        `Cache.cull` does the same until nothing is left to do, without a pause in which others could write; this is
        one of its steps, as `Cache.set` takes them.
        """
        names: list[str | None] = []
        with self._using() as cache:
            with cache._transact() as (sql, cleanup):
                cache._cull(now_ns / 1e9, sql, names.append, limit=at_most)
                for name in names:
                    cleanup(name)
            return len(names)

    def clear(self) -> int:
        """Remove everything, a hundred at a time; returns how many went."""
        with self._using() as cache:
            return int(cache.clear(retry=True))

    def sweep(self, pause: threading.Event, pause_s: float) -> int:
        """Remove the files that no row names, with a pause after every few of them; stops when `pause` is set."""
        gone = seen = 0
        for path in self._folder.glob("broken-*"):
            shutil.rmtree(path, ignore_errors=True)
        for folder in self._path.glob("??"):
            for path in folder.glob("*.val"):
                seen += 1
                if seen % 20 == 0 and pause.wait(pause_s):
                    return gone
                gone += self._is_orphan(path) and _unlinked(path)
        return gone

    def close(self) -> None:
        """Connections of other threads are closed when these end or let go of what they do."""
        with self._lock:
            cache, self._cache = self._cache, None
        if cache is not None:
            cache.close()

    def _is_orphan(self, path: Path) -> bool:
        name = _FILE.fullmatch(f"{path.parent.name}/{path.name}")
        with contextlib.suppress(OSError):
            if name is None or time.time() - path.stat().st_mtime < _ORPHAN_S:
                return False
            with self._using() as cache:
                try:
                    value = cache.get(name[1], read=True)
                except Corrupt:
                    return True
            if value is None or isinstance(value, bytes):
                return True
            with value:
                return bool(value.name != str(path))
        return False

    @contextlib.contextmanager
    def _using(self) -> Iterator[diskcache.Cache]:
        """The one place where faults of SQLite and of the disk become `ShelfFault`."""
        cache = None
        try:
            cache = self._current()
            yield cache
        except diskcache.Timeout as error:
            raise ShelfFault("its database is locked") from error
        except (sqlite3.Error, _Foreign, ValueError) as error:
            if not _is_broken(error):
                raise ShelfFault(_said(error)) from error
            self._set_aside(cache)
            raise ShelfFault("its database was broken; a new one is begun") from error
        except OSError as error:
            raise ShelfFault(error.strerror or type(error).__name__) from error

    def _current(self) -> diskcache.Cache:
        """Opened when it is first used, and again when somebody moved it aside."""
        cache, now = self._cache, time.monotonic()
        if cache is not None and now - self._looked < _LOOK_S:
            return cache
        if not self._lock.acquire(blocking=cache is None, timeout=_LOCKED_S if cache is None else -1):
            if cache is None:
                raise ShelfFault("it is being opened")
            return cache
        try:
            self._looked = now
            if self._cache is None or _inode(self._path) != self._inode:
                self._cache = None
                self._cache = self._opened()
            return self._cache
        finally:
            self._lock.release()

    def _opened(self) -> diskcache.Cache:
        with self._alone():
            self._path.mkdir(mode=0o700, exist_ok=True)
            self._path.chmod(0o700)
            try:
                _probe(self._path / _DATABASE)
                cache = diskcache.Cache(
                    str(self._path),
                    timeout=_LOCKED_S,
                    disk=_BytesOnly,
                    size_limit=self._bytes_max,
                    cull_limit=0,  # nobody who stores a reply removes others
                    statistics=0,
                    eviction_policy="least-recently-stored",  # so that reading writes nothing
                    sqlite_mmap_size=0,  # a mapped file that is cut short kills the process
                )
            except (sqlite3.Error, ValueError) as error:
                if _is_broken(error):
                    self._move()
                raise
            self._inode = _inode(self._path)
            return cache

    def _set_aside(self, cache: diskcache.Cache | None) -> None:
        with self._lock:
            if cache is None or cache is not self._cache:
                return  # it failed when it was opened, or another thread was here before
            self._cache = None
            with self._alone():
                if _inode(self._path) == self._inode:
                    self._move()

    def _move(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._path.rename(self._folder / f"broken-{os.getpid()}-{time.time_ns()}")

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """No other process opens the database or moves it. The kernel unlocks for one that is killed."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (self._folder / "opening.lock").open("a") as file:
            for attempt in range(100):
                with contextlib.suppress(BlockingIOError):
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                if attempt == 99:
                    raise ShelfFault("it is being opened")
                time.sleep(0.02)
            yield


def _probe(path: Path) -> None:
    """diskcache waits a minute for a database that is locked when it is opened. Raises `sqlite3.Error`."""
    with contextlib.closing(sqlite3.connect(path, timeout=_LOCKED_S, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")


def _inode(path: Path) -> int:
    """0 when there is none."""
    try:
        return os.stat(path / _DATABASE).st_ino
    except OSError:
        return 0


def _unlinked(path: Path) -> bool:
    with contextlib.suppress(OSError):
        path.unlink()
        return True
    return False


def _is_broken(error: Exception) -> bool:
    """Whether it is the content of the database that is wrong. Tables and settings that are missing are unpacked by
    diskcache in vain (`ValueError`)."""
    if isinstance(error, sqlite3.Error):
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        return code in _BROKEN or (code == sqlite3.SQLITE_ERROR and "no such" in str(error))
    return True


def _said(error: Exception) -> str:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return "its database is locked" if code in _BUSY else f"{type(error).__name__}: {error}"
