"""`Answering`: turns the results of one provider's batch into answers and records, a portion at a time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

import msgspec
from sqlalchemy import Row, select

from exporters.record import CallRecord, Outcome

from ...settings import Settings
from ..database import Database
from ..finishing import Finished, finish
from ..item import Answer
from ..lease import Lease
from ..live.runner import Keep
from ..records import ItemRecords, answer_headers, batch_span
from ..tables import items
from .batch_rows import portions
from .results import Result

_log = logging.getLogger(__name__)

_BATCH_ID: Final = b"x-penstock-batch-id"


class Answering:
    """For one batch that is over (a row of `batches`)."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        lease: Lease,
        records: ItemRecords,
        keep: Keep | None,
        batch: Row[Any],
        turn: asyncio.Lock,
    ) -> None:
        """`turn`: so that of several batches one at a time has its calls, replies and records in memory."""
        self.batch_id: str = batch.id
        self._keep_s = settings.batch.keep_s
        self._database = database
        self._lease = lease
        self._records = records
        self._keep = keep
        self._batch = batch
        self._turn = turn
        self._strangers_said = False

    async def answer(self, results: Sequence[Result], *, failed: str = "") -> None:
        """Give items of the batch their answers. `failed`: the type of error of those that have none from the provider.

        What is answered already stays as it is. Results without an answer are left for later. Raises `LeaseLost`.
        """
        by_id = {result.custom_id: result.answer for result in results if result.answer is not None}
        sizes = await asyncio.to_thread(self._open_ones, list(by_id))
        for ids in portions(sizes):
            async with self._turn:
                rows, finished = await asyncio.to_thread(self._made, ids, by_id, failed)
                await self._lease.run(partial(self._finish, finished=finished))
            if self._keep is not None and not failed:
                for row, one in zip(rows, finished, strict=True):
                    await self._keep(row, one.answer)

    def _open_ones(self, ids: list[str]) -> list[tuple[str, int]]:
        """Ids and sizes of those that are ours and have no answer; also of those that were given up for late."""
        ours = (items.c.batch_id == self._batch.id) | (
            (items.c.batch_id == "") & (items.c.upstream == self._batch.upstream) & (items.c.path == self._batch.path)
        )
        columns = select(items.c.id, items.c.body_bytes, items.c.done_ns, ours.label("ours"))
        with self._database.reading() as connection:
            found = connection.execute(columns.where(items.c.id.in_(ids))).all()
        if len(found) < len(ids) and not self._strangers_said:
            self._strangers_said = True
            _log.warning("the result of the batch %s has lines of calls that are not in the queue", self._batch.id)
        return [(row.id, row.body_bytes) for row in found if row.ours and not row.done_ns]

    def _made(
        self, ids: Sequence[str], answers: dict[str, Answer], failed: str
    ) -> tuple[list[Row[Any]], list[Finished]]:
        with self._database.reading() as connection:
            rows = [*connection.execute(select(items).where(items.c.id.in_(ids)))]
        finished = []
        for row in rows:
            answer = answers[row.id]
            outcome: Outcome = "abandoned" if row.state == "cancelled" else "failed" if failed else "answered"
            record = self._record(row, answer, outcome, failed)
            headers = [*answer.headers, *answer_headers(record)]
            if self._batch.provider_id:
                headers.append((_BATCH_ID, self._batch.provider_id.encode()))
            finished.append(Finished(row.id, msgspec.structs.replace(answer, headers=headers), record))
        return rows, finished

    def _record(
        self, row: Row[Any], answer: Answer, outcome: Outcome, failed: str, *, shared: bool = False
    ) -> CallRecord:
        batch = self._batch
        return self._records.of_item(
            row,
            answer,
            batch_id=batch.provider_id,
            batch_span=batch_span(batch) if batch.provider_id else None,
            shared=shared,
            outcome=outcome,
            error_type=failed,
            taken_ns=batch.in_progress_ns or batch.created_ns,
        )

    def _finish(self, connection: Any, finished: list[Finished]) -> None:
        def shared(row: Row[Any], answer: Answer, _: bool) -> CallRecord:
            return self._record(row, answer, "answered", "", shared=True)

        now_ns = self._database.now_ns(connection)
        finish(connection, finished, now_ns=now_ns, keep_s=self._keep_s, shared=shared)
