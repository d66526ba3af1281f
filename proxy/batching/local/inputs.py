"""From the input file of a local batch to its items: checked as a whole first, then made in slices."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from sqlalchemy import Connection, Row, insert, update

from .. import admission
from ..database import Database
from ..item import BATCHABLE
from ..records import ids_of
from ..tables import batches, items
from . import files
from .lines import Check, Line, Lines, Request, read_request

_LOADED_MAX: Final = 500
_LOADED_BYTES_MAX: Final = 8 * 1024 * 1024
"""Of the file, in one transaction; a longer line goes alone."""


def validate(database: Database, batch: Row[Any], line_bytes_max: int) -> Check:
    """Read the whole input of `batch`. Blocks; raises `QueueUnavailable`."""
    check = Check(batch.path, line_bytes_max)
    lines = Lines(line_bytes_max)
    number = -1
    while not check.full:
        with database.reading() as connection:
            found = files.piece(connection, batch.input_file_id, number)
        if found is None:
            break
        number, data = found
        for line in lines.feed(data):
            check.see(line)
    for line in () if check.full else lines.finish():
        check.see(line)
    check.finish()
    return check


def load(connection: Connection, batch: Row[Any], line_bytes_max: int, *, doomed: bool) -> bool:
    """Make the next lines of `batch` items; False when these were the last. `doomed`: it is too late to ask them."""
    rows: list[dict[str, Any]] = []
    read_bytes, read_lines, whole = batch.read_bytes, batch.read_lines, True
    for line in _lines(connection, batch, line_bytes_max):
        read_bytes, read_lines = line.end, line.number + 1
        request = read_request(line.data, batch.path) if line.data and line.data.strip() else None
        if isinstance(request, Request):
            rows.append(_item(batch, line, request, doomed=doomed))
        if len(rows) >= _LOADED_MAX or read_bytes - batch.read_bytes >= _LOADED_BYTES_MAX:
            whole = False
            break
    if rows:
        connection.execute(insert(items), rows)
        if not doomed:
            admission.count(connection, len(rows), sum(row["body_bytes"] for row in rows))
    loaded = batch.loaded + len(rows)
    changes = {
        "read_bytes": read_bytes,
        "read_lines": read_lines,
        "loaded": loaded,
        "dropped": batches.c.dropped + (len(rows) if doomed else 0),
    }
    if whole:
        # What was counted when the file was checked, unless the file was lost since.
        changes |= {"state": "running", "total": loaded}
    connection.execute(update(batches).where(batches.c.id == batch.id).values(**changes))
    return not whole


def _lines(connection: Connection, batch: Row[Any], line_bytes_max: int) -> Iterator[Line]:
    number, skipped = divmod(batch.read_bytes, files.PIECE_BYTES)
    lines = Lines(line_bytes_max, batch.read_lines, batch.read_bytes)
    number -= 1
    while found := files.piece(connection, batch.input_file_id, number):
        number, data = found
        yield from lines.feed(data[skipped:])
        skipped = 0
    yield from lines.finish()


def _item(batch: Row[Any], line: Line, request: Request, *, doomed: bool) -> dict[str, Any]:
    return {
        # Always the same for this line of this batch.
        "id": ids_of(f"item of {batch.id} {line.number}", batch.created_ns).request_id,
        "mode": "file",
        "state": "cancelled" if doomed else "queued",
        "scope": batch.scope,
        "upstream": batch.upstream,
        "credential": "" if doomed else batch.credential,
        "endpoint": BATCHABLE[batch.path],
        "path": batch.path,
        "model": request.model,
        "body": request.body,
        "body_bytes": len(request.body),
        "deadline_ns": batch.expires_ns,
        "created_ns": batch.created_ns,
        "lot": "",
        "batch_id": batch.id,
        "position": line.number,
        "custom_id": request.custom_id,
        "context": batch.context,
    }
