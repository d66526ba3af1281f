"""Coalescing: one search and one body for all, whoever leaves, and exactly one who pays."""

from __future__ import annotations

import asyncio
import gc
import weakref

import pytest

from proxy.caching.flights import Flight, Listener, SharedBody
from proxy.errors import UpstreamFault
from proxy.exchange import Exchange
from tests.unit.proxy.caching.exchanges import exchange


class Body:
    """Gives what it is fed. A read that is cancelled loses nothing."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[bytes | UpstreamFault] = asyncio.Queue()
        self.reads = 0
        self.at_once = 0
        self.closed = 0

    async def read(self) -> bytes:
        assert self.at_once == 0, "a body has one reader"
        self.at_once += 1
        self.reads += 1
        try:
            item = await self.queue.get()
        finally:
            self.at_once -= 1
        if isinstance(item, UpstreamFault):
            raise item
        return item

    async def aclose(self) -> None:
        self.closed += 1


class Shared:
    """A shared body with its three ends noted."""

    def __init__(self, members: int = 1, keep_bytes_max: int = 1000) -> None:
        self.body = Body()
        self.kept: list[tuple[bytes, bool]] = []
        self.closes = 0
        self.shared = SharedBody(
            self.body,
            lambda data, ended: self.kept.append((data, ended)),
            keep_bytes_max=keep_bytes_max,
            close=self.close,
            members=lambda: members,
        )

    def close(self) -> None:
        self.closes += 1

    def listener(self) -> Listener:
        return Listener(self.shared, lambda: None)

    def feed(self, *items: bytes | UpstreamFault) -> None:
        for item in items:
            self.body.queue.put_nowait(item)


async def read_all(listener: Listener) -> bytes:
    pieces = []
    while piece := await listener.read():
        pieces.append(piece)
    await listener.aclose()
    return b"".join(pieces)


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_all_hear_everything_and_the_body_is_read_once() -> None:
    made = Shared(3)
    first, second = made.listener(), made.listener()
    made.feed(b"a", b"b")
    assert await first.read() == b"a"
    both = asyncio.gather(read_all(first), read_all(second))
    await settle()
    late = made.listener()
    made.feed(b"c", b"")
    assert await both == [b"bc", b"abc"]
    assert await read_all(late) == b"abc"
    assert (made.body.reads, made.kept, made.closes, made.body.closed) == (4, [(b"abc", True)], 1, 1)


async def test_whoever_reads_may_leave_and_another_reads_on() -> None:
    made = Shared(2)
    first, second = made.listener(), made.listener()
    reading = asyncio.ensure_future(read_all(first))
    await settle()
    waiting = asyncio.ensure_future(read_all(second))
    await settle()
    reading.cancel()
    await asyncio.wait([reading])
    await first.aclose()
    made.feed(b"x", b"")
    assert await asyncio.wait_for(waiting, 5) == b"x"
    assert made.kept == [(b"x", True)]


async def test_the_last_to_leave_closes_the_body_and_says_what_there_was() -> None:
    made = Shared(2)
    first, second = made.listener(), made.listener()
    made.feed(b"a")
    assert await first.read() == b"a"
    await first.aclose()
    await first.aclose()
    assert (made.body.closed, made.kept) == (0, [])
    await second.aclose()
    assert (made.body.closed, made.kept, made.closes) == (1, [(b"a", False)], 1)


async def test_a_fault_is_everybodys_and_nothing_is_kept() -> None:
    made = Shared(2)
    first, second = made.listener(), made.listener()
    made.feed(b"a", UpstreamFault("It broke.", code="connection_reset"))
    for listener in (first, second):
        assert await listener.read() == b"a"
        with pytest.raises(UpstreamFault, match="It broke"):
            await listener.read()
        await listener.aclose()
    assert (made.kept, made.closes, made.body.closed) == ([], 1, 1)


async def test_what_is_too_long_to_keep_is_not_held_for_one_listener() -> None:
    made = Shared(1, keep_bytes_max=10)
    listener = made.listener()
    made.feed(*[b"123456"] * 50, b"")
    sizes = []
    data = b""
    while piece := await listener.read():
        data += piece
        sizes.append(len(made.shared.pieces))
    assert (data, max(sizes), made.kept, made.closes) == (b"123456" * 50, 1, [], 2)


async def test_what_is_too_long_to_keep_is_held_for_those_who_have_not_heard_it() -> None:
    made = Shared(2, keep_bytes_max=10)
    first = made.listener()
    made.feed(*[b"123456"] * 5, b"")
    assert await read_all_but_close(first) == b"123456" * 5
    assert await read_all(made.listener()) == b"123456" * 5


async def read_all_but_close(listener: Listener) -> bytes:
    data = b""
    while piece := await listener.read():
        data += piece
    return data


# Flights


class Search:
    """A search that is told when to find what."""

    def __init__(self) -> None:
        self.result: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.cancelled = False
        self.discarded: list[str] = []
        self.closes = 0
        self.flight: Flight[str] | None = None
        self.tasks: dict[str, asyncio.Task[str]] = {}

    async def run(self, flight: Flight[str]) -> str:
        """As the leader does it."""
        try:
            found = await self.result
        except BaseException as error:
            self.cancelled = isinstance(error, asyncio.CancelledError)
            flight.failed(error)
            raise
        flight.landed(found)
        return found

    def close(self) -> None:
        self.closes += 1

    def enter(self, one: Exchange) -> None:
        if self.flight is None:
            one.cache_status = "miss"
            self.flight = Flight(one, self.close, self.discarded.append)
            call = self.run(self.flight)
        else:
            one.cache_status = "coalesced"
            call = self.flight.follow(one)
        self.tasks[one.request_id] = asyncio.ensure_future(call)

    def hang_up(self, one: Exchange) -> None:
        """As the server does it."""
        task = self.tasks[one.request_id]
        if one.departed is None or not one.departed(task):
            task.cancel()


@pytest.fixture
async def abc() -> tuple[Search, Exchange, Exchange, Exchange]:
    """A leader and two who follow."""
    search = Search()
    exchanges = exchange("a"), exchange("b"), exchange("c")
    for one in exchanges:
        search.enter(one)
        await settle()
    return search, *exchanges


Three = tuple[Search, Exchange, Exchange, Exchange]


def statuses(*exchanges: Exchange) -> list[str]:
    return [one.cache_status for one in exchanges]


async def test_one_search_for_all(abc: Three) -> None:
    search, a, b, c = abc
    search.result.set_result("found")
    assert await asyncio.gather(*search.tasks.values()) == ["found"] * 3
    assert statuses(a, b, c) == ["miss", "coalesced", "coalesced"]
    assert a.departed is None
    late = exchange("d")
    search.enter(late)
    assert await search.tasks["d"] == "found"


async def test_a_follower_who_leaves_disturbs_nobody(abc: Three) -> None:
    search, a, b, c = abc
    search.hang_up(b)
    await settle()
    search.result.set_result("found")
    assert await search.tasks["a"] == await search.tasks["c"] == "found"
    assert search.tasks["b"].cancelled()
    assert statuses(a, b, c) == ["miss", "coalesced", "coalesced"]


async def test_the_leader_who_leaves_hands_over(abc: Three) -> None:
    search, a, b, c = abc
    search.hang_up(a)
    await settle()
    assert statuses(a, b, c) == ["coalesced", "miss", "coalesced"]
    search.hang_up(b)
    await settle()
    assert statuses(a, b, c) == ["coalesced", "coalesced", "miss"]
    assert not search.cancelled
    search.result.set_result("found")
    assert await search.tasks["c"] == "found"
    await settle()
    assert search.tasks["a"].cancelled(), "its caller is gone"
    assert search.discarded == []


async def test_the_last_to_leave_ends_the_search_and_pays(abc: Three) -> None:
    search, a, b, c = abc
    for one in (a, b, c):
        search.hang_up(one)
        await settle()
    assert search.cancelled
    assert search.closes
    assert all(task.cancelled() for task in search.tasks.values())
    assert statuses(a, b, c) == ["coalesced", "coalesced", "miss"]


async def test_a_leader_alone_is_cancelled_at_once() -> None:
    search, a = Search(), exchange("a")
    search.enter(a)
    await settle()
    search.hang_up(a)
    assert search.closes, "nobody may join what is being cancelled"
    await settle()
    assert search.cancelled
    assert statuses(a) == ["miss"]


async def test_nobody_inherits_whose_record_is_written(abc: Three) -> None:
    search, a, b, c = abc
    search.result.set_result("found")
    await asyncio.gather(*search.tasks.values())
    for one, abandoned in ((b, False), (a, True), (c, True)):
        assert one.settle is not None
        one.settle(one, abandoned=abandoned)
    assert statuses(a, b, c) == ["coalesced", "coalesced", "miss"]


async def test_what_nobody_waits_for_any_more_is_discarded(abc: Three) -> None:
    search, a, b, c = abc
    search.hang_up(a)
    search.result.set_result("found")
    search.hang_up(b)
    search.hang_up(c)
    await settle()
    assert search.discarded == ["found"]
    assert all(task.cancelled() for task in search.tasks.values())


async def test_what_was_found_as_the_last_one_left_is_discarded(abc: Three) -> None:
    search, a, b, c = abc
    search.hang_up(a)
    search.hang_up(b)
    await settle()
    search.result.set_result("found")
    await asyncio.sleep(0)
    search.hang_up(c)
    await settle()
    assert search.tasks["c"].cancelled()
    assert search.discarded == ["found"]


async def test_what_is_over_does_not_wait_for_the_garbage_collector() -> None:
    """A call holds its body: a cycle through it would keep that too."""
    search, a = Search(), exchange("a")
    search.enter(a)
    await settle()
    assert search.flight is not None
    assert a.settle is not None
    flight = weakref.ref(search.flight)
    search.result.set_result("found")
    assert await search.tasks.pop("a") == "found"
    search.flight.leave(a)
    a.settle(a, abandoned=False)
    gc.disable()
    try:
        search.flight = None
        assert flight() is None
    finally:
        gc.enable()


async def test_a_search_that_fails_fails_for_all(abc: Three) -> None:
    search, *_ = abc
    search.result.set_exception(UpstreamFault("No reply.", code="connect_failed"))
    for task in search.tasks.values():
        with pytest.raises(UpstreamFault):
            await task
    assert search.closes


async def test_when_the_worker_stops_all_are_cancelled(abc: Three) -> None:
    search, *_ = abc
    search.tasks["a"].cancel()
    await settle()
    assert all(task.cancelled() for task in search.tasks.values())
