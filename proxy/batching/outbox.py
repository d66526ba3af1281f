"""`Outbox`: brings the records of answered items from the queue into the spool, each exactly once.

The rows that go together are a chunk. It is claimed, written aside (`exporters/handover.py`), marked as prepared, moved
into the spool by one rename, and removed from the queue. The mark decides what a kill leaves: before it the chunk is
dissolved and its rows are claimed anew; after it this instance finishes it, and what is no longer there to be moved was
moved. Nobody else's spool can have it, so a prepared chunk waits for the machine that has it on its disk.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, delete, func, insert, select, update

from exporters import handover
from exporters.files import Throttle

from ..settings import Settings
from .database import Database
from .lease import Lease, LeaseLost
from .sealing import kept
from .tables import chunks, outbox

logger = logging.getLogger(__name__)

_RECORDS_MAX: Final = 500
_BYTES_MAX: Final = 32 * 1024 * 1024
_AGAIN_S: Final = 0.25
_ROWS_TOGETHER: Final = 20
_ABSENT_S: Final = 300.0
"""After so long the chunk of another instance is worth a word."""


class Outbox:
    """Implements `Part`. A chunk holds at most 500 records and 32 MB, or one record that is larger."""

    name: Final = "outbox"

    def __init__(self, settings: Settings, database: Database, clock: Callable[[], int] = time.time_ns) -> None:
        folder = Path(settings.server.data_dir)
        self._database = database
        self._clock = clock
        self._spool = folder / "spool"
        self._outgoing = folder / "batch" / "outgoing"
        self._instance_file = folder / "batch" / "instance"
        self._instance = ""
        self._recovered: Lease | None = None
        self._throttle = Throttle()

    async def recover(self) -> None:
        """Finish what this instance had prepared when it was killed. Needs no lease: nobody else can, or will.

        Call it when the process starts, so that the records do not wait for this machine to have the lease again.
        Raises `QueueUnavailable` and `OSError`.
        """
        await asyncio.to_thread(self._finish_prepared)

    async def step(self, lease: Lease) -> float:
        """Bring one chunk. Raises `LeaseLost`, `QueueUnavailable` and `OSError`; nothing is lost or doubled then."""
        if self._recovered is not lease:
            await self.recover()
            await lease.run(self._dissolve)
            await asyncio.to_thread(shutil.rmtree, self._outgoing, ignore_errors=True)
            self._recovered = lease
        if not await asyncio.to_thread(self._is_due):
            return _AGAIN_S
        self._recovered = None  # Should anything go wrong, the next step begins with what is left of this one.
        chunk, more = await lease.run(self._claim)
        await asyncio.to_thread(self._stage, chunk)
        await lease.run(lambda connection: self._mark_prepared(connection, chunk))
        await asyncio.to_thread(self._publish, chunk)
        await asyncio.to_thread(self._remove, chunk)
        self._recovered = lease
        return 0.0 if more else _AGAIN_S

    async def aclose(self) -> None:
        """Nothing is held."""

    # In threads

    def _finish_prepared(self) -> None:
        if not self._instance:
            self._instance = kept(self._instance_file, uuid.uuid4().hex.encode()).decode()
        mine = (chunks.c.owner == self._instance) & chunks.c.prepared
        with self._database.reading() as connection:
            prepared = list(connection.scalars(select(chunks.c.id).where(mine).order_by(chunks.c.created_ns)))
        for chunk in prepared:
            self._publish(chunk)
            self._remove(chunk)

    def _dissolve(self, connection: Connection) -> None:
        """What nobody can mark as prepared any more, now that the lease is ours."""
        unprepared = select(chunks.c.id).where(~chunks.c.prepared)
        connection.execute(update(outbox).where(outbox.c.chunk.in_(unprepared)).values(chunk=""))
        connection.execute(delete(chunks).where(~chunks.c.prepared))
        self._mention_others(connection)

    def _mention_others(self, connection: Connection) -> None:
        before_ns = self._clock() - int(_ABSENT_S * 1e9)
        others = (chunks.c.owner != self._instance) & (chunks.c.created_ns < before_ns)
        waiting = select(func.count()).where(outbox.c.chunk.in_(select(chunks.c.id).where(others)))
        number = connection.scalar(waiting)
        if number and self._throttle.due("others"):
            logger.warning("%d records are on the disk of another machine and wait for its Penstock to start.", number)

    def _is_due(self) -> bool:
        with self._database.reading() as connection:
            return connection.scalar(select(outbox.c.id).where(outbox.c.chunk == "").limit(1)) is not None

    def _claim(self, connection: Connection) -> tuple[str, bool]:
        """The new chunk, and whether there is more than fits into it."""
        rows = connection.execute(
            select(outbox.c.id, func.length(outbox.c.record).label("size"))
            .where(outbox.c.chunk == "")
            .order_by(outbox.c.id)
            .limit(_RECORDS_MAX + 1)
        ).all()
        taken: list[int] = []
        size = 0
        for row in rows[:_RECORDS_MAX]:
            size += row.size
            if taken and size > _BYTES_MAX:
                break
            taken.append(row.id)
        chunk = uuid.uuid4().hex
        connection.execute(
            insert(chunks).values(id=chunk, owner=self._instance, prepared=False, created_ns=self._clock())
        )
        connection.execute(update(outbox).where(outbox.c.id.in_(taken)).values(chunk=chunk))
        return chunk, len(taken) < len(rows)

    def _stage(self, chunk: str) -> None:
        handover.stage(self._outgoing / chunk, self._records(chunk), start_ns=self._clock())

    def _records(self, chunk: str) -> Iterator[bytes]:
        with self._database.reading() as connection:
            rows = connection.execution_options(yield_per=_ROWS_TOGETHER).scalars(
                select(outbox.c.record).where(outbox.c.chunk == chunk).order_by(outbox.c.id)
            )
            yield from rows

    def _mark_prepared(self, connection: Connection, chunk: str) -> None:
        if not connection.execute(update(chunks).where(chunks.c.id == chunk).values(prepared=True)).rowcount:
            raise LeaseLost("another dispatcher has dissolved the chunk")

    def _publish(self, chunk: str) -> None:
        handover.publish(self._outgoing / chunk, self._spool)

    def _remove(self, chunk: str) -> None:
        with self._database.transaction() as connection:
            connection.execute(delete(outbox).where(outbox.c.chunk == chunk))
            connection.execute(delete(chunks).where(chunks.c.id == chunk))
