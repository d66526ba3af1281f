"""Rows of `batches` of kind `provider`: which are due, how one goes from state to state, and which items are in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, TypeVar

import msgspec
from sqlalchemy import Connection, Row, select, update

from ..database import Database
from ..item import Answer
from ..tables import batches, items
from .provider import Fault, Seen

T = TypeVar("T")

CHUNK_ITEMS: Final = 200
CHUNK_BYTES: Final = 8 * 1024 * 1024
"""Of items or lines that are in memory at a time; a larger one is there alone."""


class Ending(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why a batch ended as it did, kept as JSON in the column `errors`."""

    answer: Answer | None = None
    """What all of its items get that have no answer of their own."""
    faults: list[Fault] = []


def encode_ending(ending: Ending) -> str:
    return msgspec.json.encode(ending).decode()


def ending_of(row: Row[Any]) -> Ending:
    return msgspec.json.decode(row.errors, type=Ending) if row.errors else Ending()


def due(database: Database, states: Sequence[str], limit: int) -> list[Row[Any]]:
    """Those in one of the states that are to be looked after now, the longest due first."""
    with database.reading() as connection:
        wanted = (batches.c.kind == "provider") & batches.c.state.in_(states)
        wanted &= batches.c.poll_at_ns <= database.now_ns(connection)
        return list(connection.execute(select(batches).where(wanted).order_by(batches.c.poll_at_ns).limit(limit)))


def enter(connection: Connection, batch_id: str, was: Sequence[str], state: str, **values: Any) -> bool:
    """Change the state and what goes with it. False: it is none of `was` by now, and nothing changed."""
    here = (batches.c.id == batch_id) & batches.c.state.in_(was)
    return bool(connection.execute(update(batches).where(here).values(state=state, **values)).rowcount)


def seen_values(seen: Seen) -> dict[str, Any]:
    """The columns that follow what the provider shows."""
    return {
        "provider_id": seen.id,
        "status": seen.status,
        "output_file_id": seen.output_file_id,
        "error_file_id": seen.error_file_id,
        "completed": seen.completed,
        "failed": seen.failed,
        **{f"{name}_ns": at_ns for name, at_ns in seen.times_ns.items()},
    }


def file_name(row: Row[Any]) -> str:
    """Of the input file, by which it is found again at the provider."""
    return f"penstock-{row.id}.jsonl"


def unanswered(connection: Connection, batch_id: str, limit: int) -> list[Row[Any]]:
    """Ids, ages and tries of items that are in the batch and have no answer; with those that were cancelled since."""
    columns = [items.c[name] for name in ("id", "state", "attempts", "created_ns", "deadline_ns")]
    open_ones = (items.c.state == "batched") | ((items.c.state == "cancelled") & (items.c.done_ns == 0))
    here = (items.c.batch_id == batch_id) & open_ones
    return list(connection.execute(select(*columns).where(here).order_by(items.c.position).limit(limit)))


def portions(
    sized: Sequence[tuple[T, int]], bytes_max: int = CHUNK_BYTES, count_max: int = CHUNK_ITEMS
) -> Iterator[list[T]]:
    """In order, as many at a time as the bounds allow, and at least one."""
    portion: list[T] = []
    size = 0
    for one, one_bytes in sized:
        if portion and (size + one_bytes > bytes_max or len(portion) == count_max):
            yield portion
            portion, size = [], 0
        portion.append(one)
        size += one_bytes
    if portion:
        yield portion
