"""Redis keeps the contract of a store; one that is killed, stopped or full is passed over and comes back."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis.asyncio

from cache.packing import pack
from cache.purge import Selection
from cache.redis import PREFIX, Redis, RedisUnusable
from cache.tiers import Tiers, open_tiers
from tests.ports import held_port
from tests.unit.cache.entries import Clock, entry, key
from tests.unit.cache.store_contract import StoreContract

pytestmark = pytest.mark.skipif(shutil.which("redis-server") is None, reason="redis-server is not installed")

PATIENT_S = 60.0
"""Longer than a busy machine takes for anything."""


class Server:
    """Debian's redis-server on one port, without files."""

    def __init__(self, folder: Path, port: int) -> None:
        self.port = port
        self.folder = folder
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", self.folder]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + PATIENT_S
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1) as connection:
                connection.sendall(b"PING\r\n")
                if connection.recv(5) == b"+PONG":
                    return
            time.sleep(0.02)
        raise AssertionError("redis-server did not start")

    def stand_still(self) -> None:
        """It does when this returns."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)
        seen = psutil.Process(self.process.pid)
        deadline = time.monotonic() + PATIENT_S
        while seen.status() != psutil.STATUS_STOPPED:
            assert time.monotonic() < deadline, "redis-server goes on"
            time.sleep(0.005)

    def go_on(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(PATIENT_S)
            self.process = None


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Server]:
    with held_port() as port:
        server = Server(folder, port)
        try:
            server.start()
            yield server
        finally:
            server.kill()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """One of its own, for a test that does it harm."""
    with running(tmp_path) as server:
        yield server


@contextlib.asynccontextmanager
async def connected(url: str) -> AsyncIterator[Any]:
    client = redis.asyncio.Redis.from_url(url)
    try:
        yield client
    finally:
        await client.aclose()


@dataclass
class InRedis:
    store: Redis
    clock: Clock
    url: str

    async def spoil(self, key: str, position: int) -> None:
        async with connected(self.url) as client:
            data = bytearray(await client.get(PREFIX + key))
            data[position] ^= 1
            await client.set(PREFIX + key, bytes(data))


class TestRedis(StoreContract):
    @pytest.fixture
    async def harness(self, shared: Server) -> AsyncIterator[InRedis]:
        async with connected(shared.url) as client:
            await client.flushall()
        clock = Clock()
        store = Redis(shared.url, PATIENT_S, clock)
        yield InRedis(store, clock, shared.url)
        await store.aclose()

    async def test_redis_itself_lets_go_of_what_has_expired(self, harness: InRedis) -> None:
        await harness.store.put(key(1), entry(1, ttl_s=60, now_ns=harness.clock()))
        await harness.store.put(key(2), entry(2))
        await harness.store.put(key(3), entry(3, ttl_s=60, now_ns=harness.clock() - 60 * 10**9))
        async with connected(harness.url) as client:
            assert 0 < await client.pttl(PREFIX + key(1)) <= 60_000
            assert await client.pttl(PREFIX + key(2)) == -1
            assert await client.exists(PREFIX + key(3)) == 0

    async def test_a_purge_leaves_what_others_keep_there(self, harness: InRedis) -> None:
        async with connected(harness.url) as client:
            await client.set("somebody:else", b"1")
            for number in range(250):
                await harness.store.put(key(number), entry(number))
            assert await harness.store.clear() == 250
            assert await client.keys() == [b"somebody:else"]


Open = Callable[..., Redis]


@pytest.fixture
async def opened() -> AsyncIterator[Open]:
    """Makes stores, and closes them also when the test fails: uvloop does not end while a connection is open."""
    stores: list[Redis] = []

    def make(*arguments: Any, **options: Any) -> Redis:
        stores.append(Redis(*arguments, **options))
        return stores[-1]

    yield make
    for store in stores:
        await store.aclose()


class Monotonic:
    """A clock that stands, or jumps over the pauses after a fault."""

    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


async def until(store: Redis, monotonic: Monotonic, number: int) -> None:
    """Put and get succeed again, each try after the longest pause."""
    deadline = time.monotonic() + PATIENT_S
    while time.monotonic() < deadline:
        monotonic.now_s += 60
        await store.put(key(number), entry(number))
        if await store.get(key(number)) is not None:
            return
        await asyncio.sleep(0.02)
    raise AssertionError("the store did not recover")


async def test_a_server_that_is_killed_is_skipped_and_found_again_when_it_is_back(server: Server, opened: Open) -> None:
    monotonic = Monotonic()
    store = opened(server.url, PATIENT_S, monotonic=monotonic)
    await store.put(key(1), entry(1))
    assert await store.get(key(1)) is not None
    server.kill()
    assert await store.get(key(1)) is None
    before = await store.stats()
    assert before.failed == 1
    for number in range(10):
        assert await store.get(key(number)) is None
        await store.put(key(number), entry(number))
    after = await store.stats()
    assert (after.failed, after.skipped) == (1, 20)
    server.start()
    await until(store, monotonic, 1)
    await store.aclose()


async def test_a_server_that_stands_still_costs_one_timeout_and_no_more(server: Server, opened: Open) -> None:
    monotonic = Monotonic()
    store = opened(server.url, 0.05, monotonic=monotonic)
    await until(store, monotonic, 1)
    failed = (await store.stats()).failed
    server.stand_still()
    try:
        found = await asyncio.gather(*(store.get(key(1)) for _ in range(50)))
        assert found == [None] * 50
        assert await store.get(key(1)) is None
        stats = await store.stats()
        assert stats.failed > failed
        assert stats.skipped >= 1
        await store.put(key(2), entry(2))
        assert (await store.stats()).skipped == stats.skipped + 1
    finally:
        server.go_on()
    await until(store, monotonic, 3)
    await store.aclose()


async def test_what_waits_for_a_server_that_stands_still_is_bounded(server: Server, opened: Open) -> None:
    store = opened(server.url, PATIENT_S)
    server.stand_still()
    for number in range(100):
        store.offer(key(number), entry(number))
    assert (await store.stats()).skipped == 36
    await store.aclose()
    other = opened(server.url, PATIENT_S)
    for number in range(9):
        other.offer(key(number), entry(number, size=5_000_000))
    assert (await other.stats()).skipped == 3
    await other.aclose()
    server.go_on()


async def test_a_full_server_is_read_all_the_same(server: Server, opened: Open) -> None:
    store = opened(server.url, PATIENT_S, monotonic=Monotonic())
    await store.put(key(1), entry(1))
    async with connected(server.url) as client:
        await client.config_set("maxmemory", "1")
    await store.put(key(2), entry(2))
    await store.put(key(3), entry(3))
    assert await store.get(key(1)) is not None
    stats = await store.stats()
    assert (stats.failed, stats.skipped, stats.hits) == (1, 1, 1)
    await store.aclose()


async def test_nobody_there_and_nonsense_are_misses(caplog: pytest.LogCaptureFixture, opened: Open) -> None:
    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()
        writer.close()

    stranger = await asyncio.start_server(babble, "127.0.0.1", 0)
    port = stranger.sockets[0].getsockname()[1]
    for _ in range(2):
        store = opened(f"redis://:secret-word@127.0.0.1:{port}/0", PATIENT_S, monotonic=Monotonic())
        assert await store.get(key(1)) is None
        await store.put(key(1), entry(1))
        assert (await store.stats()).failed == 1
        await store.aclose()
        stranger.close()
        await stranger.wait_closed()
    assert "secret-word" not in caplog.text
    assert "goes on without its redis" in caplog.text


async def test_an_event_loop_that_is_slow_loses_no_timeout(opened: Open) -> None:
    """The time is over at the very moment at which the question was sent: it is over all the same."""
    asked, over = asyncio.Event(), asyncio.Event()
    connections: set[asyncio.Task[Any] | None] = set()

    async def late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.add(asyncio.current_task())
        while data := await reader.read(4096):
            if b"GET" in data:
                asked.set()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(over.wait(), 1)
                packed = pack(key(1), entry(1))
                writer.write(b"$%d\r\n%b\r\n" % (len(packed), packed))
            else:
                writer.write(b"-ERR unknown command\r\n" * data.count(b"*"))
        writer.close()

    loop = asyncio.get_running_loop()

    def hold_up() -> None:
        time.sleep(0.03)
        if not asked.is_set():
            loop.call_soon(hold_up)

    async with await asyncio.start_server(late, "127.0.0.1", 0) as server:
        store = opened(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0?protocol=2", 0.02)
        await store.ping()
        loop.call_soon(hold_up)
        assert await store.get(key(1)) is None
        assert (await store.stats()).failed == 1
        await store.aclose()
        over.set()
        await asyncio.wait([one for one in connections if one is not None])


def test_an_address_that_is_none_is_said_at_once() -> None:
    with pytest.raises(RedisUnusable, match="redis://host:6379/0"):
        Redis("http://127.0.0.1", 1.0)


class TestTiers:
    """Two machines that share a Redis: two folders."""

    @pytest.fixture
    async def machines(self, shared: Server, tmp_path: Path) -> AsyncIterator[list[Tiers]]:
        async with connected(shared.url) as client:
            await client.flushall()
        machines = [
            open_tiers(
                directory=tmp_path / name,
                memory_bytes_max=10_000_000,
                disk_bytes_max=100_000_000,
                redis_url=shared.url,
                redis_timeout_s=PATIENT_S,
                tidy=False,
            )
            for name in "ab"
        ]
        yield machines
        for tiers in machines:
            await tiers.aclose()

    async def test_what_one_keeps_the_other_finds_and_then_has_itself(
        self, machines: list[Tiers], shared: Server
    ) -> None:
        here, there = machines
        kept = entry(1, size=70_000)
        here.put(key(1), kept)
        assert await here.drain(PATIENT_S)
        assert there.peek(key(1)) is None
        assert await there.get(key(1)) == kept
        assert there.peek(key(1)) == kept
        assert await there.drain(PATIENT_S)
        async with connected(shared.url) as client:
            await client.flushall()
        stats = dict(await there.stats())
        assert (stats["disk"].puts, stats["redis"].hits) == (1, 1)

    async def test_a_purge_reaches_the_shared_tier(self, machines: list[Tiers]) -> None:
        here, there = machines
        for number in range(6):
            here.put(key(number), entry(number, model=f"gpt-{number % 2}"))
        assert await here.drain(PATIENT_S)
        assert await here.purge(Selection(model="gpt-1")) == {"memory": 3, "disk": 3, "redis": 3}
        found = [await there.get(key(number)) is not None for number in range(6)]
        assert found == [True, False] * 3
        assert await here.purge(Selection()) == {"memory": 3, "disk": 3, "redis": 3}
        assert [pair async for pair in here.scan()] == []
