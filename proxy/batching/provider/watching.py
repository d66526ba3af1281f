"""The batches that callers made themselves: watched until they are over, then each of their lines is recorded once.

How far the lines were recorded is written in the transaction that puts their records into the outbox, so that a kill
at any moment neither loses one nor doubles it: whoever goes on reads the files again and passes over what was done.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from functools import partial
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Row, delete, insert, select, update

from exporters.record import CallRecord, encode

from ...settings import Settings
from ..database import Database
from ..lease import Lease
from ..records import ItemRecords
from ..row_tasks import RowTasks
from ..sealing import drop_unused
from ..tables import batches, outbox
from .asked_lines import AskedLines
from .noting import REMEMBERED_S
from .provider import Provider, Refused, Seen, Unavailable
from .providers import Providers
from .results import Result, read_result

_log = logging.getLogger(__name__)

AT_ONCE: Final = 4
"""Batches that are looked after at a time."""
LINES_MAX: Final = 200
CHUNK_BYTES_MAX: Final = 4 * 1024 * 1024
"""Lines in memory, and in one transaction: so many, or one that is longer."""
GIVEN_UP_AFTER_S: Final = 7 * 86_400
"""Of a batch that should be over but cannot be read."""
_TICK_MAX_S: Final = 1.0
_SWEEP_S: Final = 3600.0
_SECOND: Final = 1_000_000_000
_WATCHED: Final = (batches.c.kind == "caller") & (batches.c.state == "watched")


class Watcher:
    """A part of the dispatcher."""

    name = "watcher"

    def __init__(
        self,
        settings: Settings,
        database: Database,
        providers: Providers,
        records: ItemRecords,
        *,
        clock: Callable[[], int] = time.time_ns,
        uniform: Callable[[float, float], float] = random.uniform,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._poll_s = settings.batch.poll_s
        self._poll_max_s = settings.batch.poll_max_s
        self._folder = Path(settings.server.data_dir) / "batch" / "watching"
        self._database = database
        self._providers = providers
        self._records = records
        self._clock = clock
        self._uniform = uniform
        self._monotonic = monotonic
        self._tasks = RowTasks("looking after batch", self._look, tasks_max=AT_ONCE)
        self._sweep_at_s = float("-inf")
        self._lease: Lease | None = None

    async def step(self, lease: Lease) -> float:
        self._lease = lease
        if self._monotonic() >= self._sweep_at_s:
            await lease.run(self._forget_old)
            self._sweep_at_s = self._monotonic() + _SWEEP_S
        await self._tasks.begin_due(self._due)
        await self._tasks.wait(min(_TICK_MAX_S, self._poll_s))
        return 0.0

    async def aclose(self) -> None:
        await self._tasks.aclose()

    # In threads

    def _due(self) -> Sequence[Row[Any]]:
        with self._database.reading() as connection:
            due = _WATCHED & (batches.c.poll_at_ns <= self._database.now_ns(connection))
            wanted = select(batches).where(due).order_by(batches.c.poll_at_ns).limit(2 * AT_ONCE)
            return connection.execute(wanted).all()

    def _forget_old(self, connection: Connection) -> None:
        before_ns = self._database.now_ns(connection) - REMEMBERED_S * _SECOND
        done = (batches.c.kind == "caller") & batches.c.state.in_(("recorded", "lost"))
        connection.execute(delete(batches).where(done & (batches.c.created_ns < before_ns)))

    def _made(self, row: Row[Any], results: Sequence[Result], asked: AskedLines) -> list[CallRecord]:
        """Records of the lines that were run, each once, whatever the files say."""
        made = []
        for one in results:
            body = asked.take(one.custom_id)
            if body is not None and one.answer is not None:
                made.append(self._records.of_line(row, one.custom_id, body, one.answer))
        return made

    # A batch

    async def _run(self, work: Callable[[Connection], Row[Any] | None]) -> Row[Any]:
        """The row as `work` left it."""
        assert self._lease is not None
        row = await self._lease.run(work)
        assert row is not None
        return row

    async def _look(self, row: Row[Any]) -> None:
        try:
            async with self._providers.of_batch(row) as provider:
                seen = await provider.retrieve(row.provider_id)
                if not seen.is_over:
                    await self._later(row, seen)
                    return
                await self._record(provider, await self._run(partial(_note_seen, row.id, seen, None)))
        except Unavailable:
            await self._later(row)
            raise  # and that is said, at most once a minute
        except Refused as refused:
            if refused.answer.status == 404:
                await self._give_up(row, "its provider does not know it")
            else:  # A key that is refused today may not be tomorrow.
                await self._later(row)

    async def _later(self, row: Row[Any], seen: Seen | None = None) -> None:
        if self._clock() > max(row.expires_ns, row.created_ns) + GIVEN_UP_AFTER_S * _SECOND:
            await self._give_up(row, "its provider has not shown it finished")
            return
        wait_s = min(self._poll_max_s, self._poll_s * 1.5 ** min(row.polls, 50)) * self._uniform(0.8, 1.2)

        def write(connection: Connection) -> Row[Any]:
            poll_at_ns = self._database.now_ns(connection) + int(wait_s * _SECOND)
            return _note_seen(row.id, seen, poll_at_ns, connection)

        await self._run(write)

    async def _give_up(self, row: Row[Any], reason: str) -> None:
        _log.warning("Batch %s is watched no longer, and its lines are not recorded: %s.", row.provider_id, reason)
        await self._run(partial(_end, row.id, "lost", None))

    async def _record(self, provider: Provider, row: Row[Any]) -> None:
        asked = await asyncio.to_thread(AskedLines, self._folder / f"{row.id}.db")
        try:
            async with aclosing(self._chunks(provider, row, row.input_file_id)) as chunks:
                async for lines in chunks:
                    await asyncio.to_thread(asked.add, lines)
            place = 0
            for file_id in (row.output_file_id, row.error_file_id):
                async with aclosing(self._chunks(provider, row, file_id)) as chunks:
                    async for lines in chunks:
                        place += len(lines)
                        row = await self._record_lines(row, place, lines, asked)
        finally:
            await asyncio.to_thread(asked.close)
        await self._run(partial(_end, row.id, "recorded", self._records))

    async def _record_lines(self, row: Row[Any], place: int, lines: list[bytes], asked: AskedLines) -> Row[Any]:
        """`place`: how many lines there are up to the end of these."""
        old = max(0, row.recorded - (place - len(lines)))  # Recorded before this dispatcher began.
        if old:
            await asyncio.to_thread(lambda: [asked.take(one.custom_id) for one in _results(lines[:old])])
        if old >= len(lines):
            return row
        made = await asyncio.to_thread(self._made, row, _results(lines[old:]), asked)
        return await self._run(partial(_store, row, place, made))

    async def _chunks(self, provider: Provider, row: Row[Any], file_id: str) -> AsyncGenerator[list[bytes], None]:
        """The lines of a file. None of a file that is not there any more: that is logged."""
        if not file_id:
            return
        try:
            async with provider.lines(file_id) as lines:
                chunk: list[bytes] = []
                size = 0
                async for line in lines:
                    chunk.append(line)
                    size += len(line)
                    if len(chunk) >= LINES_MAX or size >= CHUNK_BYTES_MAX:
                        yield chunk
                        chunk, size = [], 0
                if chunk:
                    yield chunk
        except Refused as refused:
            _log.warning(
                "File %s of batch %s cannot be read (%d): what it says is not recorded.",
                file_id,
                row.provider_id,
                refused.answer.status,
            )


def _results(lines: Sequence[bytes]) -> list[Result]:
    return [result for line in lines if (result := read_result(line)) is not None]


def _note_seen(row_id: str, seen: Seen | None, poll_at_ns: int | None, connection: Connection) -> Row[Any]:
    changes: dict[str, Any] = {"polls": batches.c.polls + 1}
    if poll_at_ns is not None:
        changes["poll_at_ns"] = poll_at_ns
    if seen is not None:
        names = ("status", "input_file_id", "output_file_id", "error_file_id", "total", "completed", "failed")
        changes |= {name: getattr(seen, name) for name in names}
        changes |= {f"{name}_ns": at_ns for name, at_ns in seen.times_ns.items()}
    connection.execute(update(batches).where(batches.c.id == row_id).values(**changes))
    return _row(connection, row_id)


def _store(row: Row[Any], place: int, made: Sequence[CallRecord], connection: Connection) -> Row[Any]:
    here = (batches.c.id == row.id) & (batches.c.recorded == row.recorded) & (batches.c.state == "watched")
    model = row.model or next((one.request_model for one in made if one.request_model.isprintable()), "")
    if not connection.execute(update(batches).where(here).values(recorded=place, model=model)).rowcount:
        raise RuntimeError("a batch was recorded by somebody else")
    if made:
        connection.execute(insert(outbox), [{"record": encode(one)} for one in made])
    return _row(connection, row.id)


def _end(row_id: str, state: str, records: ItemRecords | None, connection: Connection) -> Row[Any]:
    """Done with: the caller's key is needed no more. `records`: makes the record of the batch itself."""
    row = _row(connection, row_id)
    here = _WATCHED & (batches.c.id == row_id)
    if not connection.execute(update(batches).where(here).values(state=state, credential="")).rowcount:
        return row  # somebody else was faster
    if row.credential:
        drop_unused(connection, [row.credential])
    if records is not None:
        connection.execute(insert(outbox).values(record=encode(records.of_batch(row))))
    return row


def _row(connection: Connection, row_id: str) -> Row[Any]:
    return connection.execute(select(batches).where(batches.c.id == row_id)).one()
