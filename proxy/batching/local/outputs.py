"""From the answers of a local batch to its output and error files, written slice by slice in the order of its lines."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from sqlalchemy import Connection, Row, func, select, update

from ..item import decode_headers
from ..records import ids_of
from ..tables import batches, items
from ..tables import files as files_table
from . import files
from .lines import answer_line, dropped_line, succeeded
from .objects import Usage

_WRITTEN_MAX: Final = 500
_WRITTEN_BYTES_MAX: Final = 8 * 1024 * 1024
"""Of replies, in one transaction; a longer one goes alone."""
_SECOND_NS: Final = 1_000_000_000


def write(connection: Connection, batch: Row[Any], now_ns: int, *, expired: bool) -> bool:
    """Write the next answers of `batch`; False when there are no more.

    What was not asked came too late when the batch is `expired`, and was cancelled else.
    """
    rows = _next(connection, batch)
    if not rows:
        return False
    usage = Usage.of(batch.usage)
    output: list[bytes] = []
    errors: list[bytes] = []
    for row in rows:
        if row.state != "done":
            errors.append(dropped_line(row.id, row.custom_id, expired=expired))
            continue
        reply = bytes(row.reply or b"")
        usage.add(reply)
        line = answer_line(row.id, row.custom_id, row.status, _request_id(row), reply)
        (output if succeeded(row.status) else errors).append(line)
    changes: dict[str, Any] = {"written": rows[-1].position, "usage": msgspec.json.encode(usage).decode()}
    for column, name, lines in (("output_file_id", "output", output), ("error_file_id", "error", errors)):
        if lines:
            changes[column] = _append(connection, batch, column, name, lines, rows[0].position, now_ns)
    connection.execute(update(batches).where(batches.c.id == batch.id).values(**changes))
    return True


def publish(connection: Connection, batch: Row[Any], now_ns: int) -> None:
    """The files of `batch` are whole: their owner may see them."""
    expires_ns = now_ns + batch.output_expires_s * _SECOND_NS
    for id_, name in ((batch.output_file_id, "output"), (batch.error_file_id, "error")):
        if id_:
            files.complete(
                connection, id_, filename=f"{batch.id}_{name}.jsonl", purpose="batch_output", expires_ns=expires_ns
            )
            connection.execute(update(files_table).where(files_table.c.id == id_).values(created_ns=now_ns))


def _next(connection: Connection, batch: Row[Any]) -> list[Row[Any]]:
    """In their order, and as many as may be in memory at a time."""
    following = (items.c.batch_id == batch.id) & (items.c.position > batch.written)
    sizes = connection.execute(
        select(items.c.position, func.coalesce(func.length(items.c.reply), 0))
        .where(following)
        .order_by(items.c.position)
        .limit(_WRITTEN_MAX)
    )
    last, total = -1, 0
    for position, size in sizes:
        total += size
        if last >= 0 and total > _WRITTEN_BYTES_MAX:
            break
        last = position
    names = ("id", "state", "position", "custom_id", "status", "headers", "reply", "created_ns")
    query = select(*(items.c[name] for name in names)).where(following & (items.c.position <= last))
    return list(connection.execute(query.order_by(items.c.position)).all())


def _append(
    connection: Connection, batch: Row[Any], column: str, name: str, lines: list[bytes], number: int, now_ns: int
) -> str:
    id_: str = getattr(batch, column)
    if not id_:
        id_ = f"file-{ids_of(f'{name} of {batch.id}', now_ns).request_id}"
        files.begin(connection, files.Owner(batch.scope, batch.upstream), id_, files.WRITING, now_ns)
    # Pieces are numbered by their first line, so that they are in order and none is there twice.
    data = b"".join(lines)
    files.append(connection, id_, number, data)
    return id_


def _request_id(row: Row[Any]) -> str:
    """The upstream's, else that of Penstock's own record."""
    for name, value in decode_headers(row.headers) if row.headers else ():
        if name.lower() == b"x-request-id":
            return value.decode("latin-1")
    return ids_of(f"item {row.id}", row.created_ns).request_id
