"""Parts are run by whoever has the lease, each by itself, and stopped when it is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from proxy.batching.database import Database
from proxy.batching.dispatcher import Dispatcher
from proxy.batching.lease import Lease, LeaseHolder, LeaseLost
from tests.unit.proxy.batching.an_item import LASTING_S


class Counting:
    """Counts its steps; `meets` is called in each."""

    def __init__(self, name: str, meets: Callable[[int], None] = lambda _: None) -> None:
        self.name = name
        self.steps = 0
        self.closed = 0
        self._meets = meets

    async def step(self, lease: Lease) -> float:
        self.steps += 1
        self._meets(self.steps)
        await lease.run(lambda connection: None)
        return 0.001

    async def aclose(self) -> None:
        self.closed += 1


def holder_of(database: Database, name: str = "") -> LeaseHolder:
    return LeaseHolder(database, holder=name, expiry_s=LASTING_S)


async def until(ask: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not ask():
            await asyncio.sleep(0.005)


async def test_a_part_that_fails_does_not_stop_the_others(database: Database, caplog: pytest.LogCaptureFixture) -> None:
    def fail(_: int) -> None:
        raise ZeroDivisionError("on purpose")

    bad, good = Counting("bad", fail), Counting("good")
    stop = asyncio.Event()
    running = asyncio.create_task(Dispatcher(holder_of(database), lambda: [bad, good]).run(stop))
    await until(lambda: good.steps > 20 and bad.steps >= 2)
    stop.set()
    await running
    assert (bad.closed, good.closed) == (1, 1)
    assert caplog.text.count("The bad failed") == 1


async def test_when_the_lease_is_lost_all_parts_stop_and_it_is_asked_for_again(database: Database) -> None:
    def lose(step: int) -> None:
        if step == 3 and len(lives) == 1:
            raise LeaseLost("on purpose")

    lives: list[list[Counting]] = []

    def make() -> list[Counting]:
        lives.append([Counting("one", lose), Counting("two")])
        return lives[-1]

    stop = asyncio.Event()
    running = asyncio.create_task(Dispatcher(holder_of(database), make).run(stop))
    await until(lambda: len(lives) == 2 and lives[1][0].steps > 5)
    assert [part.closed for part in lives[0]] == [1, 1]
    stop.set()
    await running
    assert [part.closed for part in lives[1]] == [1, 1]


async def test_a_second_dispatcher_waits_until_the_first_gives_the_lease_back(database: Database) -> None:
    first, second = Counting("first"), Counting("second")
    stops = [asyncio.Event(), asyncio.Event()]
    running = [asyncio.create_task(Dispatcher(holder_of(database), lambda: [first]).run(stops[0]))]
    await until(lambda: first.steps > 0)
    running.append(asyncio.create_task(Dispatcher(holder_of(database), lambda: [second]).run(stops[1])))
    before = first.steps
    await until(lambda: first.steps > before + 20)
    assert second.steps == 0
    stops[0].set()
    await until(lambda: second.steps > 0)
    stops[1].set()
    await asyncio.gather(*running)


async def test_a_lease_in_ones_own_name_is_free_at_once(database: Database) -> None:
    dead = holder_of(database, "this machine")
    lease = await dead.acquire()
    assert lease is not None
    assert await holder_of(database, "another machine").acquire() is None
    next_one = holder_of(database, "this machine")
    assert await next_one.acquire() is not None
    with pytest.raises(LeaseLost):
        await lease.run(lambda connection: None)
    await next_one.release()
    await dead.release()
