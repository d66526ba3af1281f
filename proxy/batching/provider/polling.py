"""`Poller`: looks after batches at their providers until they are over, and ends those whose deadline comes near."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from sqlalchemy import Connection, Row, select, text, update

from ...settings import Settings
from ..database import Database
from ..finishing import PENDING, requeue
from ..lease import Lease
from ..live.escalation import is_due
from ..row_tasks import RowTasks
from ..tables import batches, items
from .batch_rows import Ending, due, encode_ending, enter, seen_values
from .provider import Provider, Refused, Seen, Unavailable
from .providers import Providers

_log = logging.getLogger(__name__)

_TASKS_MAX: Final = 8
_IDLE_S: Final = 0.5
_GROWS: Final = 1.5
_LAST_S: Final = 60.0
_STOPPABLE: Final = frozenset({"", "validating", "in_progress"})


class Poller:
    """A part of the dispatcher."""

    name = "poller"

    def __init__(
        self,
        settings: Settings,
        database: Database,
        providers: Providers,
        *,
        chance: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._batch = settings.batch
        self._database = database
        self._providers = providers
        self._chance = chance
        self._tasks = RowTasks(
            "looking after the batch", self._poll, tasks_max=_TASKS_MAX, pause_s=settings.batch.poll_s
        )
        self._idle_s = min(_IDLE_S, settings.batch.poll_s / 2)
        self._lease: Lease | None = None

    async def step(self, lease: Lease) -> float:
        self._lease = lease
        await self._tasks.begin_due(partial(due, self._database, ("created",), 4 * _TASKS_MAX))
        await self._tasks.wait(self._idle_s)
        return 0.0

    async def aclose(self) -> None:
        await self._tasks.aclose()

    async def _poll(self, row: Row[Any]) -> None:
        assert self._lease is not None
        now_ns = await asyncio.to_thread(self._now_ns)
        is_late = is_due(row.created_ns, row.deadline_ns, now_ns, self._batch.escalate_before_s)
        if is_late:
            await self._lease.run(
                partial(rescue, batch_id=row.id, before_ns=now_ns + last_ns(self._batch.escalate_before_s))
            )
        stop = row.status in _STOPPABLE and (is_late or not await asyncio.to_thread(self._is_wanted, row.id))
        try:
            async with self._providers.of_batch(row) as provider:
                seen = await self._look(row, provider, cancel=stop)
        except Refused as refused:
            await self._refused(row, refused, now_ns)
        except Unavailable:
            await self._later(row, now_ns)
            raise
        else:
            await self._saw(row, seen, now_ns)

    async def _look(self, row: Row[Any], provider: Provider, *, cancel: bool) -> Seen:
        if cancel:
            # It may be over by now, which the next line shows.
            with contextlib.suppress(Unavailable, Refused):
                await provider.cancel(row.provider_id)
        return await provider.retrieve(row.provider_id)

    async def _saw(self, row: Row[Any], seen: Seen, now_ns: int) -> None:
        assert self._lease is not None
        values = seen_values(seen)
        if seen.is_over:
            values["errors"] = encode_ending(Ending(faults=seen.faults)) if seen.faults else ""
            work = partial(enter, state="finishing", poll_at_ns=now_ns, **values)
        else:
            values |= self._next(row, now_ns, waiting=seen.status in _STOPPABLE)
            work = partial(enter, state="created", **values)
        await self._lease.run(partial(work, batch_id=row.id, was=("created",)))

    async def _refused(self, row: Row[Any], refused: Refused, now_ns: int) -> None:
        """The batch is gone, or the key is. A key may come back as long as there is time."""
        assert self._lease is not None
        _log.warning("%s does not show the batch %s: it answers %d", row.upstream, row.id, refused.answer.status)
        if refused.answer.status == 404:
            work = partial(enter, state="finishing", status="lost")
        elif now_ns >= row.deadline_ns:
            ending = encode_ending(Ending(answer=refused.answer))
            work = partial(enter, state="finishing", status="refused", errors=ending)
        else:
            await self._later(row, now_ns)
            return
        await self._lease.run(partial(work, batch_id=row.id, was=("created",)))

    async def _later(self, row: Row[Any], now_ns: int) -> None:
        assert self._lease is not None
        values = self._next(row, now_ns, waiting=True)
        await self._lease.run(partial(enter, batch_id=row.id, was=("created",), state="created", **values))

    def _next(self, row: Row[Any], now_ns: int, *, waiting: bool) -> dict[str, Any]:
        """When to look again: ever later while nothing is near, and in time for the deadline."""
        batch = self._batch
        grown_s = batch.poll_s * _GROWS ** min(row.polls, 40) if waiting else batch.poll_s
        pause_s = min(batch.poll_max_s, grown_s) * self._chance(0.8, 1.2)
        left_s = (row.deadline_ns - now_ns) / 1e9
        for moment_s in (left_s - batch.escalate_before_s, left_s - last_ns(batch.escalate_before_s) / 1e9):
            if moment_s > 0:
                pause_s = min(pause_s, moment_s + 0.1)
        return {"poll_at_ns": now_ns + int(pause_s * 1e9), "polls": row.polls + 1}

    def _is_wanted(self, batch_id: str) -> bool:
        """Whether anybody still waits for a line of it; all may have been cancelled."""
        here = select(items.c.id).where(items.c.batch_id == batch_id)
        follower = items.alias("follower")
        waits = text("follower.line != ''"), follower.c.state.in_(PENDING)
        followed = select(follower.c.id).where(*waits, follower.c.line.in_(here))
        with self._database.reading() as connection:
            asked = connection.scalar(here.where(items.c.state == "batched").limit(1))
            return asked is not None or connection.scalar(followed.limit(1)) is not None

    def _now_ns(self) -> int:
        with self._database.reading() as connection:
            return self._database.now_ns(connection)


def last_ns(escalate_before_s: float) -> int:
    """How near a deadline must be for its call not to be left to a batch that is being cancelled."""
    return int(min(_LAST_S, escalate_before_s / 4) * 1e9)


def rescue(connection: Connection, batch_id: str, before_ns: int) -> None:
    """Take the calls whose deadline is before that out of the batch, to be asked live."""
    late = (items.c.batch_id == batch_id) & (items.c.state == "batched") & (items.c.deadline_ns <= before_ns)
    requeue(connection, list(connection.scalars(select(items.c.id).where(late))), tier="flex")
    left = select(items.c.deadline_ns).where(items.c.batch_id == batch_id, items.c.state == "batched")
    nearest = connection.scalar(left.order_by(items.c.deadline_ns).limit(1))
    if nearest is not None:
        connection.execute(update(batches).where(batches.c.id == batch_id).values(deadline_ns=nearest))
