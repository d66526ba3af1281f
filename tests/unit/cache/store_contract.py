"""The contract of every tier of the cache. A tier's tests inherit `StoreContract` and say how to make one."""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

import pytest

from cache.store import Store
from tests.unit.cache.entries import Clock, entry, key


class Harness(Protocol):
    """A store and the place where it keeps things, which can be tampered with."""

    @property
    def store(self) -> Store: ...

    @property
    def clock(self) -> Clock: ...

    async def spoil(self, key: str, position: int) -> None:
        """Change the byte at `position` of what is kept for `key`."""


SIZES = (0, 300, 70_000, 2_000_000)
"""Of bodies: nothing, a row, a file, more than a socket's buffer."""


class StoreContract:
    """Override the fixture `harness`."""

    keeps_objects = False
    """Memory keeps the entry itself: there are no bytes to spoil."""

    @pytest.fixture
    def harness(self) -> Any:
        raise LookupError("A store's tests define the fixture `harness`.")

    @pytest.mark.parametrize("size", SIZES)
    async def test_what_was_put_is_got_back_equal(self, harness: Harness, size: int) -> None:
        kept = entry(1, size=size, ttl_s=60, namespace="team", stream=True, has_usage=False)
        await harness.store.put(key(1), kept)
        assert await harness.store.get(key(1)) == kept
        stats = await harness.store.stats()
        assert (stats.puts, stats.hits, stats.misses) == (1, 1, 0)

    async def test_what_was_not_put_is_missing(self, harness: Harness) -> None:
        await harness.store.put(key(1), entry(1))
        assert await harness.store.get(key(2)) is None
        stats = await harness.store.stats()
        assert (stats.hits, stats.misses, stats.failed) == (0, 1, 0)

    async def test_a_key_may_name_a_variant(self, harness: Harness) -> None:
        await harness.store.put(key(1), entry(1))
        await harness.store.put(key(1) + "-1", entry(2, size=70_000))
        assert await harness.store.get(key(1)) != await harness.store.get(key(1) + "-1") is not None

    @pytest.mark.parametrize("sizes", [(300, 400), (300, 70_000), (70_000, 300), (70_000, 80_000)])
    async def test_a_second_put_replaces_the_first(self, harness: Harness, sizes: tuple[int, int]) -> None:
        for number, size in enumerate(sizes):
            await harness.store.put(key(1), entry(number, size=size))
        assert await harness.store.get(key(1)) == entry(
            1, size=sizes[1], now_ns=(await self._only(harness.store))[1].created_ns
        )

    @pytest.mark.parametrize("size", [300, 70_000])
    async def test_what_is_deleted_is_gone(self, harness: Harness, size: int) -> None:
        await harness.store.put(key(1), entry(1, size=size))
        assert await harness.store.delete(key(1)) is True
        assert await harness.store.get(key(1)) is None
        assert await harness.store.delete(key(1)) is False

    async def test_what_has_expired_is_not_given_nor_scanned(self, harness: Harness) -> None:
        now_ns = harness.clock()
        await harness.store.put(key(1), entry(1, ttl_s=60, now_ns=now_ns))
        await harness.store.put(key(2), entry(2, ttl_s=0, now_ns=now_ns))
        harness.clock.pass_s(59)
        assert await harness.store.get(key(1)) is not None
        harness.clock.pass_s(1)
        assert await harness.store.get(key(1)) is None
        assert [found async for found, _ in harness.store.scan()] == [key(2)]
        harness.clock.pass_s(10 * 365 * 86_400)
        assert await harness.store.get(key(2)) is not None

    async def test_a_scan_gives_every_entry_once(self, harness: Harness) -> None:
        kept = {key(number): entry(number, size=300 if number % 10 else 70_000) for number in range(250)}
        for name, one in kept.items():
            await harness.store.put(name, one)
        found = [pair async for pair in harness.store.scan()]
        assert len(found) == len(kept)
        assert dict(found) == kept

    async def test_many_may_use_it_at_once(self, harness: Harness) -> None:
        kept = {key(number): entry(number, size=300 if number % 5 else 70_000) for number in range(50)}
        await asyncio.gather(*(harness.store.put(name, one) for name, one in kept.items()))
        found = await asyncio.gather(*(harness.store.get(name) for name in list(kept) * 3))
        assert found == [*kept.values()] * 3

    @pytest.mark.parametrize("size", [300, 70_000])
    @pytest.mark.parametrize("position", [0, 3, 5, 25, -1])
    async def test_what_is_corrupt_is_missing_counted_and_removed(
        self, harness: Harness, size: int, position: int
    ) -> None:
        if self.keeps_objects:
            pytest.skip("there are no bytes")
        await harness.store.put(key(1), entry(1, size=size))
        await harness.spoil(key(1), position)
        assert await harness.store.get(key(1)) is None
        assert (await harness.store.stats()).corrupt == 1
        assert await harness.store.delete(key(1)) is False
        await harness.store.put(key(1), entry(2, size=size))
        assert await harness.store.get(key(1)) is not None

    async def test_close_may_be_called_again_and_what_comes_later_is_a_miss(self, harness: Harness) -> None:
        await harness.store.put(key(1), entry(1))
        await harness.store.aclose()
        await harness.store.aclose()
        assert await harness.store.get(key(2)) is None

    async def test_the_name_stays(self, harness: Harness) -> None:
        assert harness.store.name == harness.store.name != ""

    async def _only(self, store: Store) -> tuple[str, Any]:
        (found,) = [pair async for pair in store.scan()]
        return found
