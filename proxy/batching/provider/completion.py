"""`Completer`: gives the items of a batch that is over their answers, and removes what is left at the provider.

    finishing -> settled (every item has its answer or is queued again) -> finished (our files are gone)

Files are read as streams, and each portion of lines is one transaction. After a kill they are read again from the
start: what has its answer keeps it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Any, Final

from sqlalchemy import Connection, Row, insert, select, update

from exporters.record import encode

from ...settings import Settings
from ..database import Database
from ..finishing import requeue
from ..item import Answer
from ..lease import Lease
from ..live.escalation import is_due
from ..live.runner import Keep
from ..records import ItemRecords
from ..row_tasks import RowTasks
from ..sealing import drop_unused
from ..tables import batches, items, outbox
from .answering import Answering
from .batch_rows import CHUNK_BYTES, CHUNK_ITEMS, Ending, due, ending_of, enter, unanswered
from .cleaning import clean
from .polling import last_ns, rescue
from .provider import Fault, Provider, Refused, Unavailable
from .providers import Providers
from .results import Result, given_up, missing, read_result, refusal

_log = logging.getLogger(__name__)

TRIES_MAX: Final = 3
"""An item whose batches ended without it so often gets the error."""
_TASKS_MAX: Final = 2
_IDLE_S: Final = 0.5
_AGAIN_POLLS: Final = 3
"""So many times `batch.poll_s` the items of a batch that failed wait for their next one; twice as long each time."""
_AGAIN_MAX_S: Final = 900.0
_PATIENCE_NS: Final = 24 * 3600 * 1_000_000_000
"""How long after its deadline a batch is looked after that cannot be reached."""
_PATIENT: Final = frozenset({"token_limit_exceeded"})
"""Reasons of a whole batch's failure that pass by themselves, when other batches are through."""


class Completer:
    """A part of the dispatcher."""

    name = "completer"

    def __init__(
        self,
        settings: Settings,
        database: Database,
        providers: Providers,
        records: ItemRecords,
        *,
        keep: Keep | None = None,
    ) -> None:
        self._settings = settings
        self._database = database
        self._providers = providers
        self._records = records
        self._keep = keep
        self._again_s = _AGAIN_POLLS * settings.batch.poll_s
        self._tasks = RowTasks("ending the batch", self._complete, tasks_max=_TASKS_MAX, pause_s=settings.batch.poll_s)
        self._turn = asyncio.Lock()
        self._idle_s = min(_IDLE_S, settings.batch.poll_s / 2)
        self._lease: Lease | None = None

    async def step(self, lease: Lease) -> float:
        self._lease = lease
        await self._tasks.begin_due(partial(due, self._database, ("finishing", "settled"), 4 * _TASKS_MAX))
        await self._tasks.wait(self._idle_s)
        return 0.0

    async def aclose(self) -> None:
        await self._tasks.aclose()

    async def _complete(self, row: Row[Any]) -> None:
        assert self._lease is not None
        try:
            if row.state == "finishing":
                await self._settle(row)
            async with self._providers.of_batch(row) as provider:
                await clean(provider, row)
        except (Unavailable, Refused):
            if not await self._give_up(row):
                raise
        await self._lease.run(partial(_finish, batch_id=row.id, credential=row.credential))

    async def _give_up(self, row: Row[Any]) -> bool:
        """Whether nothing more is to be had from this provider. Calls do not wait for it until it is too late."""
        assert self._lease is not None
        now_ns = await asyncio.to_thread(self._now_ns)
        before_s = self._settings.batch.escalate_before_s
        if row.state == "finishing" and is_due(row.created_ns, row.deadline_ns, now_ns, before_s):
            await self._lease.run(partial(rescue, batch_id=row.id, before_ns=now_ns + last_ns(before_s)))
        if now_ns < row.deadline_ns + _PATIENCE_NS:
            return False
        _log.error("%s cannot be asked about the batch %s any more; its files stay there", row.upstream, row.id)
        if row.state == "finishing":
            answering = Answering(self._settings, self._database, self._lease, self._records, None, row, self._turn)
            await self._answer_the_rest(answering, row, Ending(answer=given_up("lost")))
            await self._lease.run(partial(self._settled, batch_id=row.id))
        return True

    def _now_ns(self) -> int:
        with self._database.reading() as connection:
            return self._database.now_ns(connection)

    async def _settle(self, row: Row[Any]) -> None:
        assert self._lease is not None
        answering = Answering(self._settings, self._database, self._lease, self._records, self._keep, row, self._turn)
        ending = ending_of(row)
        if row.output_file_id or row.error_file_id or ending.faults:
            async with self._providers.of_batch(row) as provider:
                for file_id in (row.output_file_id, row.error_file_id):
                    if file_id:
                        await self._read(answering, provider, file_id)
                if any(fault.line for fault in ending.faults):
                    await answering.answer(await _faulty(provider, row, ending.faults))
        await self._answer_the_rest(answering, row, ending)
        await self._lease.run(partial(self._settled, batch_id=row.id))

    async def _read(self, answering: Answering, provider: Provider, file_id: str) -> None:
        try:
            async with provider.lines(file_id) as lines:
                async for portion in _portions(lines):
                    await answering.answer(portion)
        except Refused as refused:
            if refused.answer.status != 404:
                raise Unavailable(f"a result cannot be read: the provider answers {refused.answer.status}") from refused
            _log.warning("a result of the batch %s is gone; what is missing is told so", answering.batch_id)

    async def _answer_the_rest(self, answering: Answering, row: Row[Any], ending: Ending) -> None:
        """What is in neither file: an error, or another try."""
        assert self._lease is not None
        while left := await asyncio.to_thread(self._left, row.id):
            answer, over = _last_word(row, ending, left)
            await answering.answer([Result(one.id, answer) for one in over], failed=f"batch_{row.status}")
            ids = {one.id for one in over}
            await self._lease.run(partial(self._requeue, row=row, left=[one for one in left if one.id not in ids]))

    def _left(self, batch_id: str) -> list[Row[Any]]:
        with self._database.reading() as connection:
            return unanswered(connection, batch_id, CHUNK_ITEMS)

    def _requeue(self, connection: Connection, row: Row[Any], left: Sequence[Row[Any]]) -> None:
        now_ns = self._database.now_ns(connection)
        before_s = self._settings.batch.escalate_before_s
        near = [
            one.id for one in left if row.status == "late" or is_due(one.created_ns, one.deadline_ns, now_ns, before_s)
        ]
        others = [one for one in left if one.id not in set(near)]
        requeue(connection, near, tier="flex")
        requeue(connection, [one.id for one in others])
        # Cancelled ones that were never run: nothing comes for them any more.
        ids = [one.id for one in left if one.state == "cancelled"]
        connection.execute(update(items).where(items.c.id.in_(ids)).values(batch_id=""))
        if row.status == "failed" and not any(fault.line for fault in ending_of(row).faults):
            for one in others:
                pause_s = min(_AGAIN_MAX_S, self._again_s * 2**one.attempts)
                again = update(items).where(items.c.id == one.id, items.c.state == "queued")
                connection.execute(again.values(run_after_ns=now_ns + int(pause_s * 1e9)))

    def _settled(self, connection: Connection, batch_id: str) -> None:
        """All that the batch owes is done in this transaction or before it; its own record is, too."""
        if not enter(connection, batch_id, ("finishing",), "settled"):
            return
        row = connection.execute(select(batches).where(batches.c.id == batch_id)).one()
        if row.provider_id:
            connection.execute(insert(outbox).values(record=encode(self._records.of_batch(row))))


def _finish(connection: Connection, batch_id: str, credential: str) -> None:
    if enter(connection, batch_id, ("settled",), "finished", credential="") and credential:
        drop_unused(connection, [credential])


def _last_word(row: Row[Any], ending: Ending, left: Sequence[Row[Any]]) -> tuple[Answer, list[Row[Any]]]:
    """An error, and those among the calls that get it; the others are tried again, or were cancelled."""
    wanted = [one for one in left if one.state != "cancelled"]
    if ending.answer is not None:
        return ending.answer, wanted
    if row.status == "completed":
        return missing(), wanted
    if row.status == "late" or any(fault.code in _PATIENT for fault in ending.faults):
        return missing(), []
    return _told_by(ending) or given_up(row.status), [one for one in wanted if one.attempts + 1 >= TRIES_MAX]


def _told_by(ending: Ending) -> Answer | None:
    """What the provider said of the whole batch."""
    for fault in ending.faults:
        return refusal(400, fault.message or "The provider failed the batch.", code=fault.code or None)
    return None


async def _portions(lines: AsyncIterator[bytes]) -> AsyncIterator[list[Result]]:
    """Results, as many at a time as may be in memory."""
    portion: list[Result] = []
    size = 0
    async for line in lines:
        if (result := read_result(line)) is None:
            continue
        portion.append(result)
        size += len(line)
        if size >= CHUNK_BYTES or len(portion) == CHUNK_ITEMS:
            yield portion
            portion, size = [], 0
    if portion:
        yield portion


async def _faulty(provider: Provider, row: Row[Any], faults: Sequence[Fault]) -> list[Result]:
    """The items that are named by their lines in the input file, each with what is wrong with it."""
    by_line = {fault.line: fault for fault in faults if fault.line}
    found: list[Result] = []
    number = 0
    try:
        async with provider.lines(row.input_file_id) as lines:
            async for line in lines:
                number += 1
                if (fault := by_line.get(number)) is not None and (asked := read_result(line)) is not None:
                    answer = refusal(400, fault.message, code=fault.code or None, param=fault.param or None)
                    found.append(Result(asked.custom_id, answer))
    except Refused:
        _log.warning("the input of the batch %s cannot be read; all of its items are tried again", row.id)
    return found
