"""What the lines of a batch asked, by their custom ids: in a file of its own, so that no batch is whole in memory."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from pathlib import Path

import msgspec


class _Line(msgspec.Struct):
    custom_id: str
    body: msgspec.Raw = msgspec.Raw(b"{}")


_decoder = msgspec.json.Decoder(_Line)


class AskedLines:
    """Made anew whenever it is needed, and gone when it is closed. May be used by several threads, one at a time."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        self._path = path
        self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        path.chmod(0o600)  # what callers wrote is nobody else's
        self._connection.execute("PRAGMA journal_mode = OFF")
        self._connection.execute("PRAGMA synchronous = OFF")
        self._connection.execute("CREATE TABLE lines (custom_id TEXT PRIMARY KEY, body BLOB, taken INTEGER)")

    def add(self, lines: Iterable[bytes]) -> None:
        """Lines of an input file; what is none is left out."""
        rows = [(line.custom_id, bytes(line.body)) for data in lines if (line := _read(data)) is not None]
        self._connection.execute("BEGIN")
        self._connection.executemany("INSERT OR IGNORE INTO lines VALUES (?, ?, 0)", rows)
        self._connection.execute("COMMIT")

    def take(self, custom_id: str) -> bytes | None:
        """The body of that line, b"{}" of one that nobody asked; None when it was taken before."""
        row = self._connection.execute("SELECT body, taken FROM lines WHERE custom_id = ?", (custom_id,)).fetchone()
        if row is not None and row[1]:
            return None
        self._connection.execute(
            "INSERT INTO lines VALUES (?, '', 1) ON CONFLICT DO UPDATE SET taken = 1, body = ''", (custom_id,)
        )
        return b"{}" if row is None else row[0]

    def close(self) -> None:
        self._connection.close()
        self._path.unlink(missing_ok=True)


def _read(data: bytes) -> _Line | None:
    try:
        return _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
