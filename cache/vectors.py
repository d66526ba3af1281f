"""Vectors by partition: found by comparing all of a partition, kept in one SQLite file that all workers share.

Chosen by measurement (256 dimensions, one core, random vectors; per search, at 10 / 1,000 / 100,000 in the partition):

| | search, ms | build 100k, s | memory 100k | |
|---|---|---|---|---|
| **numpy, all compared** | 0.007 / 0.04 / 13 | 0.01 | 102 MB | exact; a deletion moves one row |
| usearch, all compared | 0.08 / 0.3 / 20 | 0 | 102 MB | exact |
| hnswlib | 0.004 / 0.05 / 0.14 | 85 | 125 MB | no deletion, only marks; compiled at install |
| usearch (HNSW) | 0.03 / 0.1 / - | over 100 | - | 10 MB for the first index |
| sqlite-vec | - | - | - | needs a Python whose SQLite loads extensions; many do not |

Most partitions hold a few vectors (every conversation that goes on is one) and the largest some thousands, where
comparing all costs less than a graph does, and neither building nor deleting costs anything. A partition is bounded
accordingly. With the file behind it a search looks first for what other workers added: 0.02 ms at 10 vectors, 0.04 at
1,000, 1.1 at 10,000; 0.01 where there is nothing; the first one, which reads 10,000 vectors,
22 ms. Adding one takes 0.9 ms.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

import numpy as np

from .embedding import Vector
from .faults import Complaints, Pause
from .guard import Marks

T = TypeVar("T")

FOUND_MAX: Final = 3
_LOCKED_S: Final = 0.25
_TRIM_EVERY: Final = 500
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS vectors (
 id INTEGER PRIMARY KEY AUTOINCREMENT, partition BLOB NOT NULL, key TEXT NOT NULL, vector BLOB NOT NULL,
 words BLOB NOT NULL, ordered BLOB NOT NULL, UNIQUE (key, partition));
CREATE INDEX IF NOT EXISTS by_partition ON vectors (partition, id);
"""


class Row(NamedTuple):
    id: int
    key: str
    vector: bytes
    """float16, for half the file; similarities differ by less than 0.0005."""
    words: bytes
    ordered: bytes


class _Partition:
    """Rows of one matrix, in no order."""

    def __init__(self, dimensions: int, rows_max: int) -> None:
        self.last_id = 0
        self._rows_max = rows_max
        self._matrix = np.empty((4, dimensions), dtype=np.float32)
        self._rows: list[tuple[str, bytes, bytes]] = []
        self._at: dict[str, int] = {}

    @property
    def size(self) -> int:
        return self._matrix.nbytes + 300 * len(self._rows)

    def put(self, key: str, vector: Vector, words: bytes, ordered: bytes) -> None:
        at = self._at.get(key)
        if at is None:
            if len(self._rows) >= self._rows_max:
                self.drop(self._rows[0][0])
            at = len(self._rows)
            if at == len(self._matrix):
                larger = np.empty((min(2 * at, max(at + 1, self._rows_max)), self._matrix.shape[1]), dtype=np.float32)
                larger[:at] = self._matrix
                self._matrix = larger
            self._rows.append((key, words, ordered))
            self._at[key] = at
        self._rows[at] = (key, words, ordered)
        self._matrix[at] = vector

    def drop(self, key: str) -> None:
        at = self._at.pop(key, None)
        if at is None:
            return
        moved = self._rows.pop()
        if at < len(self._rows):
            self._rows[at] = moved
            self._at[moved[0]] = at
            self._matrix[at] = self._matrix[len(self._rows)]

    def search(self, vector: Vector, marks: Marks, threshold: float) -> list[tuple[str, float]]:
        likeness = self._matrix[: len(self._rows)] @ vector
        near = np.flatnonzero(likeness >= threshold - 1e-6)
        found = []
        for at in near[np.argsort(-likeness[near])]:
            key, words, ordered = self._rows[at]
            if marks.may_match(words, ordered):
                found.append((key, min(1.0, float(likeness[at]))))
                if len(found) == FOUND_MAX:
                    break
        return found


class Vectors:
    """For one thread. Never raises for what the file does: without it, it remembers what this process added."""

    def __init__(self, path: Path | None, *, rows_max: int, memory_bytes_max: int, pause: Pause | None = None) -> None:
        """`rows_max` bounds the file, oldest out first; `memory_bytes_max` what is held of it, and any one partition
        to a half of that."""
        self._path = path
        self._rows_max = rows_max
        self._memory_bytes_max = memory_bytes_max
        self._partitions: OrderedDict[bytes, _Partition] = OrderedDict()
        self._file: sqlite3.Connection | None = None
        self._since_trim = 0
        self._pause = pause or Pause()
        self._complaints = Complaints("semantic index")
        self.failed = 0
        """Operations that the file refused."""

    def search(self, partition: bytes, vector: Vector, marks: Marks, threshold: float) -> list[tuple[str, float]]:
        """At most `FOUND_MAX` keys and their similarity, best first."""
        held = self._caught_up(partition, len(vector))
        return held.search(vector, marks, threshold) if held is not None else []

    def put(self, partition: bytes, key: str, vector: Vector, marks: Marks) -> None:
        held = self._caught_up(partition, len(vector))
        row = (partition, key, vector.astype(np.float16).tobytes(), marks.words, marks.order)
        in_file = self._try(lambda file: self._insert(file, row))
        if held is None and not in_file:  # Otherwise the next search finds it there.
            held = self._partitions[partition] = _Partition(len(vector), self._rows_of_one(len(vector)))
        if held is not None:
            held.put(key, vector, marks.words, marks.order)
        if not in_file:
            self._make_room()

    def drop(self, key: str) -> None:
        """Forget what leads to `key`, wherever."""
        for held in self._partitions.values():
            held.drop(key)
        self._try(lambda file: file.execute("DELETE FROM vectors WHERE key = ?", (key,)))

    def close(self) -> None:
        """Safe to call again; it opens anew when it is used."""
        file, self._file = self._file, None
        if file is not None:
            with contextlib.suppress(sqlite3.Error):
                file.close()

    def _caught_up(self, partition: bytes, dimensions: int) -> _Partition | None:
        """The partition with what other processes added since; None when there is nothing in it."""
        held = self._partitions.get(partition)
        rows = self._rows_after(partition, held.last_id if held is not None else 0, dimensions)
        if held is None:
            if not rows:
                return None
            held = self._partitions[partition] = _Partition(dimensions, self._rows_of_one(dimensions))
        self._partitions.move_to_end(partition)
        for row in rows:
            if len(row.vector) == 2 * dimensions:
                held.put(
                    row.key, np.frombuffer(row.vector, dtype=np.float16).astype(np.float32), row.words, row.ordered
                )
            held.last_id = row.id
        if rows:
            self._make_room()
        return held

    def _rows_of_one(self, dimensions: int) -> int:
        return max(4, self._memory_bytes_max // 2 // (4 * dimensions + 300))

    def _rows_after(self, partition: bytes, last_id: int, dimensions: int) -> list[Row]:
        newest_first = self._try(
            lambda file: file.execute(
                "SELECT id, key, vector, words, ordered FROM vectors WHERE partition = ? AND id > ? "
                "ORDER BY id DESC LIMIT ?",
                (partition, last_id, self._rows_of_one(dimensions)),
            ).fetchall()
        )
        return [Row(*row) for row in reversed(newest_first or [])]

    def _insert(self, file: sqlite3.Connection, row: tuple[bytes, str, bytes, bytes, bytes]) -> bool:
        file.execute(
            "INSERT OR REPLACE INTO vectors (partition, key, vector, words, ordered) VALUES (?, ?, ?, ?, ?)", row
        )
        self._since_trim += 1
        if self._since_trim >= min(_TRIM_EVERY, self._rows_max):
            self._since_trim = 0
            file.execute("DELETE FROM vectors WHERE id <= (SELECT max(id) FROM vectors) - ?", (self._rows_max,))
        return True

    def _make_room(self) -> None:
        used = sum(held.size for held in self._partitions.values())
        while used > self._memory_bytes_max and len(self._partitions) > 1:
            used -= self._partitions.popitem(last=False)[1].size

    def _try(self, job: Callable[[sqlite3.Connection], T]) -> T | None:
        """What `job` gives; None when there is no file, or it fails, or has just failed."""
        if self._path is None or self._pause.on:
            return None
        try:
            if self._file is None:
                self._file = self._opened(self._path)
            result = job(self._file)
        except (sqlite3.Error, OSError) as error:
            self.failed += 1
            self._pause.begin()
            self._complaints.say(f"its file failed: {type(error).__name__}")
            self.close()
            if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
                self._remove(self._path)
            return None
        self._pause.end()
        return result

    def _opened(self, path: Path) -> sqlite3.Connection:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        file = sqlite3.connect(path, timeout=_LOCKED_S, isolation_level=None, check_same_thread=False)
        try:
            file.execute("PRAGMA journal_mode = WAL")
            file.execute("PRAGMA synchronous = NORMAL")
            file.executescript(_SCHEMA)
        except sqlite3.Error:
            file.close()
            raise
        return file

    def _remove(self, path: Path) -> None:
        """A file that is no database, or a broken one: nothing in it is worth more than an empty one."""
        for suffix in ("", "-wal", "-shm"):
            with contextlib.suppress(OSError):
                path.with_name(path.name + suffix).unlink()
        for held in self._partitions.values():
            held.last_id = 0
