"""What is added is on disk, and nobody but its owner sees it; a database that is away is told of and come back to."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, update

from proxy.batching.database import Database, queue_url
from proxy.batching.item import Answer
from proxy.batching.queue import Added, KeyReused, Queue, QueueFull, QueueUnavailable
from proxy.batching.sealing import Sealer, credential_id, encode_credential, opened
from proxy.batching.tables import items
from proxy.settings import Batch, Server, Settings
from tests.postgres import Postgres
from tests.unit.proxy.batching.an_item import OURS, answer, credential_ids, finished, item, rows, states

WAITING_FOR_A_LOCK = "SELECT pid FROM pg_stat_activity WHERE datname = %s AND wait_event_type = 'Lock'"
CREDENTIAL = encode_credential([(b"Authorization", b"Bearer sk-very-secret")])


async def test_what_was_added_is_there_for_all(queue: Queue, database: Database) -> None:
    assert await queue.add(item(1)) == Added("item-1", joined=False)
    assert states(database) == {"item-1": "queued"}
    found = await queue.find("item-1", OURS)
    assert found is not None
    assert (found.id, found.state, found.answer) == ("item-1", "queued", None)
    assert (found.created_ns, found.deadline_ns) == (item(1).created_ns, item(1).deadline_ns)


async def test_many_at_once_are_all_in(queue: Queue, database: Database) -> None:
    added = await asyncio.gather(*(queue.add(item(number, rejoin=f"q{number // 2}")) for number in range(600)))
    assert [one.joined for one in added] == [False, True] * 300
    assert len(states(database)) == 300


async def test_one_that_is_refused_keeps_no_other_out(settings: Settings, database: Database) -> None:
    queue = Queue(Settings(server=settings.server, batch=Batch(url=settings.batch.url, queue_items_max=2)))
    key = {"rejoin": "key", "rejoin_by_key": True}
    adds = [item(1, **key), item(2, body=b"{}", **key), item(3), item(4)]
    outcomes = await asyncio.gather(*(queue.add(one) for one in adds), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [Added, KeyReused, Added, QueueFull]
    assert states(database).keys() == {"item-1", "item-3"}
    await queue.aclose()


async def test_an_item_of_others_is_not_there(queue: Queue, database: Database) -> None:
    await queue.add(item(1))
    assert await queue.find("item-1", "scope of others") is None
    assert await queue.cancel("item-1", "scope of others") is None
    assert await queue.find("item-2", OURS) is None
    assert states(database) == {"item-1": "queued"}


async def test_the_answer_is_found_as_it_was_given(queue: Queue, database: Database) -> None:
    await queue.add(item(1, stream=True, include_usage=True))
    with database.transaction() as connection:
        answer(connection, finished(1, b"\x00reply", 429))
    found = await queue.find("item-1", OURS)
    assert found is not None
    assert (found.state, found.stream, found.include_usage) == ("done", True, True)
    assert found.answer == Answer(status=429, headers=[(b"x-request-id", b"req_1")], body=b"\x00reply")
    await queue.delivered("item-1")
    assert rows(database, "delivered") == {"item-1": True}


async def test_what_is_cancelled_says_so_and_what_is_done_stays(queue: Queue, database: Database) -> None:
    await queue.add(item(1))
    await queue.add(item(2))
    with database.transaction() as connection:
        answer(connection, finished(2))
    cancelled, done = await queue.cancel("item-1", OURS), await queue.cancel("item-2", OURS)
    assert cancelled is not None
    assert done is not None
    assert (cancelled.state, cancelled.answer, done.state) == ("cancelled", None, "done")


async def test_those_that_ended_are_told_in_their_order_and_once(queue: Queue, database: Database) -> None:
    for number in (1, 2, 3, 4):
        await queue.add(item(number))
    with database.transaction() as connection:
        answer(connection, finished(2))
    start, none = await queue.ended(-1)
    assert (start, none) == (1, [])
    await queue.cancel("item-3", OURS)
    with database.transaction() as connection:
        answer(connection, finished(1))
    newest, ended = await queue.ended(start)
    assert ended == ["item-3", "item-1"]
    assert await queue.ended(newest) == (newest, [])
    assert await queue.ended(0) == (newest, ["item-2", "item-3", "item-1"])


async def test_the_work_of_others_is_one_transaction(queue: Queue, database: Database) -> None:
    await queue.add(item(1))

    def change(connection: Connection, state: str, *, fail: bool) -> str:
        connection.execute(update(items).values(state=state))
        if fail:
            raise ZeroDivisionError
        return state

    assert await queue.run(lambda connection: change(connection, "running", fail=False)) == "running"
    with pytest.raises(ZeroDivisionError):
        await queue.run(lambda connection: change(connection, "batched", fail=True))
    assert states(database) == {"item-1": "running"}
    assert await queue.read(lambda connection: connection.execute(items.select()).one().state) == "running"


async def test_a_key_is_nowhere_in_the_clear(tmp_path: Path) -> None:
    settings = Settings(server=Server(data_dir=str(tmp_path)))
    queue, database = Queue(settings), Database.open(queue_url(settings))
    for number in (1, 2):
        await queue.add(item(number), CREDENTIAL)
    await queue.add(item(3), b"")
    assert rows(database, "credential") == {
        "item-1": credential_id(CREDENTIAL),
        "item-2": credential_id(CREDENTIAL),
        "item-3": "",
    }
    with database.reading() as connection:
        assert opened(connection, credential_id(CREDENTIAL), Sealer.of(settings))[0][1] == b"Bearer sk-very-secret"
    written = b"".join(path.read_bytes() for path in (tmp_path / "batch").iterdir())
    assert b"item-1" in written, "this is where it would be"
    assert b"sk-very-secret" not in written
    await queue.cancel("item-1", OURS)
    await queue.cancel("item-2", OURS)
    assert credential_ids(database) == set()
    await queue.add(item(4), CREDENTIAL)
    assert credential_ids(database) == {credential_id(CREDENTIAL)}
    await queue.aclose()
    database.close()


async def test_a_caller_that_left_before_its_turn_is_not_added(queue: Queue, database: Database) -> None:
    await queue.ended(-1)
    busy, go_on = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def hold(connection: Connection) -> None:
        loop.call_soon_threadsafe(busy.set)
        assert go_on.wait(30)

    holding = asyncio.create_task(queue.run(hold))
    await busy.wait()
    leaving, staying = asyncio.create_task(queue.add(item(1))), asyncio.create_task(queue.add(item(2)))
    await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.wait([leaving])
    go_on.set()
    await holding
    assert (await staying).id == "item-2"
    assert states(database).keys() == {"item-2"}


async def test_nothing_is_taken_after_the_end(settings: Settings) -> None:
    queue = Queue(settings)
    await queue.add(item(1))
    await queue.aclose()
    await queue.aclose()
    for call in (queue.add(item(2)), queue.find("item-1", OURS)):
        with pytest.raises(QueueUnavailable, match="shutting down"):
            await call


async def test_a_place_that_cannot_be_is_tried_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
    (tmp_path / "batch").write_bytes(b"")
    queue = Queue(Settings(server=Server(data_dir=str(tmp_path))))
    for _ in range(3):
        with pytest.raises(QueueUnavailable, match="File exists"):
            await queue.add(item(1))
    assert [record.name for record in caplog.records].count("proxy.batching.queue") == 1
    (tmp_path / "batch").unlink()
    assert (await queue.add(item(1))).id == "item-1"
    await queue.aclose()


@pytest.fixture
def apart(postgres: Postgres, tmp_path: Path) -> Settings:
    """Of a queue on PostgreSQL whose database nobody else uses."""
    return Settings(server=Server(data_dir=str(tmp_path)), batch=Batch(url=postgres.new()))


@pytest.fixture
async def shared(apart: Settings) -> AsyncIterator[Queue]:
    queue = Queue(apart, within_s=60.0)
    yield queue
    await queue.aclose()


async def test_a_database_that_is_down_is_told_and_used_again(shared: Queue, postgres: Postgres) -> None:
    await shared.add(item(1))
    postgres.stop()
    try:
        for call in (shared.add(item(2)), shared.find("item-1", OURS), shared.cancel("item-1", OURS)):
            with pytest.raises(QueueUnavailable):
                await call
    finally:
        postgres.start()
    await shared.add(item(3))
    assert await shared.find("item-1", OURS) is not None
    assert await shared.find("item-3", OURS) is not None


async def test_a_restart_between_two_calls_is_not_noticed(shared: Queue, postgres: Postgres) -> None:
    await shared.add(item(1))
    await shared.find("item-1", OURS)
    postgres.stop()
    postgres.start()
    assert (await shared.add(item(2))).id == "item-2"
    assert await shared.find("item-1", OURS) is not None


async def test_a_database_that_is_slow_is_not_waited_for(shared: Queue, apart: Settings, postgres: Postgres) -> None:
    await shared.add(item(1))
    hasty = Queue(apart, within_s=0.5)
    with postgres.connect(f"queue_{postgres.made - 1}") as other, other.transaction():
        other.execute("LOCK TABLE items IN ACCESS EXCLUSIVE MODE")
        for call in (hasty.add(item(2)), hasty.find("item-1", OURS)):
            with pytest.raises(QueueUnavailable, match="took longer"):
                await call
    assert await shared.find("item-1", OURS) is not None
    await hasty.aclose()


async def test_a_connection_that_breaks_in_the_middle_is_made_anew_and_nothing_is_added_twice(
    shared: Queue, postgres: Postgres
) -> None:
    await shared.add(item(1))
    name = f"queue_{postgres.made - 1}"
    with postgres.connect(name) as other:
        with other.transaction():
            other.execute("LOCK TABLE items IN ACCESS EXCLUSIVE MODE")
            # It waits for the lock, and then the server ends its connection.
            adding = asyncio.create_task(shared.add(item(2)))
            while not (waiting := other.execute(WAITING_FOR_A_LOCK, [name]).fetchall()):
                await asyncio.sleep(0.01)
            other.execute("SELECT pg_terminate_backend(%s)", waiting[0])
        assert (await adding) == Added("item-2", joined=False)
        assert other.execute("SELECT count(*) FROM items").fetchone() == (2,)
