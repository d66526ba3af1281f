"""The one place where an item gets its answer, is given up or goes back to the queue, with all that hangs on it.

The counts of what waits (`counters`), the records that are owed (`outbox`) and the callers' keys that are needed no
more change in the same transaction, so that a kill at any point leaves all of it done or nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple, TypeVar

from sqlalchemy import ColumnElement, Connection, Row, bindparam, func, insert, select, text, update

from exporters.record import CallRecord, encode

from .item import Answer, encode_headers
from .sealing import drop_unused
from .tables import counters, items, outbox

T = TypeVar("T")

MakeRecord = Callable[[Row[Any], Answer, bool], CallRecord]
"""From a row of `items`, its answer, and whether that is the answer to the line of another item."""

PENDING: Final = ("queued", "batched", "running")
_IDS_MAX: Final = 500
"""In one statement."""
_SHARED_MAX: Final = 50
"""Rows with their bodies in memory."""


class Finished(NamedTuple):
    """The answer of one item, and the record of it; None: there is none to make."""

    id: str
    answer: Answer
    record: CallRecord | None


def finish(
    connection: Connection, finished: Sequence[Finished], *, now_ns: int, keep_s: float, shared: MakeRecord
) -> int:
    """Give items their answers. Returns how many are done by that, with those that were asked by another's line.

    One that is done already stays as it is, so that doing it again is harmless. One that was cancelled stays cancelled,
    but what it cost is recorded, once.
    """
    found = {row.id: row for row in _rows(connection, [one.id for one in finished])}
    done: list[tuple[Finished, Row[Any]]] = []
    closed: list[tuple[Finished, Row[Any]]] = []
    records: list[CallRecord] = []
    for one in finished:
        row = found.pop(one.id, None)
        if row is None or row.done_ns:
            continue
        (closed if row.state == "cancelled" else done).append((one, row))
        if one.record is not None:
            records.append(one.record)
    ending = _Ending(connection, now_ns, now_ns + int(keep_s * 1e9))
    ending.answer([(row, one.answer) for one, row in done])
    ending.close([row.id for _, row in closed])
    ending.record(records)
    count = len(done)
    for one, _ in [*done, *closed]:
        count += ending.answer_followers(one, shared)
    ending.settle()
    return count


def cancel(connection: Connection, ids: Sequence[str], *, now_ns: int, keep_s: float) -> int:
    """Give items up that have no answer yet; returns how many. What is being asked already is recorded when it comes.

    Items that waited for the line of one that was never sent wait for one of their own.
    """
    rows = [row for row in _rows(connection, ids) if row.state in PENDING]
    ending = _Ending(connection, now_ns, now_ns + int(keep_s * 1e9))
    ending.cancel(rows)
    release(connection, [row.id for row in rows if row.state == "queued"])
    ending.settle()
    return len(rows)


def requeue(connection: Connection, ids: Sequence[str], *, tier: str = "") -> None:
    """Back to the queue, out of the batch (unless it is a local one), asked once more in vain; "" leaves the tier.

    What was cancelled meanwhile may be forgotten; who waited for its line gets one of its own.
    """
    for some in pieces(ids):
        changes: dict[str, Any] = {"state": "queued", "attempts": items.c.attempts + 1} | (
            {"tier": tier} if tier else {}
        )
        asked = items.c.id.in_(some) & items.c.state.in_(("batched", "running"))
        connection.execute(update(items).where(asked & (items.c.mode == "file")).values(**changes))
        connection.execute(update(items).where(asked).values(batch_id="", **changes))
        cancelled = items.c.id.in_(some) & (items.c.state == "cancelled")
        gone = list(connection.scalars(select(items.c.id).where(cancelled)))
        connection.execute(
            update(items).where(cancelled & (items.c.keep_until_ns == 0)).values(keep_until_ns=items.c.deadline_ns)
        )
        release(connection, gone)


def release(connection: Connection, ids: Sequence[str]) -> None:
    """Items that waited for the lines of these are to be asked themselves."""
    for some in pieces(ids):
        connection.execute(
            update(items)
            .where(items.c.line.in_(some) & _HAS_LINE & items.c.state.in_(PENDING))
            .values(line="", state="queued", batch_id="")
        )


def recover(connection: Connection) -> None:
    """For a new dispatcher: what the last one was asking is asked again, and what is counted is counted anew."""
    connection.execute(
        update(items).where(items.c.state == "running").values(state="queued", attempts=items.c.attempts + 1)
    )
    number, size = connection.execute(
        select(func.count(), func.coalesce(func.sum(items.c.body_bytes), 0)).where(items.c.state.in_(PENDING))
    ).one()
    for name, value in (("items", int(number)), ("bytes", int(size))):
        connection.execute(update(counters).where(counters.c.name == name).values(value=value))
    drop_unused(connection)


_HAS_LINE: Final = text("line != ''")
"""Said in these words, it lets SQLite use the index."""


class _Ending:
    """What items that end have in common, gathered and then written at once."""

    def __init__(self, connection: Connection, now_ns: int, keep_until_ns: int) -> None:
        self._connection = connection
        self._now_ns = now_ns
        self._keep_until_ns = keep_until_ns
        self._seq = int(connection.scalar(select(counters.c.value).where(counters.c.name == "done_seq")) or 0)
        self._count = self._bytes = 0
        self._credentials: set[str] = set()

    def answer(self, answered: Iterable[tuple[Row[Any], Answer]]) -> None:
        changes = [
            self._change(row)
            | {
                "state": "done",
                "status": answer.status,
                "headers": encode_headers(answer.headers),
                "reply": answer.body,
                "done_ns": self._now_ns,
                "keep_until_ns": self._keep_until_ns,
            }
            | self._webhook(row)
            for row, answer in answered
        ]
        self._update(changes)

    def cancel(self, rows: Iterable[Row[Any]]) -> None:
        # One that is being asked stays until it has its answer, which is what it cost.
        self._update(
            [
                self._change(row)
                | {"state": "cancelled", "keep_until_ns": self._keep_until_ns if row.state == "queued" else 0}
                | self._webhook(row)
                for row in rows
            ]
        )

    def close(self, ids: Sequence[str]) -> None:
        """Cancelled ones that have been answered after all."""
        for some in pieces(ids):
            values = {"done_ns": self._now_ns, "keep_until_ns": self._keep_until_ns}
            self._connection.execute(update(items).where(items.c.id.in_(some)).values(**values))

    def answer_followers(self, one: Finished, shared: MakeRecord) -> int:
        waiting = (items.c.line == one.id) & _HAS_LINE & items.c.state.in_(PENDING)
        count = 0
        while rows := self._connection.execute(select(items).where(waiting).limit(_SHARED_MAX)).all():
            self.answer([(row, one.answer) for row in rows])
            self.record([shared(row, one.answer, True) for row in rows])
            count += len(rows)
        return count

    def record(self, records: Sequence[CallRecord]) -> None:
        if records:
            self._connection.execute(insert(outbox), [{"record": encode(record)} for record in records])

    def settle(self) -> None:
        """What must be true at the end of the transaction."""
        if self._count:
            change = {"items": self._count, "bytes": self._bytes}
            for name, less in change.items():
                self._connection.execute(
                    update(counters).where(counters.c.name == name).values(value=counters.c.value - less)
                )
            self._connection.execute(update(counters).where(counters.c.name == "done_seq").values(value=self._seq))
        if self._credentials:
            drop_unused(self._connection, self._credentials)

    def _change(self, row: Row[Any]) -> dict[str, Any]:
        self._seq += 1
        self._count += 1
        self._bytes += row.body_bytes
        if row.credential:
            self._credentials.add(row.credential)
        return {"item": row.id, "done_seq": self._seq, "credential": ""}

    def _webhook(self, row: Row[Any]) -> dict[str, Any]:
        return {
            "webhook_state": "waiting" if row.webhook else "",
            "webhook_at_ns": self._now_ns if row.webhook else 0,
        }

    def _update(self, changes: list[dict[str, Any]]) -> None:
        if changes:
            names = [name for name in changes[0] if name != "item"]
            statement = (
                update(items).where(items.c.id == bindparam("item")).values({name: bindparam(name) for name in names})
            )
            self._connection.execute(statement, changes)


def _rows(connection: Connection, ids: Sequence[str]) -> list[Row[Any]]:
    columns = [items.c[name] for name in ("id", "state", "done_ns", "credential", "body_bytes", "webhook")]
    found: list[Row[Any]] = []
    for some in pieces(list(dict.fromkeys(ids))):
        condition: ColumnElement[bool] = items.c.id.in_(some)
        found += connection.execute(select(*columns).where(condition)).all()
    return found


def pieces(values: Sequence[T], size: int = _IDS_MAX) -> Iterator[Sequence[T]]:
    """As many as one statement takes at a time."""
    for start in range(0, len(values), size):
        yield values[start : start + size]
