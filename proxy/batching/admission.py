"""What goes into the queue: within its limits, and not a second time for a caller that asks again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import msgspec
from sqlalchemy import Connection, Row, insert, select, text, update

from ..settings import Batch
from . import sealing
from .item import NewItem
from .queue import Added
from .refusal import KeyReused, QueueFull
from .tables import counters, items

_HAS_REJOIN: Final = text("rejoin != ''")
"""Said in these words, it lets SQLite use the index."""
_FOUND_AGAIN: Final = ("id", "scope", "rejoin", "rejoin_by_key", "path", "body")


class Newcomer(NamedTuple):
    """An item, and the credential that is kept with it: `sealing.encode_credential`, sealed; None: there is none."""

    item: NewItem
    sealed: bytes | None = None


@dataclass(slots=True)
class _Earlier:
    id: str
    path: str
    body: bytes


@dataclass(slots=True)
class _Admission:
    """One transaction's worth."""

    limits: Batch
    number: int
    size: int
    earlier: dict[tuple[str, str], _Earlier]
    rows: list[dict[str, Any]] = field(default_factory=list)
    credentials: dict[str, bytes] = field(default_factory=dict)

    def admit(self, newcomer: Newcomer) -> Added | QueueFull | KeyReused:
        item = newcomer.item
        earlier = self.earlier.get((item.scope, item.rejoin)) if item.rejoin else None
        if earlier is not None:
            if item.rejoin_by_key and (earlier.path, earlier.body) != (item.path, item.body):
                return KeyReused("this Idempotency-Key came with another call before")
            return Added(earlier.id, joined=True)
        size = len(item.body)
        if self.number >= self.limits.queue_items_max or self.size + size > self.limits.queue_bytes_max:
            return QueueFull(f"{self.number} calls of {self.size} bytes wait already")
        self.number += 1
        self.size += size
        row = msgspec.structs.asdict(item)
        row |= {"state": "queued", "body_bytes": size, "model": _storable(item.model)}
        if newcomer.sealed is not None:
            self.credentials[item.credential] = newcomer.sealed
        if item.rejoin:
            self.earlier[item.scope, item.rejoin] = _Earlier(item.id, item.path, item.body)
        self.rows.append(row)
        return Added(item.id, joined=False)


def admit(
    connection: Connection, newcomers: Sequence[Newcomer], limits: Batch, now_ns: int, *, again: bool = False
) -> list[Added | QueueFull | KeyReused]:
    """Insert what may be; says for each what became of it.

    A newcomer with the `rejoin` and scope of an item that is there, and is not cancelled, joins it: if they are made of
    an Idempotency-Key as long as it is kept, else until its reply was delivered. `again`: some may be in already, from
    a commit of which nothing was heard.
    """
    known = _known(connection, [one.item.id for one in newcomers]) if again else frozenset()
    there = waiting(connection)
    admission = _Admission(limits, *there, _earlier(connection, [one.item for one in newcomers], now_ns))
    outcomes = [Added(one.item.id, joined=False) if one.item.id in known else admission.admit(one) for one in newcomers]
    if admission.rows:
        if admission.credentials:
            sealing.keep(connection, admission.credentials, now_ns)
        connection.execute(insert(items), admission.rows)
        count(connection, admission.number - there[0], admission.size - there[1])
    return outcomes


def waiting(connection: Connection) -> tuple[int, int]:
    """How many items are not done or cancelled, and the bytes of their bodies. Exact inside a write transaction."""
    names = ("items", "bytes")
    found = {row.name: row.value for row in connection.execute(select(counters).where(counters.c.name.in_(names)))}
    return found["items"], found["bytes"]


def count(connection: Connection, more: int, more_bytes: int) -> None:
    """Items were added by other ways than `admit` (or taken away: negative numbers)."""
    for name, value in (("items", more), ("bytes", more_bytes)):
        connection.execute(update(counters).where(counters.c.name == name).values(value=counters.c.value + value))


def _storable(text: str) -> str:
    """Without what JSON may say but PostgreSQL or UTF-8 cannot: zero bytes, halves of surrogate pairs."""
    return text if text.isprintable() else text.encode("utf-8", "replace").decode().replace("\0", "\ufffd")


def _known(connection: Connection, ids: Sequence[str]) -> frozenset[str]:
    return frozenset(connection.scalars(select(items.c.id).where(items.c.id.in_(ids))))


def _earlier(connection: Connection, new: Sequence[NewItem], now_ns: int) -> dict[tuple[str, str], _Earlier]:
    names = {item.rejoin for item in new if item.rejoin}
    if not names:
        return {}
    rows: Sequence[Row[Any]] = connection.execute(
        select(*(items.c[name] for name in _FOUND_AGAIN))
        .where(items.c.rejoin.in_(names) & _HAS_REJOIN & (items.c.state != "cancelled"))
        .where((items.c.keep_until_ns == 0) | (items.c.keep_until_ns > now_ns))
        .where(items.c.rejoin_by_key | ~items.c.delivered)
        .order_by(items.c.created_ns)
    ).all()
    return {(row.scope, row.rejoin): _Earlier(row.id, row.path, row.body) for row in rows}


def note_delivered(connection: Connection, ids: Sequence[str]) -> None:
    """A caller has the replies of these items."""
    if ids:
        connection.execute(update(items).where(items.c.id.in_(ids)).values(delivered=True))
