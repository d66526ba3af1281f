"""`LocalBatches`: runs the batches of upstreams that have no Batch API of their own, from their input to their output.

A row of `batches` with kind `local` goes through these states, each left in one transaction with what was done in it:

    validating  its input is to be checked             status validating
    validated   it is to be let into the queue         status validating
    loading     its lines become items                 status in_progress
    running     its items are asked, by others         status in_progress
    finalizing  its answers go into files              status finalizing
    clearing    its items are forgotten                status completed, expired or cancelled
    finished                                           the same, or failed: there are faults in the input

A caller's cancellation shows as status `cancelling` from then on. Nothing is kept in memory between two steps.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final, NamedTuple

import msgspec
from sqlalchemy import Connection, Row, delete, insert, select, update

from exporters.record import encode

from ...settings import Settings
from .. import admission, finishing
from ..database import Database
from ..lease import Lease
from ..records import ItemRecords
from ..sealing import drop_unused
from ..tables import batches, counters, items, outbox
from . import files
from . import inputs as local_input
from . import outputs as local_output
from .lines import Check, Fault, succeeded
from .objects import KEPT_S

SEEN: Final = "local_seen"
"""In `counters`: the `done_seq` up to which items that ended are in the counts of their batches."""
_COUNTED_MAX: Final = 2000
_PIECE_MAX: Final = 500
_UNFINISHED_MAX: Final = 1000
_SWEPT_PIECES: Final = 32
_SWEEP_NS: Final = 60_000_000_000
_KEPT_NS: Final = KEPT_S * 1_000_000_000
"""How long after it was made a batch that is over can be looked at."""
_AGAIN_S: Final = 0.5
_IDLE_S: Final = 1.0


class _Seen(NamedTuple):
    """What there is to do, read without keeping a writer waiting."""

    now_ns: int
    uncounted: bool
    unfinished: list[Row[Any]]
    garbage: bool


class LocalBatches:
    """A part of the dispatcher."""

    name = "local batches"

    def __init__(self, settings: Settings, database: Database, records: ItemRecords) -> None:
        self._limits = settings.batch
        self._database = database
        self._records = records
        self._swept_ns = 0

    async def step(self, lease: Lease) -> float:
        """Takes every batch a piece further. Raises `LeaseLost` and `QueueUnavailable`."""
        seen = await asyncio.to_thread(self._look)
        busy = await lease.run(count) if seen.uncounted and seen.unfinished else False
        full = False
        for batch in seen.unfinished:
            if batch.state == "validated" and full:
                continue  # those who came first are let in first
            moved = await self._advance(lease, batch, seen.now_ns)
            full = full or (batch.state == "validated" and not moved)
            busy = busy or moved
        if seen.garbage:
            busy = await lease.run(self._sweep) or busy
        else:
            self._swept_ns = seen.now_ns if seen.now_ns - self._swept_ns > _SWEEP_NS else self._swept_ns
        return 0.0 if busy else _AGAIN_S if seen.unfinished else _IDLE_S

    async def aclose(self) -> None:
        """Nothing is held."""

    def _look(self) -> _Seen:
        with self._database.reading() as connection:
            now_ns = self._database.now_ns(connection)
            unfinished = connection.execute(
                select(batches)
                .where(batches.c.kind == "local", batches.c.state != "finished")
                .order_by(batches.c.created_ns)
                .limit(_UNFINISHED_MAX)
            ).all()
            done, seen = _counter(connection, "done_seq"), _counter(connection, SEEN)
            forgotten = select(batches.c.id).where(_forgotten(now_ns)).limit(1)
            garbage = now_ns - self._swept_ns > _SWEEP_NS and (
                files.garbage(connection, now_ns) or connection.execute(forgotten).first() is not None
            )
            return _Seen(now_ns, done > seen, list(unfinished), garbage)

    async def _advance(self, lease: Lease, batch: Row[Any], now_ns: int) -> bool:
        """Whether something was done."""
        if batch.state == "validating" and batch.status == "validating":
            check = await asyncio.to_thread(local_input.validate, self._database, batch, self._limits.item_bytes_max)
            return await lease.run(lambda connection: self._checked(connection, batch.id, check))
        if batch.state == "running" and not _is_answered(batch) and not _is_doomed(batch, now_ns):
            return False  # as most of the time: nothing to write
        return await lease.run(lambda connection: self._move(connection, batch.id))

    def _checked(self, connection: Connection, batch_id: str, check: Check) -> bool:
        batch = _batch(connection, batch_id)
        if batch.state != "validating" or batch.status != "validating":
            return True  # it was cancelled meanwhile
        faults = check.faults or self._too_large(check)
        if faults:
            errors = msgspec.json.encode(faults).decode()
            self._end(connection, batch, "failed", {"state": "finished", "errors": errors})
        else:
            values = {
                "state": "validated",
                "model": check.model,
                "items_bytes": check.body_bytes,
                "total": check.requests,
            }
            _change(connection, batch, **values)
        return True

    def _too_large(self, check: Check) -> list[Fault]:
        """What would wait for ever."""
        limits = self._limits
        if check.requests <= limits.queue_items_max and check.body_bytes <= limits.queue_bytes_max:
            return []
        return [
            Fault(
                "batch_too_large",
                f"These are {check.requests} requests of {check.body_bytes} bytes, the queue takes "
                f"{limits.queue_items_max} of {limits.queue_bytes_max}. Send less, or raise batch.queue_items_max or "
                "batch.queue_bytes_max.",
            )
        ]

    def _move(self, connection: Connection, batch_id: str) -> bool:
        batch = _batch(connection, batch_id)
        now_ns = self._database.now_ns(connection)
        doomed = _is_doomed(batch, now_ns)
        match batch.state:
            case "validating" if batch.status == "cancelling":
                self._end(connection, batch, "cancelled", {"state": "finished"})
            case "validated" if doomed:
                _change(connection, batch, state="loading")
            case "validated":
                if not self._has_room(connection, batch):
                    return False
                _change(connection, batch, state="loading", status="in_progress", in_progress_ns=now_ns)
            case "loading":
                local_input.load(connection, batch, self._limits.item_bytes_max, doomed=doomed)
            case "running":
                return self._watch(connection, batch, now_ns, doomed=doomed)
            case "finalizing":
                how = _how(batch, now_ns)
                if not local_output.write(connection, batch, now_ns, expired=how == "expired"):
                    local_output.publish(connection, batch, now_ns)
                    self._end(connection, batch, how, {"state": "clearing"})
            case "clearing":
                return _clear(connection, batch, now_ns)
        return True

    def _has_room(self, connection: Connection, batch: Row[Any]) -> bool:
        """Those that are being loaded have theirs already, though it is not all taken."""
        number, size = admission.waiting(connection)
        loading = connection.execute(
            select(batches.c.total, batches.c.loaded, batches.c.items_bytes).where(
                batches.c.kind == "local", batches.c.state == "loading"
            )
        )
        for one in loading:
            number += one.total - one.loaded
            size += one.items_bytes * (one.total - one.loaded) // max(1, one.total)
        limits = self._limits
        number, size = number + batch.total, size + batch.items_bytes
        return bool(number <= limits.queue_items_max and size <= limits.queue_bytes_max)

    def _watch(self, connection: Connection, batch: Row[Any], now_ns: int, *, doomed: bool) -> bool:
        """Wait for the answers; of a batch that is doomed, for those alone that are being asked."""
        if _is_answered(batch):
            status = batch.status if batch.status == "cancelling" else "finalizing"
            _change(connection, batch, state="finalizing", status=status, finalizing_ns=now_ns)
            return True
        if not doomed:
            return False
        queued = (items.c.batch_id == batch.id) & (items.c.state == "queued")
        ids = connection.scalars(select(items.c.id).where(queued).limit(_PIECE_MAX)).all()
        return finishing.cancel(connection, ids, now_ns=now_ns, keep_s=KEPT_S) > 0

    def _end(self, connection: Connection, batch: Row[Any], status: str, values: dict[str, Any]) -> None:
        """It has its last status: nothing of it will change any more, and it is recorded."""
        now_ns = self._database.now_ns(connection)
        _change(connection, batch, **values, **{"status": status, f"{status}_ns": now_ns, "credential": ""})
        record = self._records.of_batch(_batch(connection, batch.id))
        connection.execute(insert(outbox).values(record=encode(record)))
        if batch.credential:
            drop_unused(connection, [batch.credential])

    def _sweep(self, connection: Connection) -> bool:
        now_ns = self._database.now_ns(connection)
        files.sweep(connection, now_ns, _SWEPT_PIECES)
        old = connection.scalars(select(batches.c.id).where(_forgotten(now_ns)).limit(_PIECE_MAX)).all()
        connection.execute(delete(batches).where(batches.c.id.in_(old)))
        return True


def count(connection: Connection) -> bool:
    """Add the items that ended since the last time to the counts of their batches; whether there may be more."""
    newest, seen = _counter(connection, "done_seq"), _counter(connection, SEEN)
    ended = connection.execute(
        select(items.c.done_seq, items.c.batch_id, items.c.state, items.c.status)
        .where(items.c.done_seq > seen, items.c.mode == "file")
        .order_by(items.c.done_seq)
        .limit(_COUNTED_MAX)
    ).all()
    counts: dict[str, dict[str, int]] = {}
    for row in ended:
        of_batch = counts.setdefault(row.batch_id, {"completed": 0, "failed": 0, "dropped": 0})
        of_batch[_counted(row.state, row.status)] += 1
    for batch_id, of_batch in counts.items():
        more = {name: batches.c[name] + number for name, number in of_batch.items() if number}
        connection.execute(update(batches).where(batches.c.id == batch_id).values(**more))
    seen_now = ended[-1].done_seq if len(ended) == _COUNTED_MAX else newest
    changed = connection.execute(update(counters).where(counters.c.name == SEEN).values(value=seen_now))
    if not changed.rowcount:
        connection.execute(insert(counters).values(name=SEEN, value=seen_now))
    return seen_now < newest


def _counted(state: str, status: int | None) -> str:
    if state != "done":
        return "dropped"
    return "completed" if succeeded(status) else "failed"


def _clear(connection: Connection, batch: Row[Any], now_ns: int) -> bool:
    of_batch = (items.c.batch_id == batch.id) & (items.c.mode == "file")
    # Cancelled alone, by an operator, while it was asked: what that costs is recorded when it is known.
    owed = (items.c.state == "cancelled") & (items.c.done_seq > 0) & (items.c.keep_until_ns == 0)
    owed &= items.c.deadline_ns > now_ns
    ids = connection.scalars(select(items.c.id).where(of_batch, ~owed).limit(_PIECE_MAX)).all()
    if ids:
        connection.execute(delete(items).where(items.c.id.in_(ids)))
    elif connection.execute(select(items.c.id).where(of_batch).limit(1)).first() is None:
        _change(connection, batch, state="finished")
    else:
        return False
    return True


def _is_answered(batch: Row[Any]) -> bool:
    return bool(batch.completed + batch.failed + batch.dropped >= batch.total)


def _is_doomed(batch: Row[Any], now_ns: int) -> bool:
    """What was not asked yet will not be."""
    return bool(batch.status == "cancelling" or now_ns >= batch.expires_ns)


def _how(batch: Row[Any], now_ns: int) -> str:
    """The last status of a batch that is neither refused nor running."""
    if batch.status == "cancelling":
        return "cancelled"
    return "expired" if batch.dropped and now_ns >= batch.expires_ns else "completed"


def _forgotten(now_ns: int) -> Any:
    old = batches.c.created_ns < now_ns - _KEPT_NS
    return (batches.c.kind == "local") & (batches.c.state == "finished") & old


def _batch(connection: Connection, batch_id: str) -> Row[Any]:
    return connection.execute(select(batches).where(batches.c.id == batch_id)).one()


def _change(connection: Connection, batch: Row[Any], **values: Any) -> None:
    connection.execute(update(batches).where(batches.c.id == batch.id).values(**values))


def _counter(connection: Connection, name: str) -> int:
    return int(connection.scalar(select(counters.c.value).where(counters.c.name == name)) or 0)
