"""Items by number, their answers and records, and what the queue says of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, select

from exporters.record import CallRecord, decode_record
from proxy.batching.admission import Newcomer, admit, waiting
from proxy.batching.database import Database
from proxy.batching.finishing import Finished, finish
from proxy.batching.item import Answer, Context, NewItem, encode_context
from proxy.batching.tables import credentials, items, outbox
from proxy.settings import Batch

CREATED_NS = 1_795_400_978_000_000_000
NOW_NS = CREATED_NS + 1_000_000_000
KEEP_S = 100.0
OURS = "scope of ours"
LASTING_S = 3600.0
"""Of a lease that a test is never too slow to hold, and that is not renewed under its hands."""


def item(number: int = 1, **changes: Any) -> NewItem:
    context = Context(
        request_id=f"req-{number}", trace_id=f"{number:032x}", span_id=f"{number:016x}", start_ns=CREATED_NS
    )
    given: dict[str, Any] = {
        "id": f"item-{number}",
        "mode": "async",
        "scope": OURS,
        "upstream": "openai",
        "endpoint": "chat",
        "path": "/v1/chat/completions",
        "model": "gpt-4o-mini",
        "body": b'{"model":"gpt-4o-mini","messages":[]}',
        "deadline_ns": CREATED_NS + 3_600_000_000_000,
        "created_ns": CREATED_NS + number,
        "lot": "lot",
        "context": encode_context(context),
    }
    return NewItem(**given | changes)


def put(database: Database, *new: NewItem, sealed: bytes | None = None) -> None:
    """Put items in, past the queue's threads."""
    with database.transaction() as connection:
        admit(connection, [Newcomer(one, sealed) for one in new], Batch(), NOW_NS)


def record(name: str, **changes: Any) -> CallRecord:
    given: dict[str, Any] = {
        "request_id": name,
        "trace_id": "1" * 32,
        "span_id": "2" * 16,
        "start_ns": CREATED_NS,
        "end_ns": NOW_NS,
        "method": "POST",
        "path": "/v1/chat/completions",
        "outcome": "answered",
    }
    return CallRecord(**given | changes)


def finished(number: int = 1, body: bytes = b"{}", status: int = 200) -> Finished:
    answer = Answer(status=status, headers=[(b"x-request-id", b"req_1")], body=body)
    return Finished(f"item-{number}", answer, record(f"item-{number}"))


def shared(row: Row[Any], answer: Answer, is_shared: bool) -> CallRecord:
    return record(f"{row.id} {'shared' if is_shared else 'own'}", response_body=answer.body)


def answer(connection: Connection, *done: Finished) -> int:
    return finish(connection, done, now_ns=NOW_NS, keep_s=KEEP_S, shared=shared)


def rows(database: Database, *names: str) -> dict[str, Any]:
    """A column, or a tuple of several, of every item by its id."""
    with database.reading() as connection:
        found = connection.execute(select(items.c.id, *(items.c[name] for name in names))).all()
    return {row[0]: row[1] if len(names) == 1 else tuple(row[1:]) for row in found}


def states(database: Database) -> dict[str, str]:
    return rows(database, "state")


def recorded(database: Database) -> Sequence[str]:
    """The request ids of the records that are owed, in order."""
    with database.reading() as connection:
        return [
            decode_record(data).request_id for data in connection.scalars(select(outbox.c.record).order_by(outbox.c.id))
        ]


def credential_ids(database: Database) -> set[str]:
    with database.reading() as connection:
        return set(connection.scalars(select(credentials.c.id)))


def counted(database: Database) -> tuple[int, int]:
    with database.reading() as connection:
        return waiting(connection)
