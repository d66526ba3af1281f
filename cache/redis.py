"""The third tier: replies in a Redis that several machines share. One that is down or slow is passed over."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar, cast

from .entry import Entry
from .faults import Complaints, Pause
from .packing import Corrupt, pack, unpack
from .store import StoreStats
from .threads import Threads

if TYPE_CHECKING:
    from redis.asyncio import Redis as Client

PREFIX: Final = "penstock:cache:"
_CONNECTIONS_MAX: Final = 16
_PUTS_MAX: Final = 64
_PUTS_BYTES_MAX: Final = 32 * 1024 * 1024
"""Of bodies on their way; beyond, a put is dropped."""
_LARGE_BYTES: Final = 64 * 1024
"""From here on an entry is packed in a thread: the digest of a few megabytes takes milliseconds."""
_COMMAND_TIMEOUT_S: Final = 5.0
"""Of one step of a scan or a purge, for which nobody's call waits."""
_STEP: Final = 100

T = TypeVar("T")


class RedisUnusable(Exception):
    """The tier cannot be built at all: no client library, or an address that is none. The text says what to do."""


class Redis:
    """Implements `Store`. Every operation is bounded as a whole, its connection included."""

    name: Final = "redis"

    def __init__(
        self,
        url: str,
        timeout_s: float,
        clock: Callable[[], int] = time.time_ns,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Connects when it is first used. Raises `RedisUnusable`."""
        self._client = _client(url)
        from redis.exceptions import RedisError, ResponseError

        self._refusals, self._faults = (ResponseError,), (RedisError,)
        self._timeout_s = timeout_s
        self._clock = clock
        self._stats = StoreStats()
        self._reads, self._writes = Pause(monotonic), Pause(monotonic)
        self._complaints = Complaints(self.name, monotonic)
        self._packing = Threads("cache-pack", 1, _PUTS_MAX)
        self._puts: set[asyncio.Task[None]] = set()
        self._puts_bytes = 0

    async def get(self, key: str) -> Entry | None:
        if self._reads.on:
            self._stats.skipped += 1
            return None
        data = await self._bounded(self._read(key), self._timeout_s, self._reads, None)
        entry = None if data is None else await self._unpacked(key, data)
        if entry is None or not entry.is_fresh(self._clock()):
            self._stats.misses += not self._reads.on
            return None
        self._stats.hits += 1
        return entry

    async def put(self, key: str, entry: Entry) -> None:
        if self._writes.on:
            self._stats.skipped += 1
            return
        left_ms = (entry.expires_ns - self._clock()) // 1_000_000 if entry.expires_ns else None
        if left_ms is not None and left_ms <= 0:
            return
        data = await self._packed(key, entry)
        if data is None:
            self._stats.skipped += 1
        elif await self._bounded(self._client.set(PREFIX + key, data, px=left_ms), self._timeout_s, self._writes, None):
            self._stats.puts += 1

    def offer(self, key: str, entry: Entry) -> None:
        """`put`, without waiting for it."""
        if self._writes.on or len(self._puts) >= _PUTS_MAX or self._puts_bytes + entry.size > _PUTS_BYTES_MAX:
            self._stats.skipped += 1
            return
        task = asyncio.get_running_loop().create_task(self.put(key, entry))
        self._puts.add(task)
        self._puts_bytes += entry.size
        task.add_done_callback(partial(self._offered, entry.size))

    async def delete(self, key: str) -> bool:
        return bool(await self._command(self._client.delete(PREFIX + key), 0))

    async def delete_all(self, keys: list[str]) -> int:
        """Returns how many there were."""
        if not keys:
            return 0
        return int(await self._command(self._client.unlink(*[PREFIX + key for key in keys]), 0))

    async def clear(self) -> int:
        """Remove everything that is below the prefix; returns how many entries went."""
        gone = 0
        async for names in self._names():
            gone += await self.delete_all(names)
        return gone

    async def scan(self) -> AsyncIterator[tuple[str, Entry]]:
        async for keys in self._names():
            for key in keys:
                data = await self._command(self._read(key), None)
                entry = None if data is None else await self._unpacked(key, data)
                if entry is not None and entry.is_fresh(self._clock()):
                    yield key, entry

    async def stats(self) -> StoreStats:
        """Without `entries` and `bytes`, which only a scan can tell: others may use the same database."""
        return replace(self._stats)

    async def drain(self, timeout_s: float) -> bool:
        """Wait until what was offered is there. False when it is not after `timeout_s`."""
        if self._puts:
            await asyncio.wait([*self._puts], timeout=timeout_s)
        return not self._puts

    async def ping(self) -> str:
        """Why Redis does not answer; "" when it does. Takes as long as a command may, whatever `timeout_s` is."""
        try:
            async with asyncio.timeout(_COMMAND_TIMEOUT_S):
                await self._client.ping()
        except self._refusals as error:
            return _refusal(error)
        except (TimeoutError, OSError, *self._faults) as error:
            return type(error).__name__
        return ""

    async def aclose(self) -> None:
        for task in [*self._puts]:
            task.cancel()
        self._packing.close()
        with contextlib.suppress(Exception):  # the server may be gone; the sockets are closed in any case
            async with asyncio.timeout(1):
                await self._client.aclose(close_connection_pool=True)

    async def _names(self) -> AsyncIterator[list[str]]:
        cursor = 0
        while True:
            cursor, names = await self._command(self._step(cursor), (0, []))
            yield [name.decode(errors="replace").removeprefix(PREFIX) for name in names]
            if not cursor:
                return

    async def _step(self, cursor: int) -> tuple[int, list[bytes]]:
        return cast("tuple[int, list[bytes]]", await self._client.scan(cursor, match=f"{PREFIX}*", count=_STEP))

    async def _read(self, key: str) -> bytes | None:
        return cast("bytes | None", await self._client.get(PREFIX + key))

    async def _unpacked(self, key: str, data: bytes) -> Entry | None:
        """None for what is not whole, which is removed."""
        try:
            if len(data) < _LARGE_BYTES or (future := self._packing.submit(partial(unpack, key, data))) is None:
                return unpack(key, data)
            return await future
        except Corrupt:
            self._stats.corrupt += 1
            await self.delete(key)
            return None

    async def _packed(self, key: str, entry: Entry) -> bytes | None:
        """None when too many wait for that."""
        if entry.size < _LARGE_BYTES:
            return pack(key, entry)
        future = self._packing.submit(partial(pack, key, entry))
        return None if future is None else await future

    async def _command(self, operation: Awaitable[T], default: T) -> T:
        """For what no call waits for: not skipped, and with more patience."""
        return await self._bounded(operation, _COMMAND_TIMEOUT_S, self._reads, default)

    async def _bounded(self, operation: Awaitable[T], timeout_s: float, pause: Pause, default: T) -> T:
        """The one place where faults of Redis and of the network end. A refusal (no memory left, read only) says
        nothing about other kinds of operations; a connection that fails does."""
        try:
            async with asyncio.timeout(timeout_s or _COMMAND_TIMEOUT_S):
                result = await operation
        except self._refusals as error:
            pause.begin()
            fault = _refusal(error)
        except (TimeoutError, OSError, *self._faults) as error:
            self._reads.begin()
            self._writes.begin()
            fault = type(error).__name__
        else:
            pause.end()
            return result
        self._stats.failed += 1
        self._complaints.say(fault)
        return default

    def _offered(self, size: int, task: asyncio.Task[None]) -> None:
        self._puts.discard(task)
        self._puts_bytes -= size
        if not task.cancelled() and (error := task.exception()) is not None:
            self._stats.failed += 1
            self._complaints.say(type(error).__name__)


def _client(url: str) -> Client:
    try:
        from redis.asyncio import BlockingConnectionPool
        from redis.asyncio import Redis as Client
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff
    except ImportError as error:
        raise RedisUnusable("cache.redis needs the client library: pip install 'penstock[redis]'.") from error
    try:
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=_CONNECTIONS_MAX,
            timeout=None,
            # The bound is ours. One of the client's is an `asyncio.wait_for` too, which in Python 3.11 loses a
            # cancellation that comes as it ends: on a busy event loop ours would then be its five seconds.
            socket_timeout=None,
            socket_connect_timeout=None,
            retry=Retry(NoBackoff(), 0),
            decode_responses=False,
        )
    except ValueError as error:
        raise RedisUnusable(
            "cache.redis is not an address that the client understands: redis://host:6379/0."
        ) from error
    return Client(connection_pool=pool)


def _refusal(error: Exception) -> str:
    """The code that Redis puts first (OOM, READONLY, NOAUTH, WRONGTYPE): what follows may repeat what was sent."""
    code = str(error).partition(" ")[0]
    return f"{type(error).__name__} {code}" if code.isupper() and code.isalpha() else type(error).__name__
