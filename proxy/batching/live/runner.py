"""`LiveRunner`: asks the items of the queue that no provider's batch answers.

Those are the items of upstreams on which Penstock runs batches itself, at low priority beside live calls, and those of
all others whose deadline is near. An answer that came but was not committed when the dispatcher was killed is asked for
again; each is recorded and delivered once.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
from sqlalchemy import Connection, Row, select

from ...errors import PenstockError
from ...http.websocket import Tunneler
from ...reply import RawHeaders
from ...settings import Settings
from ...stages.forward import Forward, Route
from ..database import Database
from ..finishing import Finished, MakeRecord, finish
from ..item import Answer
from ..lease import Lease
from ..records import ItemRecords, Span, answer_headers, batch_span
from ..sealing import Sealer, Unsealable, opened
from ..tables import batches, items
from .asking import Asked, Clock, Sleep, ask, refused
from .escalation import escalate, is_any_due
from .load import Gauge
from .picking import Picked, Picking, begin, undo
from .room import Room

_log = logging.getLogger(__name__)

ESCALATED_MAX: Final = 32
"""Items asked at a time because their deadline is near, over all upstreams."""
BODIES_BYTES_MAX: Final = 64 * 1024 * 1024
"""Of the items that are being asked; a larger one is asked alone."""
_IDLE_S: Final = 0.25
_YIELDING_S: Final = 0.05
_ESCALATE_EVERY_S: Final = 2.0

Keep = Callable[[Row[Any], Answer], Awaitable[None]]
"""Gives the reply of an item to the response cache, if its context says so. Never raises."""


class _Begun(NamedTuple):
    row: Row[Any]
    credential: RawHeaders | None
    """None: it cannot be opened."""
    span: Span | None
    """Of the local batch that it is a line of."""


class _Running(NamedTuple):
    picked: Picked
    task: asyncio.Task[Finished]


class LiveRunner:
    """The part. Beginning items, ending them and looking for more all happen in `step`."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        sealer: Sealer,
        records: ItemRecords,
        *,
        keep: Keep | None = None,
        clock: Clock = time.time_ns,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        """`settings` with their secrets resolved."""
        self._batch = settings.batch
        self._database = database
        self._sealer = sealer
        self._records = records
        self._keep = keep
        self._clock = clock
        self._monotonic = monotonic
        self._sleep = sleep
        self._forward = Forward([Route.of(one) for one in settings.upstreams], Tunneler(message_bytes_max=1))
        self._names = frozenset(one.name for one in settings.upstreams)
        local = [one.name for one in settings.upstreams if one.batch == "local"]
        data_dir = Path(settings.server.data_dir)
        self._rooms = {name: Room(Gauge(data_dir, name), self._batch.local_concurrency, monotonic) for name in local}
        # With an upstream that is not configured any more: who waits for it is told so.
        self._not_local = items.c.upstream.not_in(local)
        self._lease: Lease | None = None
        self._running: dict[str, _Running] = {}
        self._doubtful: list[str] = []
        """Items of which it is not known whether they were marked as running."""
        self._escalate_at_s = float("-inf")
        self._held_back = False

    @property
    def name(self) -> str:
        return "live"

    async def step(self, lease: Lease) -> float:
        if lease is not self._lease:
            await self._forget()  # With a new lease all that was running is in the queue again.
            self._lease = lease
        ended = [one.task.result() for one in self._running.values() if one.task.done()]
        picked, any_due = await asyncio.to_thread(self._look, len(ended))
        if ended or picked or any_due or self._doubtful:
            await self._turn(lease, ended, picked, any_due)
        if not self._running:
            return _IDLE_S
        tasks = [one.task for one in self._running.values()]
        pause_s = _YIELDING_S if self._held_back else _IDLE_S
        await asyncio.wait(tasks, timeout=pause_s, return_when=asyncio.FIRST_COMPLETED)
        return 0.0

    async def aclose(self) -> None:
        """What is being asked is given up; the next dispatcher asks it again."""
        await self._forget()
        for room in self._rooms.values():
            room.close()
        await self._forward.aclose()

    # What is there to do: in a thread, and in a transaction that keeps nobody from writing

    def _look(self, ending: int) -> tuple[list[Picked], bool]:
        """Items to begin now, and whether there are some to escalate."""
        now_ns = self._clock()
        bytes_max = BODIES_BYTES_MAX - sum(one.picked.bytes for one in self._running.values())
        self._held_back = False
        with self._database.reading() as connection:
            picking = Picking(connection, now_ns, bytes_max=bytes_max, alone=len(self._running) == ending)
            picking.escalated(self._rooms, ESCALATED_MAX - self._asked_of(""))
            for upstream, room in self._rooms.items():
                self._look_at(picking, upstream, room)
            return picking.picked, self._is_any_due(connection, now_ns)

    def _look_at(self, picking: Picking, upstream: str, room: Room) -> None:
        before_s = self._batch.escalate_before_s
        if picking.is_any(upstream):
            running = self._asked_of(upstream)
            free = room.free(running, urgent=picking.is_urgent(upstream, before_s))
            self._held_back = self._held_back or free + running < self._batch.local_concurrency
            picking.local(upstream, free, before_s)
        else:
            room.look()

    def _asked_of(self, room: str) -> int:
        return sum(one.picked.room == room and not one.task.done() for one in self._running.values())

    def _is_any_due(self, connection: Connection, now_ns: int) -> bool:
        if self._monotonic() < self._escalate_at_s:
            return False
        self._escalate_at_s = self._monotonic() + _ESCALATE_EVERY_S
        return is_any_due(connection, self._not_local, now_ns, self._batch.escalate_before_s)

    # One turn: what ended, what begins

    async def _turn(self, lease: Lease, ended: list[Finished], picked: list[Picked], any_due: bool) -> None:
        doubtful = self._doubtful
        self._doubtful = list({*doubtful, *(one.id for one in picked)})
        begun = await lease.run(partial(self._write, ended, picked, doubtful, any_due))
        self._doubtful = []
        for finished in ended:
            del self._running[finished.id]
        of_id = {one.id: one for one in picked}
        for one in begun:
            task = asyncio.ensure_future(self._ask(one))
            self._running[one.row.id] = _Running(of_id[one.row.id], task)
            if room := self._rooms.get(of_id[one.row.id].room):
                room.began()

    def _write(
        self, ended: Sequence[Finished], picked: Sequence[Picked], doubtful: Sequence[str], any_due: bool,
        connection: Connection,
    ) -> list[_Begun]:  # fmt: skip
        now_ns = self._clock()
        undo(connection, doubtful)
        if ended:
            _mark_cancelled(connection, ended)
            finish(connection, ended, now_ns=now_ns, keep_s=self._batch.keep_s, shared=self._shared)
        if any_due:
            escalate(connection, self._not_local, now_ns, self._batch.escalate_before_s)
        rows = begin(connection, picked)
        spans = _spans(connection, {row.batch_id for row in rows if row.mode == "file"})
        return [_Begun(row, self._open(connection, row), spans.get(row.batch_id)) for row in rows]

    def _open(self, connection: Connection, row: Row[Any]) -> RawHeaders | None:
        try:
            return opened(connection, row.credential, self._sealer) if row.credential else []
        except Unsealable:
            return None

    @property
    def _shared(self) -> MakeRecord:
        return lambda row, answer, shared: self._records.of_item(row, answer, shared=shared)

    # One item

    async def _ask(self, begun: _Begun) -> Finished:
        row = begun.row
        try:
            return await self._finished(begun, await self._asked(begun))
        except Exception:  # noqa: BLE001 - one item must not hold up all others
            _log.exception("a defect of Penstock failed the item %s", row.id)
            error = PenstockError("Penstock failed; its log says why.", code="internal_error")
            return await self._finished(begun, refused(error, self._clock()))

    async def _asked(self, begun: _Begun) -> Asked:
        row = begun.row
        if row.upstream not in self._names:
            return refused(_gone(f"The upstream {row.upstream!r} is not configured any more."), self._clock())
        if begun.credential is None:
            return refused(_gone("The key that came with this call cannot be opened any more."), self._clock())
        return await ask(row, begun.credential, self._forward, clock=self._clock, sleep=self._sleep)

    async def _finished(self, begun: _Begun, asked: Asked) -> Finished:
        row = begun.row
        record = self._records.of_item(
            row,
            asked.answer,
            attempts=asked.attempts,
            batch_id=row.batch_id if begun.span else "",
            batch_span=begun.span,
            outcome=asked.outcome,
            error_type=asked.error_type,
            taken_ns=asked.taken_ns,
        )
        answer = msgspec.structs.replace(asked.answer, headers=[*asked.answer.headers, *answer_headers(record)])
        if self._keep is not None and answer.status < 300:
            await self._keep(row, answer)
        return Finished(row.id, answer, record)

    async def _forget(self) -> None:
        tasks = [one.task for one in self._running.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._running.clear()
        self._doubtful.clear()


def _spans(connection: Connection, batch_ids: Collection[str]) -> dict[str, Span]:
    if not batch_ids:
        return {}
    rows = connection.execute(select(batches).where(batches.c.id.in_(batch_ids))).all()
    return {row.id: batch_span(row) for row in rows}


def _mark_cancelled(connection: Connection, ended: Sequence[Finished]) -> None:
    """Say in the records of items that were cancelled while they were asked that nobody wanted the answer any more."""
    there = items.c.id.in_([one.id for one in ended]) & (items.c.state == "cancelled")
    cancelled = set(connection.scalars(select(items.c.id).where(there)))
    for one in ended:
        if one.id in cancelled and one.record is not None:
            one.record.outcome = "abandoned"


def _gone(message: str) -> PenstockError:
    return PenstockError(f"{message} Send the call again.", code="batch_item_unaskable")
