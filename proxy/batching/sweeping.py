"""`Sweeper`: forgets what has been kept long enough, and lets nothing wait for ever."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any, Final

from sqlalchemy import Connection, Row, delete, select, text

from exporters.record import CallRecord

from ..errors import UpstreamFault
from ..settings import Settings
from .database import Database
from .finishing import PENDING, Finished, finish, release
from .item import Answer
from .lease import Lease
from .provider.results import answer_of
from .records import ItemRecords
from .tables import batches, items

_EVERY_S: Final = 30.0
_PIECE_MAX: Final = 500
_STRANDED_MAX: Final = 50
_BATCHES_KEPT_NS: Final = 7 * 24 * 3600 * 1_000_000_000
"""How long a batch that is over can be looked at."""
_HOOK_KEPT_NS: Final = 24 * 3600 * 1_000_000_000
"""How much longer an item is kept whose webhook nobody has taken."""
_LATE_NS: Final = 60 * 1_000_000_000


class Sweeper:
    """A part of the dispatcher."""

    name = "sweeper"

    def __init__(self, settings: Settings, database: Database, records: ItemRecords) -> None:
        self._keep_s = settings.batch.keep_s
        self._upstreams = [one.name for one in settings.upstreams if one.batch != "none"]
        self._database = database
        self._records = records

    async def step(self, lease: Lease) -> float:
        work = (
            (self._old_items, self._forget),
            (self._old_batches, _forget_batches),
            (self._orphans, release),
            (self._stranded, self._tell_stranded),
        )
        more = False
        for find, change in work:
            found = await asyncio.to_thread(self._read, find)
            if found:
                await lease.run(partial(_changed, change=change, ids=found))
                more = True
        return 0.05 if more else _EVERY_S

    async def aclose(self) -> None:
        pass

    def _read(self, find: Any) -> list[str]:
        with self._database.reading() as connection:
            return [*connection.scalars(find(self._database.now_ns(connection)))]

    def _old_items(self, now_ns: int) -> Any:
        over = items.c.state.in_(("done", "cancelled")) & (items.c.mode != "file")
        due = (items.c.keep_until_ns > 0) & (items.c.keep_until_ns < now_ns)
        hooked = (items.c.webhook_state == "waiting") & (items.c.keep_until_ns > now_ns - _HOOK_KEPT_NS)
        return select(items.c.id).where(over, due, ~hooked).limit(_PIECE_MAX)

    def _forget(self, connection: Connection, ids: list[str]) -> None:
        release(connection, ids)
        connection.execute(delete(items).where(items.c.id.in_(ids)))

    def _old_batches(self, now_ns: int) -> Any:
        """Of those that Penstock made; their items may be gone already."""
        over = (batches.c.kind == "provider") & (batches.c.state == "finished")
        return select(batches.c.id).where(over, batches.c.created_ns < now_ns - _BATCHES_KEPT_NS).limit(_PIECE_MAX)

    def _orphans(self, now_ns: int) -> Any:
        """Items that somebody waits for who will never be asked."""
        leader = items.alias("leader")
        waits = select(items.c.line).where(text("items.line != ''"), items.c.state.in_(PENDING))
        alive = select(leader.c.id).where(leader.c.id == items.c.line, leader.c.done_ns == 0)
        return waits.where(~alive.exists()).distinct().limit(_PIECE_MAX)

    def _stranded(self, now_ns: int) -> Any:
        """Items of an upstream that is not there any more, or takes none; nobody will ask them."""
        waits = (items.c.state == "queued") & (items.c.mode != "file") & (items.c.line == "")
        late = items.c.deadline_ns < now_ns - _LATE_NS
        return select(items.c.id).where(waits, late, items.c.upstream.not_in(self._upstreams)).limit(_STRANDED_MAX)

    def _tell_stranded(self, connection: Connection, ids: list[str]) -> None:
        rows = connection.execute(select(items).where(items.c.id.in_(ids))).all()
        now_ns = self._database.now_ns(connection)
        finished = [Finished(row.id, _STRANDED, self._record(row, _STRANDED, False)) for row in rows]
        finish(connection, finished, now_ns=now_ns, keep_s=self._keep_s, shared=self._record)

    def _record(self, row: Row[Any], answer: Answer, shared: bool) -> CallRecord:
        return self._records.of_item(row, answer, outcome="failed", error_type="upstream_gone", shared=shared)


_STRANDED: Final = answer_of(
    UpstreamFault("The upstream of this call takes none that wait any more. Ask again.", code="upstream_gone")
)


def _changed(connection: Connection, change: Any, ids: list[str]) -> None:
    change(connection, ids)


def _forget_batches(connection: Connection, ids: list[str]) -> None:
    connection.execute(delete(batches).where(batches.c.id.in_(ids), batches.c.state == "finished"))
