"""When a call stops waiting for a batch: its deadline is near, so that it is asked live."""

from __future__ import annotations

from typing import Final

from sqlalchemy import ColumnElement, Connection, and_, exists, literal_column, select, update

from ..tables import items

QUEUED: Final = literal_column("state") == literal_column("'queued'")
"""Said in these words, it lets SQLite use the indexes of what is queued."""
_SECOND_NS: Final = 1_000_000_000


def is_due(created_ns: int, deadline_ns: int, now_ns: int, before_s: float) -> bool:
    """Whether the deadline is within `before_s`, and more than half of all the time that there was is over."""
    left_ns = deadline_ns - now_ns
    return left_ns < before_s * _SECOND_NS and 2 * left_ns < deadline_ns - created_ns


def due(where: ColumnElement[bool], now_ns: int, before_s: float) -> ColumnElement[bool]:
    """The queued items for which `is_due` holds, of the upstreams that `where` names."""
    return and_(
        QUEUED,
        where,
        items.c.deadline_ns < now_ns + int(before_s * _SECOND_NS),
        2 * (items.c.deadline_ns - now_ns) < items.c.deadline_ns - items.c.created_ns,
        items.c.tier == "",
        items.c.mode != "file",
    )


def is_any_due(connection: Connection, where: ColumnElement[bool], now_ns: int, before_s: float) -> bool:
    return connection.scalar(select(items.c.id).where(due(where, now_ns, before_s)).limit(1)) is not None


def escalate(connection: Connection, where: ColumnElement[bool], now_ns: int, before_s: float) -> int:
    """Give these items to whoever asks live, from now on. Returns how many.

    One that waits for an identical one goes on waiting if that is asked live too, and is asked by itself if not.
    """
    these = due(where, now_ns, before_s)
    given = connection.execute(update(items).where(these, items.c.line == "").values(tier="flex")).rowcount
    other = items.alias("other")
    asked_live = exists().where(other.c.id == items.c.line, other.c.tier != "", other.c.state != "cancelled")
    alone = update(items).where(these, items.c.line != "", ~asked_live).values(tier="flex", line="")
    return given + connection.execute(alone).rowcount
