"""`Gatherer`: closes windows. What waits for one provider, key, endpoint and model becomes a batch."""

from __future__ import annotations

import asyncio
import uuid
from functools import partial
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Row, bindparam, func, insert, select, update

from ...settings import Settings
from ..database import Database
from ..finishing import PENDING, pieces
from ..lease import Lease
from ..tables import batches, items
from .provider import WINDOW

LINES_MAX: Final = 50_000
FILE_BYTES_MAX: Final = 200_000_000
"""Of the Batch API, for one input file: never beyond, whatever the settings say."""
LINE_OVERHEAD_BYTES: Final = 256
"""What a line has beside its body, at most: its id, the endpoint, the braces."""
_IDLE_S: Final = 1.0
_LOTS_MAX: Final = 64
_CANDIDATES_MAX: Final = 2 * LINES_MAX


class Gatherer:
    """A part of the dispatcher."""

    name = "gatherer"

    def __init__(self, settings: Settings, database: Database) -> None:
        batch = settings.batch
        self._upstreams = [one.name for one in settings.upstreams if one.batch == "provider"]
        self._database = database
        self._window_s = batch.window_s
        self._lines_max = min(batch.window_items_max, LINES_MAX)
        self._bytes_max = min(batch.window_bytes_max, FILE_BYTES_MAX)
        self._idle_s = min(_IDLE_S, max(0.05, batch.window_s / 4))

    async def step(self, lease: Lease) -> float:
        if not self._upstreams:
            return 60.0
        lots = await asyncio.to_thread(self._due)
        for lot in lots:
            await lease.run(partial(self._close, lot=lot))
        return 0.0 if lots else self._idle_s

    async def aclose(self) -> None:
        pass

    def _due(self) -> list[str]:
        """Lots whose window is over, by its time or because it is full."""
        with self._database.reading() as connection:
            now_ns = self._database.now_ns(connection)
            oldest = func.min(items.c.created_ns)
            size = func.sum(items.c.body_bytes) + func.count() * LINE_OVERHEAD_BYTES
            full = (func.count() >= self._lines_max) | (size >= self._bytes_max)
            over = oldest <= now_ns - int(self._window_s * 1e9)
            lots = select(items.c.lot).where(self._waits(now_ns)).group_by(items.c.lot).having(full | over)
            return list(connection.scalars(lots.order_by(oldest).limit(_LOTS_MAX)))

    def _waits(self, now_ns: int) -> ColumnElement[bool]:
        return (
            (items.c.state == "queued")
            & (items.c.line == "")
            & (items.c.tier == "")
            & (items.c.mode != "file")
            & (items.c.run_after_ns <= now_ns)
            & items.c.upstream.in_(self._upstreams)
        )

    def _close(self, connection: Connection, lot: str) -> None:
        """Make one batch of the lot's oldest items. Identical ones wait for the line of the first."""
        now_ns = self._database.now_ns(connection)
        columns = [items.c[name] for name in ("id", "body_bytes", "question", "deadline_ns")]
        waiting = connection.execute(
            select(*columns)
            .where(self._waits(now_ns), items.c.lot == lot)
            .order_by(items.c.created_ns, items.c.id)
            .limit(_CANDIDATES_MAX)
        ).all()
        asked = _asked(connection, lot, [row.question for row in waiting if row.question])
        taken: list[Row[Any]] = []
        followers: list[dict[str, str]] = []
        size = 0
        for row in waiting:
            if row.question and (leader := asked.get(row.question)) is not None:
                followers.append({"item": row.id, "leader": leader})
                continue
            line_bytes = row.body_bytes + LINE_OVERHEAD_BYTES
            if len(taken) == self._lines_max or (taken and size + line_bytes > self._bytes_max):
                break
            size += line_bytes
            taken.append(row)
            if row.question:
                asked[row.question] = row.id
        if followers:
            connection.execute(
                update(items).where(items.c.id == bindparam("item")).values(line=bindparam("leader")), followers
            )
        if taken:
            _insert(connection, taken, now_ns)


def _asked(connection: Connection, lot: str, questions: list[str]) -> dict[str, str]:
    """By question, the item that asks it already."""
    found: dict[str, str] = {}
    for some in pieces(questions):
        pending = items.c.question.in_(some) & items.c.state.in_(PENDING) & (items.c.line == "") & (items.c.lot == lot)
        is_asked = (items.c.batch_id != "") | (items.c.tier != "")
        for row in connection.execute(select(items.c.id, items.c.question).where(pending & is_asked)):
            found[row.question] = row.id
    return found


def _insert(connection: Connection, taken: list[Row[Any]], now_ns: int) -> None:
    batch_id = f"pbatch_{uuid.uuid4().hex}"
    columns = [items.c[name] for name in ("upstream", "credential", "path", "model", "context")]
    first = connection.execute(select(*columns).where(items.c.id == taken[0].id)).one()
    connection.execute(
        insert(batches).values(
            id=batch_id,
            kind="provider",
            state="gathered",
            upstream=first.upstream,
            credential=first.credential,
            path=first.path,
            model=first.model,
            context=first.context,
            completion_window=WINDOW,
            total=len(taken),
            created_ns=now_ns,
            deadline_ns=min(row.deadline_ns for row in taken),
            poll_at_ns=now_ns,
        )
    )
    placed = update(items).where(items.c.id == bindparam("item"))
    connection.execute(
        placed.values(state="batched", batch_id=batch_id, position=bindparam("place")),
        [{"item": row.id, "place": place} for place, row in enumerate(taken)],
    )
