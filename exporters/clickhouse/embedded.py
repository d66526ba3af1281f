"""The embedded store: the ClickHouse engine (chDB) in a process of its own, behind ClickHouse's HTTP interface.

    python -m exporters.clickhouse.embedded --path DIR --port N

Listens on 127.0.0.1 alone, for the two users in DIR/credentials.json. One process at a time holds a directory. What a
client was told is stored survives `kill -9`; a power cut may take the last seconds (the engine does not sync inserts).
This is the only module that imports chdb, and the process must never fork after that.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import fcntl
import logging
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from . import access
from .credentials import DATABASE, store_credentials
from .engine import EngineError, Result
from .facade import serve
from .native import empty_block

logger = logging.getLogger(__name__)

PIECE_BYTES: Final = 1024 * 1024
LOCK_WAIT_S: Final = 60.0
MEMORY_BYTES_MAX: Final = 2 * 1024 * 1024 * 1024

_CODE = re.compile(r"Code: (\d+)\. ")


class CannotOpen(Exception):
    """One line for the terminal: why there is no store at this path."""


class Engine:
    """The engine at one path. Every statement has a connection of its own, so that no setting outlives it."""

    def __init__(self, path: Path, memory_bytes_max: int = MEMORY_BYTES_MAX, lock_wait_s: float = LOCK_WAIT_S) -> None:
        """Raises `CannotOpen`. Waits up to `lock_wait_s` for a former process that is still ending."""
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock_fd = _lock(path / "lock", lock_wait_s)
            users, config = path / "users.xml", path / "config.xml"
            users.write_text(access.users_xml(memory_bytes_max))
            config.write_text(access.config_xml(str(users.resolve()), memory_bytes_max))
        except OSError as error:
            raise CannotOpen(f"Cannot write to {path}: {error.strerror}.") from error
        try:
            from chdb.state import sqlitelike
        except ImportError as error:
            raise CannotOpen(
                "The embedded store needs the package chdb-core: install penstock[embedded], or set store.clickhouse."
            ) from error
        self._chdb: Any = sqlitelike
        self._url = f"{path / 'engine'}?config-file={config.resolve()}"
        try:
            # Held open: the engine shuts down when its last connection closes.
            self._keeper = self._chdb.Connection(self._url)
            self._keeper.query(f"CREATE DATABASE IF NOT EXISTS {DATABASE}")
            known = self._keeper.query("SELECT lower(name) FROM system.table_functions", "TSV").bytes().decode().split()
            self.version = self._keeper.query("SELECT version()", "TSVRaw").bytes().decode().strip()
            self.timezone = self._keeper.query("SELECT timezone()", "TSVRaw").bytes().decode().strip()
        except (RuntimeError, self._chdb.ChdbError) as error:
            raise CannotOpen(f"The engine cannot open {path}: {_one_line(str(error))}") from error
        self.refused = access.REFUSED_FUNCTIONS | (frozenset(known) - access.ALLOWED_TABLE_FUNCTIONS)

    def close(self) -> None:
        self._keeper.close()
        os.close(self._lock_fd)

    def session(self, settings: Mapping[str, str], database: str, *, readonly: bool) -> Session:
        """Raises `EngineError` (unknown setting, unknown database)."""
        return Session(self._chdb, self._url, settings, database, readonly=readonly)


class Session:
    """One statement's connection: used by one thread at a time, closed by `with`."""

    def __init__(self, chdb: Any, url: str, settings: Mapping[str, str], database: str, *, readonly: bool) -> None:
        self._errors = (RuntimeError, chdb.ChdbError)
        self._connection = chdb.Connection(url)
        try:
            changes = [f"{name} = {_literal(value)}" for name, value in settings.items()]
            self._query(f"USE `{database.replace('`', '')}`", "Null")
            if changes:
                self._query(f"SET {', '.join(changes)}", "Null")
            if readonly:
                # 2: settings may still change, except this one.
                self._query("SET readonly = 2", "Null")
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._connection.close()

    def canonical(self, sql: str) -> str:
        """`sql` as the engine's formatter writes it. Raises `EngineError` when it is not one statement."""
        escaped = sql.replace("\\", "\\\\").replace("\n", "\\n").replace("\t", "\\t").replace("\r", "\\r")
        result = self._query("SELECT formatQuerySingleLine({sql:String})", "TSVRaw", {"sql": escaped})
        return str(result.bytes().decode()).rstrip("\n")

    def insert(self, head: str, fmt: str, data: memoryview) -> Result:
        """Insert `data` in one go: after an error nothing of it is stored, unless it was larger than a block."""
        try:
            inserter = self._connection.send_insert(head, fmt)
            try:
                for start in range(0, len(data), PIECE_BYTES):
                    inserter.append(data[start : start + PIECE_BYTES])
                done = inserter.finish()
            finally:
                inserter.cancel()
        except self._errors as error:
            raise _translate(error) from error
        return Result(iter(()), written_rows=done.rows_written, written_bytes=done.bytes_written)

    def run(self, sql: str, fmt: str, parameters: Mapping[str, str]) -> Result:
        """Run a statement that is no SELECT, or one whose format must be made whole."""
        result = self._query(sql, fmt, parameters)
        return Result(
            _pieces(result),
            read_rows=result.rows_read(),
            read_bytes=result.bytes_read(),
        )

    def stream(self, sql: str, fmt: str, parameters: Mapping[str, str]) -> Result:
        """Run a SELECT and hand its blocks on as they come."""
        try:
            stream = self._connection.send_query(sql, fmt, dict(parameters))
            first = stream.fetch()
        except self._errors as error:
            raise _translate(error) from error
        return Result(self._blocks(stream, first), empty=first is None)

    def columns(self, select: str, parameters: Mapping[str, str]) -> bytes:
        """A Native block without rows: the names and types of what `select` gives."""
        described = self._query(f"DESCRIBE TABLE ({select})", "JSONCompact", parameters)
        return empty_block(described.bytes())

    def _blocks(self, stream: Any, first: Any) -> Iterator[bytes]:
        chunk = first
        try:
            while chunk is not None:
                yield from _pieces(chunk)
                chunk = stream.fetch()
        except self._errors as error:
            raise _translate(error) from error
        finally:
            stream.cancel()

    def _query(self, sql: str, fmt: str, parameters: Mapping[str, str] | None = None) -> Any:
        try:
            return self._connection.query(sql, fmt, dict(parameters or {}))
        except self._errors as error:
            raise _translate(error) from error


def _pieces(result: Any) -> Iterator[bytes]:
    """The output, copied: the engine frees it with `result`, whatever still looks at it."""
    view = result.get_memview().view() if result.size() else memoryview(b"")
    for start in range(0, len(view), PIECE_BYTES):
        yield bytes(view[start : start + PIECE_BYTES])


def _literal(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _translate(error: Exception) -> EngineError:
    text = str(error)
    found = _CODE.search(text)
    return EngineError(int(found[1]) if found else 1002, text[found.start() :] if found else text)


def _one_line(text: str) -> str:
    return " ".join(text.split())[:300]


def _lock(path: Path, wait_s: float) -> int:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() >= deadline:
                os.close(fd)
                raise CannotOpen(f"Another process holds the store in {path.parent}.") from error
            time.sleep(0.05)
        else:
            return fd


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT. Exit status 0 after a clean close, 1 with one line on standard error."""
    parser = argparse.ArgumentParser(prog="exporters.clickhouse.embedded", description="The embedded ClickHouse store.")
    parser.add_argument("--path", type=Path, required=True, help="directory of the tables and the credentials")
    parser.add_argument("--port", type=int, default=8123, help="on 127.0.0.1; 0 takes a free one")
    parser.add_argument("--memory-bytes-max", type=int, default=MEMORY_BYTES_MAX)
    parser.add_argument("--lock-wait-s", type=float, default=LOCK_WAIT_S, help="patience with a process that is ending")
    parser.add_argument("--watch-stdin", action="store_true", help="end when standard input does")
    parser.add_argument("--quiet", action="store_true", help="log what is wrong and nothing else")
    options = parser.parse_args(arguments)
    level = logging.WARNING if options.quiet else logging.INFO
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    if options.watch_stdin:
        _follow_stdin()
    try:
        credentials = store_credentials(options.path)
        engine = Engine(options.path, options.memory_bytes_max, options.lock_wait_s)
    except (CannotOpen, OSError, ValueError) as error:
        sys.stderr.write(f"penstock store: {error}\n")
        return 1
    # The engine replaces signal handlers when it starts, so ours are installed after it.
    try:
        asyncio.run(serve(engine, credentials, options.port))
    except OSError as error:
        sys.stderr.write(f"penstock store: cannot listen on 127.0.0.1:{options.port}: {error.strerror}.\n")
        return 1
    finally:
        engine.close()
    return 0


def _follow_stdin() -> None:
    """SIGTERM to this process when standard input ends: whoever started it is gone. Without mercy 20 s later."""

    def follow() -> None:
        with contextlib.suppress(OSError):
            while os.read(0, 4096):
                pass
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(20)
        os._exit(1)

    threading.Thread(target=follow, name="follow-stdin", daemon=True).start()


if __name__ == "__main__":
    sys.exit(main())
