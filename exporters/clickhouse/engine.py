"""What the HTTP interface needs of an engine, and what comes of one statement: no chDB type and no HTTP type here."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Final, Protocol

from . import statement
from .credentials import DATABASE

STREAMED_FORMATS: Final = frozenset(
    {
        *("Native", "RowBinary", "JSONEachRow", "JSONCompactEachRow", "CSV", "LineAsString"),
        *("TSV", "TabSeparated", "TSVRaw", "TabSeparatedRaw"),
    }
)
"""Those whose output over all blocks is the outputs of the blocks, one after the other; others are made whole."""

ACCESS_DENIED: Final = 497
NOT_IMPLEMENTED: Final = 48


class EngineError(Exception):
    """The engine's answer to a statement that it did not run to its end. The text begins with `Code: N.`"""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


@dataclass(slots=True)
class Result:
    """What a statement gave. `pieces` is read in the thread of its session."""

    pieces: Iterator[bytes]
    format: str = ""
    read_rows: int = 0
    read_bytes: int = 0
    written_rows: int = 0
    written_bytes: int = 0
    empty: bool = False
    """A SELECT without rows, in a format that then says nothing at all."""


class Session(Protocol):
    """One statement's connection, with settings of its own. All methods raise `EngineError`."""

    def canonical(self, sql: str) -> str:
        """`sql` as the engine's formatter writes it."""

    def insert(self, head: str, fmt: str, data: memoryview) -> Result: ...

    def run(self, sql: str, fmt: str, parameters: Mapping[str, str]) -> Result:
        """Run any statement and make its output whole."""

    def stream(self, sql: str, fmt: str, parameters: Mapping[str, str]) -> Result:
        """Run a SELECT and hand its blocks on as they come."""

    def columns(self, select: str, parameters: Mapping[str, str]) -> bytes:
        """A Native block without rows: the names and types of what `select` gives."""


class StatementEngine(Protocol):
    version: str
    timezone: str
    refused: frozenset[str]
    """Functions that leave the database, lower case."""

    def session(self, settings: Mapping[str, str], database: str, *, readonly: bool) -> AbstractContextManager[Session]:
        """Raises `EngineError` (unknown setting, unknown database)."""


@dataclass(frozen=True, slots=True)
class Question:
    """A statement and all that came with it."""

    sql: bytes
    """The text; of an INSERT with data only the head."""
    data: memoryview | None = None
    data_format: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)
    database: str = DATABASE
    default_format: str = "TabSeparated"
    readonly: bool = True


_READS = re.compile(rb"\s*(?:\(|SELECT|WITH|SHOW|DESC|EXPLAIN|EXISTS|CHECK)", re.IGNORECASE)


def changes(question: Question) -> bool:
    """Whether this belongs in the one writer's queue. When in doubt it does."""
    return not question.readonly and _READS.match(question.sql) is None


def answer(engine: StatementEngine, question: Question) -> Generator[Result | bytes]:
    """First the `Result`, then its pieces. Closing the iterator gives the session up. Raises `EngineError`."""
    with engine.session(question.settings, question.database, readonly=question.readonly) as session:
        result = _run(engine, session, question)
        yield result
        yield from result.pieces


def _run(engine: StatementEngine, session: Session, question: Question) -> Result:
    sql = question.sql.decode(errors="replace")
    if question.data is not None:
        _check(session.canonical(f"{sql} FORMAT {question.data_format}"), engine.refused)
        return session.insert(sql, question.data_format, question.data)
    canonical = session.canonical(sql)
    _check(canonical, engine.refused)
    select, chosen = statement.split_format(canonical)
    fmt = chosen or question.default_format
    if canonical.lower().startswith(_HANDSHAKE):
        sql = sql.replace("revision()", "toUInt32(0) AS `revision()`")
    if statement.read_kind(canonical) != "select" or fmt not in STREAMED_FORMATS:
        result = session.run(sql, fmt, question.parameters)
    else:
        result = session.stream(sql, fmt, question.parameters)
        if result.empty and fmt == "Native":
            result.pieces = iter([session.columns(select, question.parameters)])
    result.format = fmt
    return result


_HANDSHAKE: Final = "select displayname(), version(), revision(), timezone()"
"""What clickhouse-go asks first. It would read later blocks by the revision it is told, and ours are of revision 0."""


def _check(canonical: str, refused: frozenset[str]) -> None:
    try:
        statement.check_stays_inside(canonical, refused)
    except statement.Refused as error:
        raise EngineError(ACCESS_DENIED, f"Code: {ACCESS_DENIED}. DB::Exception: {error}. (ACCESS_DENIED)") from error
