"""Memory keeps the contract of a store, and never takes more than its bytes."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache.memory import Memory
from tests.unit.cache.entries import Clock, entry, key
from tests.unit.cache.store_contract import StoreContract


@dataclass
class InMemory:
    store: Memory
    clock: Clock

    async def spoil(self, key: str, position: int) -> None: ...


class TestMemory(StoreContract):
    keeps_objects = True

    @pytest.fixture
    def harness(self) -> InMemory:
        clock = Clock()
        return InMemory(Memory(100_000_000, clock), clock)


SIZE = entry(0).size


async def test_the_least_recently_used_makes_room() -> None:
    memory = Memory(3 * SIZE)
    for number in range(3):
        memory.keep(key(number), entry(number))
    assert memory.peek(key(0)) is not None
    memory.keep(key(3), entry(3))
    assert [memory.peek(key(number)) is not None for number in range(4)] == [True, False, True, True]
    stats = await memory.stats()
    assert (stats.entries, stats.evicted, stats.bytes) == (3, 1, 3 * SIZE)


async def test_what_is_larger_than_all_of_it_is_not_kept_and_evicts_nobody() -> None:
    memory = Memory(3 * SIZE)
    memory.keep(key(1), entry(1))
    memory.keep(key(2), entry(2))
    memory.keep(key(2), entry(2, size=3 * SIZE))
    assert memory.peek(key(1)) is not None
    assert memory.peek(key(2)) is None
    assert (await memory.stats()).skipped == 1


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 3000), st.sampled_from(["keep", "remove", "peek"]))))
def test_it_never_takes_more_than_its_bytes(steps: list[tuple[int, int, str]]) -> None:
    memory = Memory(5000)
    kept: dict[str, int] = {}
    for number, size, what in steps:
        if what == "keep":
            memory.keep(key(number), entry(number, size=size))
        elif what == "remove":
            memory.remove(key(number))
        else:
            memory.peek(key(number))
        kept = {name: one.size for name, one in memory._fresh()}
        assert sum(kept.values()) == memory._stats.bytes <= 5000


async def test_what_nobody_asks_for_any_more_is_let_go_when_it_has_expired() -> None:
    clock = Clock()
    memory = Memory(100_000, clock)
    memory.keep(key(1), entry(1, ttl_s=60, now_ns=clock()))
    memory.keep(key(2), entry(2, ttl_s=600, now_ns=clock()))
    clock.pass_s(60)
    memory.remove_expired()
    assert (await memory.stats()).entries == 1


async def test_a_second_look_is_not_a_second_miss() -> None:
    memory = Memory(100_000)
    memory.peek(key(1))
    memory.peek(key(1), counted=False)
    assert (await memory.stats()).misses == 1


async def test_what_fits_is_removed() -> None:
    memory = Memory(100_000)
    for number in range(4):
        memory.keep(key(number), entry(number, model=f"model-{number % 2}"))
    assert memory.remove_where(lambda _, one: one.model == "model-1") == 2
    assert [memory.peek(key(number)) is not None for number in range(4)] == [True, False, True, False]
