"""The queue as an operator sees it: what is in it, without a word of what callers wrote and without their keys."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
from sqlalchemy import ColumnElement, Connection, Row, Table, case, func, or_, select

from ..settings import Settings
from . import finishing
from .database import Database, queue_url
from .item import decode_context
from .tables import batches, items

PREFIX_MIN: Final = 6
_SECOND: Final = 1_000_000_000
OVER: Final = frozenset({"completed", "failed", "expired", "cancelled", "lost"})
"""Statuses of batches in which nothing is asked any more."""
DONE: Final = frozenset({"settled", "finished", "recorded", "lost"})
"""... and states."""
ERROR_FROM: Final = 400
"""The lowest status of an answer that is an error."""


class NoQueue(Exception):
    """Nothing was ever put off here; one line that says so."""


class NotPossible(Exception):
    """What was asked cannot be done with this item or batch; one line that says why."""


class Overview(msgspec.Struct, kw_only=True):
    """A batch, an item, or items of a kind that wait together. Times are Unix seconds, 0: there is none."""

    id: str
    kind: str
    """provider, caller or local: a batch; item; waiting: items that are in no batch."""
    state: str
    """In the provider's words for a batch, in those of the queue for items."""
    upstream: str
    model: str
    path: str = ""
    provider_id: str = ""
    total: int = 1
    completed: int = 0
    failed: int = 0
    created: float = 0.0
    deadline: float = 0.0
    ended: float = 0.0
    mode: str = ""
    status: int | None = None
    """Of the answer of an item."""
    attempts: int = 0
    tier: str = ""
    batch_id: str = ""
    request_id: str = ""
    webhook_state: str = ""
    saved_usd: float | None = None
    """By its price as a batch; None: not known."""

    @property
    def is_over(self) -> bool:
        return self.ended > 0


def open_queue(settings: Settings) -> Database:
    """The queue that is there: none is made. Raises `NoQueue`, `QueueUnavailable`."""
    path = Path(settings.server.data_dir) / "batch" / "queue.db"
    if not settings.batch.url and not path.exists():
        raise NoQueue(f"There is no batch queue in {settings.server.data_dir}: no call was put off there.")
    return Database.open(queue_url(settings))


def overview(connection: Connection, *, state: str = "", upstream: str = "", limit: int = 50) -> list[Overview]:
    """The newest batches, oldest first, and before them what waits for one."""
    terms: list[ColumnElement[bool]] = [batches.c.upstream == upstream] if upstream else []
    if state:
        terms.append(or_(batches.c.state == state, batches.c.status == state))
    rows = connection.execute(select(batches).where(*terms).order_by(batches.c.created_ns.desc()).limit(limit)).all()
    counted = _counted(connection, [row.id for row in rows])
    found = [_of_batch(row, counted.get(row.id, (0, 0, 0))) for row in rows][::-1]
    return [*_waiting(connection, state, upstream), *found]


def find(connection: Connection, name: str) -> Overview:
    """The batch or item with this id, whose provider calls it so, or whose id begins so. Raises `NotPossible`."""
    row, is_batch = find_row(connection, name)
    return _of_batch(row, _counted(connection, [row.id]).get(row.id, (0, 0, 0))) if is_batch else _of_item(row)


def find_row(connection: Connection, name: str) -> tuple[Row[Any], bool]:
    """As `find`: the row, and whether it is one of `batches`."""
    for table, is_batch in ((batches, True), (items, False)):
        exact = table.c.id == name
        if is_batch and name:
            exact = or_(exact, batches.c.provider_id == name)
        if (row := connection.execute(_told(table).where(exact).limit(1)).one_or_none()) is not None:
            return row, is_batch
    found = [
        pair
        for table, is_batch in ((batches, True), (items, False))
        for pair in _begins(connection, table, name, is_batch)
    ]
    if len(found) == 1:
        return found[0]
    if found:
        raise NotPossible(f"More than one item or batch begins with {name!r}. Give more of the id.")
    raise NotPossible(f"There is no item or batch {name!r} in the queue. `penstock batch list` shows what is there.")


def _begins(connection: Connection, table: Table, name: str, is_batch: bool) -> list[tuple[Row[Any], bool]]:
    if len(name) < PREFIX_MIN:
        return []
    begins = table.c.id.startswith(name, autoescape=True)
    if is_batch:
        begins = or_(begins, batches.c.provider_id.startswith(name, autoescape=True))
    return [(row, is_batch) for row in connection.execute(_told(table).where(begins).limit(2))]


_PRIVATE: Final = frozenset({"body", "reply", "headers", "credential", "webhook", "metadata", "errors"})


def _told(table: Table) -> Any:
    """All that may be shown of a row: what callers wrote is not even read."""
    return select(*(column for column in table.c if column.name not in _PRIVATE))


def _counted(connection: Connection, ids: Sequence[str]) -> dict[str, tuple[int, int, int]]:
    """By batch: its items, those with an answer, those with an error."""
    done = items.c.state == "done"
    wanted = select(
        items.c.batch_id,
        func.count(),
        func.sum(case((done & (items.c.status < ERROR_FROM), 1), else_=0)),
        func.sum(case((done & (items.c.status >= ERROR_FROM), 1), else_=0)),
    )
    found: dict[str, tuple[int, int, int]] = {}
    for some in finishing.pieces(ids):
        rows = connection.execute(wanted.where(items.c.batch_id.in_(some)).group_by(items.c.batch_id))
        found |= {batch_id: (int(total), int(good), int(bad)) for batch_id, total, good, bad in rows}
    return found


def _waiting(connection: Connection, state: str, upstream: str) -> list[Overview]:
    terms = [items.c.batch_id == "", items.c.state.in_(finishing.PENDING), items.c.mode != "file"]
    terms += [items.c.state == state] if state else []
    terms += [items.c.upstream == upstream] if upstream else []
    names = (items.c.upstream, items.c.model, items.c.path, items.c.mode, items.c.state)
    wanted = select(*names, func.count(), func.min(items.c.created_ns), func.min(items.c.deadline_ns))
    return [
        Overview(
            id="",
            kind="waiting",
            state=row[4],
            upstream=row[0],
            model=row[1],
            path=row[2],
            mode=row[3],
            total=row[5],
            created=row[6] / _SECOND,
            deadline=row[7] / _SECOND,
        )
        for row in connection.execute(wanted.where(*terms).group_by(*names).order_by(*names))
    ]


def _of_batch(row: Row[Any], counted: tuple[int, int, int]) -> Overview:
    ended_ns = max(row.completed_ns, row.failed_ns, row.expired_ns, row.cancelled_ns)
    is_over = row.state in DONE or (row.status in OVER and row.kind == "local")
    return Overview(
        id=row.id,
        kind=row.kind,
        state=row.state if row.state == "lost" else row.status or row.state,
        upstream=row.upstream,
        model=row.model,
        path=row.path,
        provider_id=row.provider_id,
        total=max(row.total, counted[0]),
        completed=max(row.completed, counted[1]),
        failed=max(row.failed, counted[2]),
        created=row.created_ns / _SECOND,
        deadline=(row.deadline_ns or row.expires_ns) / _SECOND,
        ended=(ended_ns or row.created_ns) / _SECOND if is_over else 0.0,
        request_id=decode_context(row.context).request_id if row.kind != "provider" else "",
    )


def _of_item(row: Row[Any]) -> Overview:
    failed = row.status is not None and row.status >= ERROR_FROM
    return Overview(
        id=row.id,
        kind="item",
        state=row.state,
        upstream=row.upstream,
        model=row.model,
        path=row.path,
        completed=int(row.state == "done" and not failed),
        failed=int(row.state == "done" and failed),
        created=row.created_ns / _SECOND,
        deadline=row.deadline_ns / _SECOND,
        ended=row.done_ns / _SECOND
        if row.state == "done"
        else row.created_ns / _SECOND
        if row.state == "cancelled"
        else 0.0,
        mode=row.mode,
        status=row.status,
        attempts=row.attempts,
        tier=row.tier,
        batch_id=row.batch_id,
        request_id=decode_context(row.context).request_id,
        webhook_state=row.webhook_state,
    )
