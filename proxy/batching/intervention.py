"""What an operator may change in the queue: give items and batches up, and have failed items asked again.

It is written into the queue in one transaction, as the dispatcher writes there, and the dispatcher acts upon it.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, Row, select, update

from ..settings import Settings
from . import admission, finishing
from .local import api as local_api
from .report import DONE, ERROR_FROM, OVER, NotPossible, find_row
from .tables import batches, items


class Changed(NamedTuple):
    """How many items and batches."""

    items: int
    batches: int


def cancel(connection: Connection, name: str, *, now_ns: int, keep_s: float) -> Changed:
    """Give an item up, or all that is left of a batch. Raises `NotPossible`."""
    row, is_batch = find_row(connection, name)
    if not is_batch:
        count = finishing.cancel(connection, [row.id], now_ns=now_ns, keep_s=keep_s)
        if not count:
            raise NotPossible(f"{row.id} is {row.state}: there is nothing left to cancel.")
        return Changed(count, 0)
    if row.kind == "caller":
        raise NotPossible(f"{row.provider_id} is its caller's: POST /v1/batches/{row.provider_id}/cancel with its key.")
    if row.status in OVER or row.state in DONE:
        raise NotPossible(f"{row.id} is {row.status or row.state}: there is nothing left to cancel.")
    if row.kind == "local":
        local_api.cancel(connection, row.id, now_ns)
        return Changed(max(0, row.total - row.completed - row.failed), 1)
    open_ones = (items.c.batch_id == row.id) & items.c.state.in_(finishing.PENDING)
    ids = list(connection.scalars(select(items.c.id).where(open_ones)))
    count = sum(finishing.cancel(connection, some, now_ns=now_ns, keep_s=keep_s) for some in finishing.pieces(ids))
    # The dispatcher ends at the provider what nobody has time for.
    late = {"deadline_ns": now_ns, "poll_at_ns": now_ns}
    connection.execute(update(batches).where(batches.c.id == row.id).values(**late))
    return Changed(count, 1)


def retry(connection: Connection, name: str, settings: Settings, *, now_ns: int) -> Changed:
    """Ask an item anew that got an error, or all such items of a batch. They get the time that they had at first.

    Raises `NotPossible`.
    """
    row, is_batch = find_row(connection, name)
    if is_batch and row.kind != "provider":
        raise NotPossible(f"The lines of {row.provider_id or row.id} are its caller's to send again: in a batch anew.")
    if not is_batch and row.mode == "file":
        raise NotPossible(f"{row.id} is a line of a file: its caller may send it again in a batch anew.")
    _check_key(row, settings)
    mine = items.c.batch_id == row.id if is_batch else items.c.id == row.id
    failed = mine & (items.c.state == "done") & (items.c.status >= ERROR_FROM) & (items.c.mode != "file")
    found = connection.execute(select(items.c.id, items.c.body_bytes).where(failed)).all()
    if not found:
        raise NotPossible(f"{row.id} has no answer that is an error: there is nothing to ask again.")
    size = sum(one.body_bytes for one in found)
    number, there = admission.waiting(connection)
    if number + len(found) > settings.batch.queue_items_max or there + size > settings.batch.queue_bytes_max:
        raise NotPossible("The queue is full. Try again later, or raise batch.queue_items_max or queue_bytes_max.")
    for ids in finishing.pieces([one.id for one in found]):
        connection.execute(update(items).where(items.c.id.in_(ids)).values(**_AGAIN, **_times(now_ns)))
    admission.count(connection, len(found), size)
    return Changed(len(found), 1 if is_batch else 0)


_AGAIN: Final[dict[str, Any]] = {
    "state": "queued",
    "status": None,
    "headers": None,
    "reply": None,
    "done_ns": 0,
    "done_seq": 0,
    "delivered": False,
    "keep_until_ns": 0,
    "batch_id": "",
    "line": "",
    "tier": "",
    "run_after_ns": 0,
    "webhook_state": "",
    "webhook_attempts": 0,
}


def _times(now_ns: int) -> dict[str, Any]:
    wait_ns = items.c.deadline_ns - items.c.created_ns
    return {"attempts": items.c.attempts + 1, "created_ns": now_ns, "deadline_ns": wait_ns + now_ns}


def _check_key(row: Row[Any], settings: Settings) -> None:
    upstream = next((one for one in settings.upstreams if one.name == row.upstream), None)
    if upstream is None:
        raise NotPossible(f"There is no upstream {row.upstream} any more.")
    if not upstream.api_key and upstream.batch != "local":
        raise NotPossible(
            f"{row.id} was asked with its caller's key, which is not kept: only its caller can ask again."
        )
