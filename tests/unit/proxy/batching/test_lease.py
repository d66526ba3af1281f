"""One dispatcher at a time; what another one writes is not written."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import Connection, insert, select, update

from proxy.batching.database import Database
from proxy.batching.lease import HeldLease, LeaseHolder, LeaseLost
from proxy.batching.tables import counters, items, leases
from tests.unit.proxy.batching.an_item import LASTING_S, item, put, states


def holder_of(database: Database, name: str = "dispatcher") -> LeaseHolder:
    return LeaseHolder(database, name, expiry_s=LASTING_S)


def write(connection: Connection) -> None:
    connection.execute(insert(counters).values(name="written", value=1))


def written(database: Database) -> bool:
    with database.reading() as connection:
        return connection.scalar(select(counters.c.value).where(counters.c.name == "written")) == 1


def expires_ns(database: Database) -> int:
    with database.reading() as connection:
        return connection.scalars(select(leases.c.expires_ns)).one()


def let_it_expire(database: Database) -> None:
    with database.transaction() as connection:
        now_ns = database.now_ns(connection)
        connection.execute(update(leases).values(expires_ns=now_ns))


async def test_only_one_has_it(database: Database) -> None:
    first, second = holder_of(database), holder_of(database)
    lease = await first.acquire()
    assert lease is not None
    assert await second.acquire() is None
    assert await holder_of(database, "another").acquire() is not None
    await lease.run(write)
    assert written(database)
    await first.release()


async def test_another_takes_over_when_it_has_expired_and_the_first_writes_no_more(database: Database) -> None:
    first, second = holder_of(database), holder_of(database)
    old = await first.acquire()
    let_it_expire(database)
    new = await second.acquire()
    assert old is not None
    assert new is not None
    for _ in range(2):
        with pytest.raises(LeaseLost):
            await old.run(write)
    assert old.lost
    assert not written(database)
    await new.run(write)
    assert written(database)
    await first.release()
    await new.run(lambda connection: None)  # What the first gave back was not the second's.
    await second.release()


async def test_a_holder_whose_lease_nobody_took_goes_on(database: Database) -> None:
    holder = holder_of(database)
    lease = await holder.acquire()
    assert lease is not None
    let_it_expire(database)
    await lease.run(write)
    assert written(database)
    assert await holder_of(database).acquire() is None
    await holder.release()


async def test_one_that_acquires_again_does_not_write_by_its_old_lease(database: Database) -> None:
    holder = holder_of(database)
    old = await holder.acquire()
    new = await holder.acquire()
    assert old is not None
    assert new is not None
    assert new.epoch > old.epoch
    with pytest.raises(LeaseLost):
        await old.run(write)
    await holder.release()


async def test_an_earlier_epoch_of_the_same_holder_writes_no_more(database: Database) -> None:
    """One that slept through its own successor: it does not know yet that it has lost."""
    holder = holder_of(database)
    lease = await holder.acquire()
    assert lease is not None
    with database.reading() as connection:
        name = connection.scalars(select(leases.c.holder)).one()
    with pytest.raises(LeaseLost):
        await HeldLease(database, "dispatcher", name, lease.epoch - 1, 15.0).run(write)
    assert not written(database)
    await HeldLease(database, "dispatcher", name, lease.epoch, 15.0).run(write)
    assert written(database)
    await holder.release()


async def test_it_is_renewed_while_nothing_is_written(database: Database) -> None:
    holder = LeaseHolder(database, expiry_s=0.06)
    await holder.acquire()
    before_ns = expires_ns(database)
    async with asyncio.timeout(30):
        while expires_ns(database) == before_ns:
            await asyncio.sleep(0.01)
    await holder.release()
    await holder.release()


async def test_one_that_was_given_back_is_free_at_once(database: Database) -> None:
    first, second = holder_of(database), holder_of(database)
    lease = await first.acquire()
    await first.release()
    assert lease is not None
    with pytest.raises(LeaseLost):
        await lease.run(write)
    assert await second.acquire() is not None
    await second.release()


async def test_what_fails_is_not_written(database: Database) -> None:
    holder = holder_of(database)
    lease = await holder.acquire()
    assert lease is not None

    def write_and_fail(connection: Connection) -> None:
        write(connection)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await lease.run(write_and_fail)
    assert not written(database)
    await holder.release()


async def test_the_next_holder_asks_again_what_the_last_one_was_asking(database: Database) -> None:
    put(database, item(1))
    first, second = holder_of(database), holder_of(database)
    lease = await first.acquire()
    assert lease is not None
    await lease.run(lambda connection: connection.execute(update(items).values(state="running")))
    let_it_expire(database)
    await second.acquire()
    assert states(database) == {"item-1": "queued"}
    await first.release()
    await second.release()
