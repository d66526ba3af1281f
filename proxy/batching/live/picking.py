"""Which items of the queue are asked live next."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, Connection, Row, literal_column, or_, select, update

from ..tables import items
from .escalation import QUEUED

_TIERED: Final = literal_column("tier") != literal_column("''")
_COLUMNS: Final = [items.c[name] for name in ("id", "body_bytes")]
_SECOND_NS: Final = 1_000_000_000


class Picked(NamedTuple):
    id: str
    bytes: int
    """Of its body."""
    room: str
    """The upstream whose room it takes; "" for an item that is asked because its deadline is near."""


class Picking:
    """One look at the queue: items in the order in which they are to be asked, within `bytes_max` of bodies.

    `alone`: nothing else is asked now, so that one may be picked that is larger than that.
    """

    def __init__(self, connection: Connection, now_ns: int, *, bytes_max: int, alone: bool) -> None:
        self._connection = connection
        self._now_ns = now_ns
        self._bytes_left = bytes_max
        self._alone = alone
        self.picked: list[Picked] = []

    def is_any(self, upstream: str) -> bool:
        """Whether this upstream has items that could be asked."""
        return bool(self._select(items.c.upstream == upstream, (items.c.created_ns, items.c.position), 1))

    def is_urgent(self, upstream: str, before_s: float) -> bool:
        """Whether it has some whose deadline is within `before_s`."""
        return bool(self._select(self._urgent(upstream, before_s), (items.c.deadline_ns,), 1))

    def escalated(self, rooms: Collection[str], count: int) -> None:
        """Items that are asked because their deadline is near, whatever the upstream, unless it is one of `rooms`."""
        if count > 0:
            where = _TIERED & items.c.upstream.not_in(rooms)
            self._take(self._select(where, (items.c.created_ns, items.c.position), count), "")

    def local(self, upstream: str, count: int, before_s: float) -> None:
        """Items of an upstream that Penstock runs batches on: those first whose deadline is within `before_s`."""
        if count > 0:
            urgent = self._select(self._urgent(upstream, before_s), (items.c.deadline_ns, items.c.position), count)
            self._take(urgent, upstream)
            known = {row.id for row in urgent}
            others = self._select(items.c.upstream == upstream, (items.c.created_ns, items.c.position), count)
            self._take([row for row in others if row.id not in known][: count - len(urgent)], upstream)

    def _urgent(self, upstream: str, before_s: float) -> ColumnElement[bool]:
        return (items.c.upstream == upstream) & (items.c.deadline_ns < self._now_ns + int(before_s * _SECOND_NS))

    def _select(
        self, where: ColumnElement[bool], order: Sequence[ColumnElement[Any]], count: int
    ) -> Sequence[Row[Any]]:
        may = (items.c.line == "") & (items.c.run_after_ns <= self._now_ns)
        # A line of a file that comes too late is not asked: its batch has expired.
        in_time = or_(items.c.mode != "file", items.c.deadline_ns > self._now_ns)
        return self._connection.execute(
            select(*_COLUMNS).where(QUEUED, where, may, in_time).order_by(*order).limit(count)
        ).all()

    def _take(self, rows: Sequence[Row[Any]], room: str) -> None:
        for row in rows:
            if row.body_bytes > self._bytes_left and not (self._alone and not self.picked):
                self._bytes_left = 0  # what comes later does not overtake it
                return
            self._bytes_left -= row.body_bytes
            self.picked.append(Picked(row.id, row.body_bytes, room))


def begin(connection: Connection, picked: Sequence[Picked]) -> Sequence[Row[Any]]:
    """Mark as running what is still queued of them, and return these rows of `items`, in their order."""
    ids = [one.id for one in picked]
    if not ids:
        return []
    there = (items.c.id.in_(ids)) & (items.c.state == "queued")
    rows = {row.id: row for row in connection.execute(select(items).where(there)).all()}
    if rows:
        connection.execute(update(items).where(items.c.id.in_(list(rows))).values(state="running"))
    return [rows[one] for one in ids if one in rows]


def undo(connection: Connection, ids: Sequence[str]) -> None:
    """Put back what was marked in a transaction of which nothing was heard."""
    if ids:
        there = items.c.id.in_(ids) & (items.c.state == "running")
        connection.execute(update(items).where(there).values(state="queued"))
