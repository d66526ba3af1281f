"""`Submitter`: takes gathered batches to the provider, each exactly once.

    gathered -> uploaded (input_file_id) -> created (provider_id)

That it is tried is noted before (`tries`). So after a kill, a broken connection or a lost lease it is known that a step
may have been done, and the provider's lists are looked through for it before it is done again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Row, update

from ...settings import Settings
from ..database import Database
from ..lease import Lease
from ..live.escalation import is_due
from ..row_tasks import RowTasks
from ..tables import batches
from .batch_rows import Ending, due, encode_ending, enter, file_name, seen_values
from .input_file import write_input
from .provider import Provider, Refused, Seen
from .providers import Providers

_log = logging.getLogger(__name__)

_SETTLE_S: Final = 2.0
"""How long a provider may take to show in its lists what it has just made."""
_BEFORE: Final = ("gathered", "uploaded")
_TASKS_MAX: Final = 4
_IDLE_S: Final = 0.5
_TRIES_OF_A_FILE: Final = 3
"""A provider that does not know its own file is given it again so often."""


class Overtaken(Exception):
    """The batch is not in the state any more in which it was found."""

    def __init__(self, batch_id: str) -> None:
        super().__init__(f"{batch_id} has gone on without us")


class Submitter:
    """A part of the dispatcher."""

    name = "submitter"

    def __init__(
        self,
        settings: Settings,
        database: Database,
        providers: Providers,
    ) -> None:
        self._batch = settings.batch
        self._folder = Path(settings.server.data_dir) / "batch"
        self._database = database
        self._providers = providers
        self._settle_s = min(_SETTLE_S, settings.batch.poll_s)
        self._tasks = RowTasks("sending the batch", self._submit, tasks_max=_TASKS_MAX, pause_s=settings.batch.poll_s)
        self._writing = asyncio.Lock()  # one at a time: their bodies may be large
        self._idle_s = min(_IDLE_S, settings.batch.poll_s / 2)
        self._lease: Lease | None = None

    async def step(self, lease: Lease) -> float:
        if self._lease is None:
            await asyncio.to_thread(self._remove_leftovers)
        self._lease = lease
        await self._tasks.begin_due(partial(due, self._database, _BEFORE, 4 * _TASKS_MAX))
        await self._tasks.wait(self._idle_s)
        return 0.0

    async def aclose(self) -> None:
        await self._tasks.aclose()

    def _remove_leftovers(self) -> None:
        """Files that were being sent when a dispatcher was killed."""
        for path in self._folder.glob("penstock-*.jsonl"):
            path.unlink(missing_ok=True)

    async def _enter(self, row: Row[Any], state: str, *, was: Sequence[str] = _BEFORE, **values: Any) -> None:
        assert self._lease is not None
        if not await self._lease.run(partial(enter, batch_id=row.id, was=was, state=state, **values)):
            raise Overtaken(row.id)

    async def _submit(self, row: Row[Any]) -> None:
        if await self._is_late(row):
            return
        assert self._lease is not None
        if not await self._lease.run(partial(_note_try, row=row)):
            raise Overtaken(row.id)
        tries = row.tries + 1
        try:
            async with self._providers.of_batch(row) as provider:
                await self._take_there(row, provider, tries)
        except Refused as refused:
            if row.state == "uploaded" and b"input_file_id" in refused.answer.body and tries < _TRIES_OF_A_FILE:
                await self._enter(row, "gathered", input_file_id="")  # the file is gone
                return
            _log.warning("%s takes no batch: it answers %d", row.upstream, refused.answer.status)
            ending = encode_ending(Ending(answer=refused.answer))
            await self._enter(row, "finishing", status="refused", errors=ending)

    async def _is_late(self, row: Row[Any]) -> bool:
        """Whether its deadline has come so near meanwhile that its items are to be asked live."""
        now_ns = await asyncio.to_thread(self._now_ns)
        if not is_due(row.created_ns, row.deadline_ns, now_ns, self._batch.escalate_before_s):
            return False
        await self._enter(row, "finishing", status="late")
        return True

    def _now_ns(self) -> int:
        with self._database.reading() as connection:
            return self._database.now_ns(connection)

    async def _take_there(self, row: Row[Any], provider: Provider, tries: int) -> None:
        file_id = row.input_file_id
        if tries > 1:
            await asyncio.sleep(self._settle_s)
            if found := await provider.batches_marked(row.id, row.created_ns):
                await self._adopt(row, provider, found)
                return
            if not file_id and (named := await provider.files_named(file_name(row), row.created_ns)):
                file_id = named[0]
        if not file_id:
            file_id = await self._upload(row, provider)
            if not file_id:
                return
        if row.state == "gathered":
            await self._enter(row, "uploaded", was=("gathered",), input_file_id=file_id)
        await self._created(row, await provider.create(file_id, row.path, row.id))

    async def _upload(self, row: Row[Any], provider: Provider) -> str:
        """The file's id at the provider; "" when nobody waits for this batch any more."""
        path = self._folder / file_name(row)
        try:
            async with self._writing:
                lines = await asyncio.to_thread(write_input, self._database, row, path)
            if not lines:
                await self._enter(row, "finishing", status="empty")
                return ""
            return await provider.upload(path, file_name(row))
        finally:
            await asyncio.to_thread(path.unlink, missing_ok=True)

    async def _adopt(self, row: Row[Any], provider: Provider, found: list[Seen]) -> None:
        """Take the oldest for ours. What else there is costs money: it is cancelled now, and removed in the end."""
        ours, *others = sorted(found, key=lambda seen: seen.status in ("failed", "cancelled", "cancelling"))
        for other in others:
            if not other.is_over and other.status != "cancelling":
                await provider.cancel(other.id)
        _log.info("the batch %s was at %s already, as %s", row.id, row.upstream, ours.id)
        await self._created(row, ours)

    async def _created(self, row: Row[Any], seen: Seen) -> None:
        values = seen_values(seen)
        if seen.input_file_id:
            values["input_file_id"] = seen.input_file_id
        poll_at_ns = await asyncio.to_thread(self._now_ns) + int(self._batch.poll_s * 1e9)
        await self._enter(row, "created", poll_at_ns=poll_at_ns, **values)


def _note_try(connection: Connection, row: Row[Any]) -> bool:
    """False: the row is not as it was found, so that what was tried is not known."""
    as_found = (batches.c.id == row.id) & (batches.c.state == row.state) & (batches.c.tries == row.tries)
    return bool(connection.execute(update(batches).where(as_found).values(tries=row.tries + 1)).rowcount)
