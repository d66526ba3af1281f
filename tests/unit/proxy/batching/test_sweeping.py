"""What has been kept long enough is forgotten, and nobody waits for ever."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import select, update

from proxy.batching.database import Database
from proxy.batching.lease import HeldLease, LeaseHolder
from proxy.batching.records import ItemRecords
from proxy.batching.sweeping import Sweeper
from proxy.batching.tables import batches, items
from proxy.settings import Settings
from tests.unit.proxy.batching import an_item
from tests.unit.proxy.batching.an_item import LASTING_S, item, put, states

LONG_AGO_NS = 1_000_000_000_000_000_000


@pytest.fixture
async def lease(database: Database) -> AsyncIterator[HeldLease]:
    holder = LeaseHolder(database, expiry_s=LASTING_S)
    held = await holder.acquire()
    assert held is not None
    yield held
    await holder.release()


@pytest.fixture
def sweeper(settings: Settings, database: Database) -> Sweeper:
    return Sweeper(settings, database, ItemRecords(settings))


def change(database: Database, number: int, **values: object) -> None:
    with database.transaction() as connection:
        connection.execute(update(items).where(items.c.id == f"item-{number}").values(**values))


async def test_old_answers_are_forgotten_and_newer_ones_kept(
    database: Database, lease: HeldLease, sweeper: Sweeper
) -> None:
    put(database, item(1), item(2), item(3), item(4))
    with database.transaction() as connection:
        for number in (1, 2, 3):
            an_item.answer(connection, an_item.finished(number))
    change(database, 1, keep_until_ns=LONG_AGO_NS)
    change(database, 2, keep_until_ns=time.time_ns() + 10**12)
    change(database, 3, keep_until_ns=time.time_ns() - 10**9, webhook_state="waiting")
    await sweeper.step(lease)
    assert sorted(states(database)) == ["item-2", "item-3", "item-4"]


async def test_an_item_whose_leader_is_gone_is_asked_itself(
    database: Database, lease: HeldLease, sweeper: Sweeper
) -> None:
    put(database, item(1), item(2), item(3))
    change(database, 1, line="item-9")
    change(database, 2, line="item-3")
    await sweeper.step(lease)
    assert an_item.rows(database, "line") == {"item-1": "", "item-2": "item-3", "item-3": ""}


async def test_an_item_of_an_upstream_that_is_gone_is_answered_when_it_is_late(
    database: Database, lease: HeldLease, sweeper: Sweeper
) -> None:
    put(database, item(1, upstream="gone"), item(2, upstream="gone"), item(3))
    change(database, 1, deadline_ns=LONG_AGO_NS)
    change(database, 2, deadline_ns=time.time_ns() + 10**12)
    change(database, 3, deadline_ns=LONG_AGO_NS)
    await sweeper.step(lease)
    assert states(database) == {"item-1": "done", "item-2": "queued", "item-3": "queued"}
    assert an_item.rows(database, "status")["item-1"] == 502
    assert an_item.recorded(database) == ["req-1"]


async def test_batches_that_are_long_over_are_forgotten(database: Database, lease: HeldLease, sweeper: Sweeper) -> None:
    rows = [
        {"id": f"{kind}-{state}", "kind": kind, "state": state, "upstream": "openai", "created_ns": LONG_AGO_NS}
        for kind, state in (("provider", "finished"), ("provider", "created"), ("local", "finished"))
    ]
    with database.transaction() as connection:
        connection.execute(batches.insert(), [{**row, "context": b""} for row in rows])
    await sweeper.step(lease)
    with database.reading() as connection:
        assert set(connection.scalars(select(batches.c.id))) == {"provider-created", "local-finished"}
