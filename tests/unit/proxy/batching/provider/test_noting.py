"""Which batches of callers are noted, and for how long."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import select, update

from proxy.batching.database import Database
from proxy.batching.item import Context, encode_context
from proxy.batching.provider.asked_lines import AskedLines
from proxy.batching.provider.noting import REMEMBERED_S, YOUNG_S, OwnBatch, note
from proxy.batching.tables import batches, credentials

SECOND = 1_000_000_000
NOW_S = 1_795_000_000
CONTEXT = encode_context(Context(request_id="r", trace_id="t", span_id="s", start_ns=1))


def batch(**changes: Any) -> OwnBatch:
    given = {"created_at": NOW_S, "expires_at": NOW_S + 86_400, "status": "validating", "id": "batch_1"}
    fields = {"object": "batch", "endpoint": "/v1/chat/completions", "input_file_id": "file-1"}
    return OwnBatch(**{**fields, **given, **changes})


def noted(database: Database, made: OwnBatch, upstream: str = "openai", credential: str = "k") -> list[Any]:
    with database.transaction() as connection:
        note(
            connection,
            made,
            upstream=upstream,
            scope="mine",
            credential=credential,
            sealed={credential: b"sealed"} if credential else {},
            context=CONTEXT,
            now_ns=NOW_S * SECOND,
            poll_s=10.0,
        )
        return list(connection.execute(select(batches).order_by(batches.c.id)))


def test_a_batch_is_watched_with_its_callers_key_until_its_first_look(database: Database) -> None:
    (row,) = noted(database, batch())
    assert (row.kind, row.state, row.upstream, row.provider_id, row.scope) == (
        *("caller", "watched", "openai", "batch_1", "mine"),
    )
    assert (row.path, row.input_file_id, row.credential) == ("/v1/chat/completions", "file-1", "k")
    assert row.poll_at_ns == (NOW_S + 10) * SECOND
    assert row.expires_ns == (NOW_S + 86_400) * SECOND
    with database.reading() as connection:
        assert connection.scalar(select(credentials.c.sealed)) == b"sealed"


def test_the_same_batch_is_one_row_and_that_of_another_upstream_is_another(database: Database) -> None:
    noted(database, batch())
    assert len(noted(database, batch(status="in_progress"))) == 1
    assert len(noted(database, batch(), upstream="azure", credential="")) == 2


def test_one_that_is_over_is_looked_after_at_once(database: Database) -> None:
    noted(database, batch())
    (row,) = noted(database, batch(status="completed"))
    assert row.poll_at_ns == NOW_S * SECOND


def test_what_was_recorded_stays_recorded(database: Database) -> None:
    noted(database, batch())
    with database.transaction() as connection:
        connection.execute(update(batches).values(state="recorded", poll_at_ns=7))
    (row,) = noted(database, batch(status="completed"))
    assert (row.state, row.poll_at_ns) == ("recorded", 7)


def test_old_batches_are_not_noted_and_are_remembered_for_longer_than_that(database: Database) -> None:
    assert noted(database, batch(created_at=NOW_S - YOUNG_S - 1)) == []
    assert len(noted(database, batch(created_at=NOW_S - YOUNG_S))) == 1
    assert REMEMBERED_S > YOUNG_S


def test_what_a_line_asked_is_given_once(tmp_path: Any) -> None:
    asked = AskedLines(tmp_path / "f" / "a.db")
    asked.add(
        [msgspec.json.encode({"custom_id": "a", "body": {"model": "m"}}), b"no line", b"[]", b'{"custom_id":"b"}']
    )
    asked.add([b'{"custom_id":"a","body":{"model":"another"}}'])
    assert asked.take("a") == b'{"model":"m"}'
    assert asked.take("a") is None
    assert asked.take("b") == b"{}"
    assert asked.take("nobody asked") == b"{}"
    assert asked.take("nobody asked") is None
    assert (tmp_path / "f" / "a.db").stat().st_mode & 0o077 == 0
    asked.close()
    assert not list((tmp_path / "f").iterdir())
