"""What is looked for goes down and comes up; what is purged is gone from every tier and every worker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from cache.disk import Disk
from cache.purge import Purges, Selection
from cache.tiers import Tiers, open_tiers
from tests.unit.cache.entries import Clock, entry, key


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk is waited for, however slow it is."""
    monkeypatch.setattr("cache.disk._TIMEOUT_S", 60.0)


def opened(folder: Path, **options: Any) -> Tiers:
    return open_tiers(directory=folder, disk_bytes_max=100_000_000, tidy=False, **options)


@pytest.fixture
async def workers(tmp_path: Path) -> AsyncIterator[list[Tiers]]:
    """Of one machine."""
    workers = [opened(tmp_path, memory_bytes_max=10_000_000) for _ in range(2)]
    yield workers
    for tiers in workers:
        await tiers.aclose()


async def test_what_one_worker_keeps_the_other_finds_on_disk_and_then_in_memory(workers: list[Tiers]) -> None:
    here, there = workers
    kept = entry(1)
    here.put(key(1), kept)
    assert here.peek(key(1)) is kept
    assert await here.drain(60)
    assert there.peek(key(1)) is None
    assert await there.get(key(1)) == kept
    assert there.peek(key(1)) == kept
    stats = dict(await there.stats())
    assert (stats["memory"].misses, stats["memory"].hits, stats["disk"].hits) == (1, 1, 1)


async def test_what_nobody_has_is_one_miss_in_each_tier(workers: list[Tiers]) -> None:
    here = workers[0]
    assert here.peek(key(1)) is None
    assert await here.get(key(1)) is None
    assert [(name, one.misses) for name, one in await here.stats()] == [("memory", 1), ("disk", 1)]


async def test_what_is_deleted_is_gone_from_every_tier_and_worker(workers: list[Tiers]) -> None:
    here, there = workers
    here.put(key(1), entry(1))
    here.put(key(2), entry(2))
    assert await here.drain(60)
    assert await there.get(key(1)) is not None
    assert await here.delete(key(1)) is True
    assert (here.peek(key(1)), await here.get(key(1))) == (None, None)
    assert there.peek(key(1)) is not None
    there.tick()
    assert (there.peek(key(1)), await there.get(key(1))) == (None, None)
    assert await there.get(key(2)) is not None
    assert await here.delete(key(1)) is False


async def test_a_purge_takes_what_fits_and_nothing_else(workers: list[Tiers]) -> None:
    here, there = workers
    for number in range(8):
        one = entry(number, model=f"gpt-{number % 2}", namespace="team" if number < 4 else "", now_ns=1000 + number)
        here.put(key(number), one)
    assert await here.drain(60)
    for number in range(8):
        await there.get(key(number))
    assert await here.purge(Selection(model="gpt-*", namespace="team", until_ns=1002)) == {"memory": 3, "disk": 3}
    there.tick()
    assert [there.peek(key(number)) is not None for number in range(8)] == [False] * 3 + [True] * 5
    assert await here.purge(Selection(namespace="")) == {"memory": 4, "disk": 4}
    assert await here.purge(Selection()) == {"memory": 1, "disk": 1}
    there.tick()
    assert [there.peek(key(number)) for number in range(8)] == [None] * 8


async def test_what_comes_up_while_it_is_purged_does_not_stay(tmp_path: Path) -> None:
    """A worker that read an entry from disk before the purge came there must not give it after the purge."""
    clock = Clock()
    tiers = opened(tmp_path, memory_bytes_max=10_000_000, clock=clock)
    disk = Disk(tmp_path, 100_000_000, clock, tidy=False)
    await disk.put(key(1), entry(1, now_ns=clock()))
    Purges(tmp_path).append(Selection(key=key(1)))
    tiers.tick()
    assert await tiers.get(key(1)) is None
    assert tiers.peek(key(1)) is None
    clock.pass_s(1)
    await disk.put(key(1), entry(1, now_ns=clock()))
    assert await tiers.get(key(1)) is not None, "a reply from after the purge is another"
    for one in (tiers, disk):
        await one.aclose()


async def test_purges_are_forgotten_and_so_is_what_expired(tmp_path: Path) -> None:
    clock = Clock()
    tiers = open_tiers(directory=tmp_path, memory_bytes_max=10_000_000, clock=clock)
    tiers.put(key(1), entry(1, ttl_s=30, now_ns=clock()))
    await tiers.purge(Selection(key=key(2)))
    tiers.tick()
    assert len(tiers._recent) >= 1
    clock.pass_s(61)
    tiers.tick()
    tiers.tick()
    assert tiers._recent == []
    assert [(name, one.entries) for name, one in await tiers.stats()] == [("memory", 0)]
    await tiers.aclose()


async def test_no_tier_at_all_is_a_cache_that_holds_nothing() -> None:
    tiers = open_tiers(directory=None)
    tiers.put(key(1), entry(1))
    assert (tiers.peek(key(1)), await tiers.get(key(1)), await tiers.stats()) == (None, None, [])
    tiers.tick()
    assert await tiers.drain(1)
    await tiers.aclose()


async def test_only_the_disk_is_a_cache_too(tmp_path: Path) -> None:
    tiers = opened(tmp_path)
    tiers.put(key(1), entry(1))
    assert await tiers.drain(60)
    assert tiers.peek(key(1)) is None
    assert await tiers.get(key(1)) is not None
    assert [(name, found) async for name, found, _ in tiers.scan()] == [("disk", key(1))]
    await tiers.aclose()
    await asyncio.wait_for(tiers.aclose(), 60)
