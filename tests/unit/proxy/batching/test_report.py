"""What an operator sees of the queue, and what of it may be changed."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from sqlalchemy import insert, select, update

from proxy.batching.database import Database
from proxy.batching.intervention import Changed, cancel, retry
from proxy.batching.report import NoQueue, NotPossible, Overview, find, open_queue, overview
from proxy.batching.tables import batches, items
from proxy.settings import Batch, Server, Settings, Upstream
from tests.unit.proxy.batching.an_item import CREATED_NS, NOW_NS, answer, counted, finished, item, put, states

SECRET = b'{"model":"gpt-4o-mini","messages":["a word of the caller"]}'
OPENAI = Upstream(name="openai", base_url="https://api.openai.com/v1", api_key="env:KEY")
SETTINGS = Settings(upstreams=(OPENAI,))


def add_batch(database: Database, name: str = "b-one", **changes: Any) -> None:
    given: dict[str, Any] = {
        "id": name,
        "kind": "provider",
        "state": "created",
        "upstream": "openai",
        "model": "gpt-4o-mini",
        "provider_id": f"batch_{name}",
        "status": "in_progress",
        "created_ns": CREATED_NS,
        "deadline_ns": CREATED_NS + 3_600_000_000_000,
        "total": 3,
        "context": item().context,
    }
    with database.transaction() as connection:
        connection.execute(insert(batches).values(**given | changes))


def into_batch(database: Database, *names: str, batch: str = "b-one") -> None:
    with database.transaction() as connection:
        changed = update(items).where(items.c.id.in_(names)).values(state="batched", batch_id=batch)
        connection.execute(changed)


def listed(database: Database, **filters: Any) -> list[Overview]:
    with database.reading() as connection:
        return overview(connection, **filters)


def found(database: Database, name: str) -> Overview:
    with database.reading() as connection:
        return find(connection, name)


def test_what_waits_is_summed_up_before_the_batches(database: Database) -> None:
    put(database, *(item(number) for number in range(1, 4)), item(4, model="o3"))
    add_batch(database, "older")
    add_batch(database, "newer", created_ns=CREATED_NS + 1)
    seen = [(one.kind, one.id, one.model, one.total) for one in listed(database)]
    assert seen == [
        ("waiting", "", "gpt-4o-mini", 3),
        ("waiting", "", "o3", 1),
        ("provider", "older", "gpt-4o-mini", 3),
        ("provider", "newer", "gpt-4o-mini", 3),
    ]


def test_filters_and_limit(database: Database) -> None:
    put(database, item(1))
    add_batch(database, "one", status="completed", state="finished")
    add_batch(database, "two", upstream="azure", created_ns=CREATED_NS + 1)
    assert [one.id for one in listed(database, state="completed")] == ["one"]
    assert [one.id for one in listed(database, upstream="azure")] == ["two"]
    assert [one.kind for one in listed(database, state="queued")] == ["waiting"]
    assert [one.id for one in listed(database, limit=1)] == ["", "two"]


def test_lines_with_answers_are_counted_even_after_they_are_forgotten(database: Database) -> None:
    put(database, item(1), item(2), item(3))
    add_batch(database)
    into_batch(database, "item-1", "item-2", "item-3")
    with database.transaction() as connection:
        answer(connection, finished(1), finished(2, status=500))
    assert (found(database, "b-one").completed, found(database, "b-one").failed) == (1, 1)
    add_batch(
        database, "gone", total=9, completed=7, failed=2, state="finished", status="completed", completed_ns=NOW_NS
    )
    gone = found(database, "gone")
    assert (gone.total, gone.completed, gone.failed, gone.is_over) == (9, 7, 2, True)


def test_a_batch_or_item_is_found_by_its_ids_and_their_beginnings(database: Database) -> None:
    put(database, item(1), item(2))
    add_batch(database, "b-one-and-only")
    assert found(database, "item-1").kind == "item"
    assert found(database, "batch_b-one-and-only").id == "b-one-and-only"
    assert found(database, "b-one-").id == "b-one-and-only"
    for name in ("item-", "b-on", "nothing", "", "%%%%%%%"):
        with pytest.raises(NotPossible):
            found(database, name)


def test_nothing_that_a_caller_wrote_is_shown(database: Database) -> None:
    put(database, item(1, body=SECRET, webhook="https://hooks.example/secret-path"))
    add_batch(database, metadata='{"secret":"word of the caller"}', errors="word of the caller")
    shown = msgspec.json.encode([*listed(database), found(database, "item-1"), found(database, "b-one")])
    assert b"word of the caller" not in shown
    assert b"secret-path" not in shown


def test_a_queue_that_nobody_made_is_not_made_by_looking(tmp_path: Any) -> None:
    with pytest.raises(NoQueue):
        open_queue(Settings(server=Server(data_dir=str(tmp_path))))
    assert not list(tmp_path.iterdir())


def test_an_item_is_cancelled_once(database: Database) -> None:
    put(database, item(1))
    with database.transaction() as connection:
        assert cancel(connection, "item-1", now_ns=NOW_NS, keep_s=1.0) == Changed(1, 0)
    assert states(database) == {"item-1": "cancelled"}
    with database.transaction() as connection, pytest.raises(NotPossible):
        cancel(connection, "item-1", now_ns=NOW_NS, keep_s=1.0)


def test_a_batch_is_cancelled_with_all_its_items_and_ended_at_its_provider(database: Database) -> None:
    put(database, item(1), item(2), item(3))
    add_batch(database, poll_at_ns=CREATED_NS * 2)
    into_batch(database, "item-1", "item-2")
    with database.transaction() as connection:
        assert cancel(connection, "batch_b-one", now_ns=NOW_NS, keep_s=1.0) == Changed(2, 1)
    assert states(database) == {"item-1": "cancelled", "item-2": "cancelled", "item-3": "queued"}
    with database.reading() as connection:
        row = connection.execute(select(batches)).one()
    assert (row.deadline_ns, row.poll_at_ns) == (NOW_NS, NOW_NS)


def test_a_local_batch_is_cancelled_as_its_caller_would(database: Database) -> None:
    add_batch(database, kind="local", state="running", completed=1)
    with database.transaction() as connection:
        assert cancel(connection, "b-one", now_ns=NOW_NS, keep_s=1.0) == Changed(2, 1)
    assert found(database, "b-one").state == "cancelling"


@pytest.mark.parametrize("changes", [{"kind": "caller", "state": "watched"}, {"status": "completed"}])
def test_what_is_anothers_or_over_cannot_be_cancelled(database: Database, changes: dict[str, Any]) -> None:
    add_batch(database, **changes)
    with database.transaction() as connection, pytest.raises(NotPossible):
        cancel(connection, "b-one", now_ns=NOW_NS, keep_s=1.0)


def again(database: Database, name: str, settings: Settings = SETTINGS) -> Changed:
    with database.transaction() as connection:
        return retry(connection, name, settings, now_ns=NOW_NS)


def test_the_failed_items_of_a_batch_are_asked_again(database: Database) -> None:
    put(database, item(1), item(2), item(3))
    add_batch(database)
    into_batch(database, "item-1", "item-2")
    with database.transaction() as connection:
        answer(connection, finished(1), finished(2, status=500))
    assert again(database, "b-one") == Changed(1, 1)
    assert states(database) == {"item-1": "done", "item-2": "queued", "item-3": "queued"}
    assert counted(database) == (2, 2 * len(item().body))
    with database.reading() as connection:
        row = connection.execute(select(items).where(items.c.id == "item-2")).one()
    assert (row.status, row.reply, row.done_ns, row.done_seq, row.batch_id) == (None, None, 0, 0, "")
    assert (row.attempts, row.deadline_ns - NOW_NS) == (1, item(2).deadline_ns - item(2).created_ns)
    with database.transaction() as connection:
        assert answer(connection, finished(2)) == 1, "it can be answered anew"


def test_only_what_failed_is_asked_again_and_only_with_a_key_that_is_there(database: Database) -> None:
    put(database, item(1), item(2), item(3, mode="file"))
    with database.transaction() as connection:
        answer(connection, finished(1), finished(2, status=429), finished(3, status=500))
    keyless = Settings(upstreams=(msgspec.structs.replace(OPENAI, api_key=None),))
    full = Settings(upstreams=(OPENAI,), batch=Batch(queue_items_max=1))
    put(database, item(4))
    for name, settings in (
        ("item-1", SETTINGS),
        ("item-2", keyless),
        ("item-2", Settings(upstreams=())),
        ("item-2", full),
        ("item-3", SETTINGS),
    ):
        with pytest.raises(NotPossible):
            again(database, name, settings)
    assert again(database, "item-2") == Changed(1, 0)
