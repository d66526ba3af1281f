"""The queue as those see it who serve callers: quick calls that never keep the event loop waiting.

Two threads stand before the database. One writes, and puts into one transaction whatever came while it wrote the last
one: many calls share a single wait for the disk. The other reads. The database is opened at the first use.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar, cast

import msgspec

from exporters.files import Throttle

from ..settings import Settings
from .item import Answer, Found, NewItem, decode_headers
from .lane import Lane, Ticket, settle
from .refusal import KeyReused, QueueFull, QueueUnavailable

if TYPE_CHECKING:  # SQLAlchemy is imported by a worker only when there is something to queue.
    from sqlalchemy import Connection, Row

    from .database import Database
    from .sealing import Sealer

__all__ = ["Added", "KeyReused", "Queue", "QueueFull", "QueueUnavailable"]

logger = logging.getLogger(__name__)

T = TypeVar("T")

_WITHIN_S: Final = 15.0
_RUN_WITHIN_S: Final = 120.0
_AGAIN_WITHIN_S: Final = 5.0
_JOIN_S: Final = 5.0
_WAITING_MAX: Final = 10_000
_TOGETHER_MAX: Final = 256
_ENDED_MAX: Final = 5000
_SEALED_MAX: Final = 1024
_FOUND: Final = tuple(name for name in Found.__struct_fields__ if name != "answer")
_ANSWER: Final = ("status", "headers", "reply")


class Added(NamedTuple):
    """What became of an `add`."""

    id: str
    joined: bool
    """An item that was there already answers this call too; `id` is its."""


class _Add(NamedTuple):
    item: NewItem
    credential: bytes | None


class _Delivered(NamedTuple):
    id: str


_Work = Callable[["Connection"], Any]
_Job = _Add | _Delivered | _Work


class Queue:
    """For one process. Every method may raise `QueueUnavailable`, after `within_s` at the latest (`read` and `run`:
    after two minutes), and works again when the database does."""

    def __init__(
        self, settings: Settings, clock: Callable[[], int] = time.time_ns, *, within_s: float = _WITHIN_S
    ) -> None:
        self._settings = settings
        self._within_s = within_s
        self._clock = clock
        self._database: Database | None = None
        self._opening = threading.Lock()
        self._sealer: Sealer | None = None
        self._sealed: dict[str, bytes] = {}
        self._throttle = Throttle()
        limits = {"waiting_max": _WAITING_MAX, "together_max": _TOGETHER_MAX}
        self._writing: Lane[_Job] = Lane("queue-write", self._write, **limits)
        self._reading: Lane[_Work] = Lane("queue-read", self._read, **limits)

    async def add(self, item: NewItem, credential: bytes | None = None) -> Added:
        """Put an item in; when this returns it is on disk. `credential`: `sealing.encode_credential` of the caller.

        Raises `QueueFull` and `KeyReused`. After `QueueUnavailable` it may be in all the same.
        """
        return cast(Added, await self._writing.submit(_Add(item, credential)).wait(self._within_s))

    async def find(self, item_id: str, scope: str) -> Found | None:
        """None when there is none, or none of theirs."""
        return cast("Found | None", await self._ask(partial(_find, item_id=item_id, scope=scope)))

    async def cancel(self, item_id: str, scope: str) -> Found | None:
        """Give it up unless it is done; as `find` afterwards."""
        work = partial(self._cancel, item_id=item_id, scope=scope)
        return cast("Found | None", await self._writing.submit(work).wait(self._within_s))

    async def delivered(self, item_id: str) -> None:
        """Note that a caller has the reply."""
        await self._writing.submit(_Delivered(item_id)).wait(self._within_s)

    async def ended(self, after_seq: int) -> tuple[int, list[str]]:
        """The newest `done_seq`, and the ids of items that were done or cancelled after `after_seq`, in that order.

        Begin with -1, which gives no ids. At most a few thousand at a time: ask again with what was given.
        """
        return cast("tuple[int, list[str]]", await self._ask(partial(_ended, after_seq=after_seq)))

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Do `work` in a thread, in a transaction that only reads."""
        return cast(T, await self._reading.submit(work).wait(_RUN_WITHIN_S))

    async def run(self, work: Callable[[Connection], T]) -> T:
        """Do `work` in a thread, in one write transaction; others wait meanwhile. Raises what `work` raises."""
        return cast(T, await self._writing.submit(work).wait(_RUN_WITHIN_S))

    async def aclose(self) -> None:
        """Finish what was begun, for a few seconds at most. Safe to call again."""
        self._writing.close()
        self._reading.close()
        lanes = (self._writing, self._reading)
        done = await asyncio.gather(*(asyncio.to_thread(lane.join, _JOIN_S) for lane in lanes))
        if all(done) and self._database is not None:
            self._database.close()

    async def _ask(self, work: _Work) -> Any:
        return await self._reading.submit(work).wait(self._within_s)

    # In the threads

    def _opened(self) -> Database:
        with self._opening:
            if self._database is None:
                from .database import Database, queue_url

                self._database = Database.open(queue_url(self._settings), self._clock)
            return self._database

    def _read(self, tickets: list[Ticket[_Work]]) -> None:
        for ticket in tickets:
            if not ticket.abandoned:
                self._do(ticket, lambda: self._opened().reading())
                settle([ticket])

    def _write(self, tickets: list[Ticket[_Job]]) -> None:
        group = [one for one in tickets if isinstance(one.job, _Add | _Delivered) and not one.abandoned]
        if group:
            self._write_group(group)
            settle(group)
        for ticket in tickets:
            if not isinstance(ticket.job, _Add | _Delivered) and not ticket.abandoned:
                self._do(ticket, lambda: self._opened().transaction())
                settle([ticket])

    def _do(self, ticket: Ticket[Any], begin: Callable[[], Any]) -> None:
        try:
            with begin() as connection:
                result = ticket.job(connection)
            ticket.result = result
        except Exception as error:  # noqa: BLE001 - it is raised where the job is awaited
            ticket.error = error
            self._complain(error)

    def _write_group(self, group: list[Ticket[_Job]]) -> None:
        began = time.monotonic()
        error: Exception | None = None
        for again in (False, True):
            try:
                self._write_once(group, again=again)
                return
            except QueueUnavailable as unavailable:
                error = unavailable
                if time.monotonic() - began > _AGAIN_WITHIN_S:
                    break
            except Exception as wrong:  # noqa: BLE001 - as in `_do`
                error = wrong
                break
        assert error is not None
        self._complain(error)
        for ticket in group:
            ticket.result, ticket.error = None, _again(error)

    def _write_once(self, group: list[Ticket[_Job]], *, again: bool) -> None:
        from .admission import Newcomer, admit, note_delivered

        adds = [(ticket, ticket.job) for ticket in group if isinstance(ticket.job, _Add)]
        newcomers = [Newcomer(*self._sealed_of(job)) for _, job in adds]
        database = self._opened()
        with database.transaction() as connection:
            note_delivered(connection, [ticket.job.id for ticket in group if isinstance(ticket.job, _Delivered)])
            if newcomers:
                outcomes = admit(connection, newcomers, self._settings.batch, self._clock(), again=again)
            else:
                outcomes = []
        for (ticket, _), outcome in zip(adds, outcomes, strict=True):
            ticket.result, ticket.error = (None, outcome) if isinstance(outcome, Exception) else (outcome, None)

    def _sealed_of(self, job: _Add) -> tuple[NewItem, bytes | None]:
        from .sealing import Sealer, credential_id

        if not job.credential:
            return job.item, None
        name = credential_id(job.credential)
        if name not in self._sealed:
            if self._sealer is None:
                self._sealer = Sealer.of(self._settings)
            if len(self._sealed) >= _SEALED_MAX:
                self._sealed.clear()
            self._sealed[name] = self._sealer.seal(job.credential)
        return msgspec.structs.replace(job.item, credential=name), self._sealed[name]

    def _cancel(self, connection: Connection, item_id: str, scope: str) -> Found | None:
        from .finishing import cancel

        if _find(connection, item_id=item_id, scope=scope) is None:
            return None
        cancel(connection, [item_id], now_ns=self._opened().now_ns(connection), keep_s=self._settings.batch.keep_s)
        return _find(connection, item_id=item_id, scope=scope)

    def _complain(self, error: Exception) -> None:
        if isinstance(error, QueueUnavailable) and self._throttle.due("unavailable"):
            logger.error("The batch queue cannot be used: %s.", error)


def _again(error: Exception) -> Exception:
    """One for each who waits: raising an exception writes on it."""
    if not isinstance(error, QueueUnavailable):
        return error
    copy = QueueUnavailable(str(error))
    copy.__cause__ = error
    return copy


def _find(connection: Connection, item_id: str, scope: str) -> Found | None:
    from sqlalchemy import select

    from .tables import items

    wanted = (items.c.id == item_id) & (items.c.scope == scope)
    row = connection.execute(select(*(items.c[name] for name in (*_FOUND, *_ANSWER))).where(wanted)).one_or_none()
    return None if row is None else _found(row)


def _found(row: Row[Any]) -> Found:
    answer = None
    if row.state == "done":
        answer = Answer(status=row.status, headers=decode_headers(row.headers), body=row.reply)
    return Found(**{name: row._mapping[name] for name in _FOUND}, answer=answer)


def _ended(connection: Connection, after_seq: int) -> tuple[int, list[str]]:
    from sqlalchemy import select, text

    from .tables import counters, items

    if after_seq < 0:
        newest = connection.scalar(select(counters.c.value).where(counters.c.name == "done_seq"))
        return int(newest or 0), []
    rows = connection.execute(
        select(items.c.id, items.c.done_seq)
        .where((items.c.done_seq > after_seq) & text("done_seq > 0"))
        .order_by(items.c.done_seq)
        .limit(_ENDED_MAX)
    ).all()
    return (int(rows[-1].done_seq) if rows else after_seq), [row.id for row in rows]
