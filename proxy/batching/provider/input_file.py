"""Writes the file that a provider's batch is made of, from the queue, a few lines in memory at a time."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

import msgspec
from sqlalchemy import Row, select

from ..database import Database
from ..tables import items
from .batch_rows import CHUNK_BYTES, portions

_SIZES_MAX: Final = 2000


def write_input(database: Database, batch: Row[Any], path: Path) -> int:
    """One line for each item that is still in the batch, in order; returns how many. Replaces what is at `path`.

    Raises `QueueUnavailable`, `OSError`.
    """
    count, after = 0, -1
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
        while sizes := _sizes(database, batch.id, after):
            after = sizes[-1].position
            for ids in portions([(row.id, row.body_bytes) for row in sizes], CHUNK_BYTES):
                for row in _bodies(database, ids):
                    if (body := _in_one_line(row.body)) is not None:
                        head = msgspec.json.encode({"custom_id": row.id, "method": "POST", "url": batch.path})
                        file.writelines((head[:-1], b',"body":', body, b"}\n"))
                        count += 1
    return count


def _sizes(database: Database, batch_id: str, after: int) -> list[Row[Any]]:
    here = (items.c.batch_id == batch_id) & (items.c.state == "batched") & (items.c.position > after)
    columns = (items.c.id, items.c.position, items.c.body_bytes)
    with database.reading() as connection:
        wanted = select(*columns).where(here).order_by(items.c.position).limit(_SIZES_MAX)
        return [*connection.execute(wanted)]


def _bodies(database: Database, ids: list[str]) -> list[Row[Any]]:
    with database.reading() as connection:
        wanted = select(items.c.id, items.c.body).where(items.c.id.in_(ids)).order_by(items.c.position)
        return [*connection.execute(wanted)]


def _in_one_line(body: bytes) -> bytes | None:
    """None for a body that is no JSON: its item is missing from the result, and told so."""
    if b"\n" not in body and b"\r" not in body:
        return body
    try:
        return msgspec.json.format(body, indent=-1)
    except msgspec.DecodeError:
        return None
