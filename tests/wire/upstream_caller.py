"""Calls an upstream through the pool, as the forward stage does."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any, Final

import pytest

from exporters.record import Attempt
from proxy.http.deadlines import Deadlines, Phase
from proxy.http.message import Origin, RequestPieces, Timeouts, UpstreamRequest, UpstreamResponse
from proxy.http.upstream import Pool
from tests.unit.proxy.http.test_deadlines import Clock

from .scripted import ScriptedUpstream

PATIENCE_S: Final = 60.0
PATIENT: Final = Timeouts(connect_s=PATIENCE_S, first_byte_s=PATIENCE_S, idle_s=PATIENCE_S)


class Caller:
    """A pool and what its attempts were."""

    def __init__(self, *, connections_max: int = 100, keepalive_s: float = 30.0, proxies: Any = None) -> None:
        self.pool = Pool(connections_max=connections_max, keepalive_s=keepalive_s, proxies=proxies or {})
        self.attempts: list[Attempt] = []
        self._span_ids = itertools.count(1)

    async def send(
        self,
        to: ScriptedUpstream | Origin,
        body: bytes | RequestPieces = b"{}",
        length: int | None = 0,
        *,
        method: bytes = b"POST",
        target: bytes = b"/v1/chat/completions",
        timeouts: Timeouts = PATIENT,
    ) -> UpstreamResponse:
        origin = to if isinstance(to, Origin) else origin_of(to)
        request = UpstreamRequest(method, target, [(b"Host", origin.authority), (b"X-Case", b"kept")], body, length)
        return await self.pool.send(
            origin,
            request,
            timeouts,
            self.attempts,
            new_span_id=lambda: f"{next(self._span_ids):016x}",
            upstream="test",
        )

    async def call(self, to: ScriptedUpstream | Origin, *args: Any, **options: Any) -> bytes:
        """The whole body of the reply."""
        return await whole(await self.send(to, *args, **options))

    async def settled(self) -> None:
        """All connections that are open are idle."""
        await until(lambda: self.pool.open == self.pool.idle and self.pool.waiting == 0)


@asynccontextmanager
async def calling(**options: Any) -> AsyncIterator[Caller]:
    caller = Caller(**options)
    try:
        yield caller
    finally:
        await caller.pool.aclose()
        assert caller.pool.open == caller.pool.idle == caller.pool.waiting == 0


def origin_of(upstream: ScriptedUpstream, host: str = "127.0.0.1", ca_file: str | None = None) -> Origin:
    return Origin(upstream.url.partition(":")[0], host, upstream.port, ca_file)


async def whole(response: UpstreamResponse) -> bytes:
    if isinstance(response.body, bytes):
        return response.body
    try:
        return b"".join(await pieces(response))
    finally:
        await response.body.aclose()


async def pieces(response: UpstreamResponse) -> list[bytes]:
    """What each read of a body that is still arriving gave."""
    assert not isinstance(response.body, bytes)
    return [piece async for piece in _reads(response.body)]


async def _reads(body: RequestPieces) -> AsyncIterator[bytes]:
    while piece := await body.read():
        yield piece


async def until(condition: Callable[[], bool], limit_s: float = PATIENCE_S) -> None:
    """Returns when `condition` holds; TimeoutError when it does not come to hold."""
    async with asyncio.timeout(limit_s):
        while not condition():
            await asyncio.sleep(0.005)


class StoppedClock(Clock):
    """By which the deadlines of new connections go: it goes on when it is told to. Connecting takes the loop's time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__()
        self._deadlines: list[Deadlines] = []
        monkeypatch.setattr("proxy.http.connection.Deadlines", self._new)

    def _new(self, _: asyncio.AbstractEventLoop, expired: Callable[[Phase], None]) -> Deadlines:
        loop: Any = self
        self._deadlines.append(Deadlines(loop, expired))
        return self._deadlines[-1]

    async def until_due_in(self, seconds: float) -> None:
        """Until a connection waits for what may take so long from now on: by that it is known what it waits for."""
        await until(lambda: any(one._phase_at == self.time() + seconds for one in self._deadlines))


class Source:
    """A request body in pieces. `fault` is raised at the end instead of ending."""

    def __init__(self, parts: Iterable[bytes], fault: BaseException | None = None) -> None:
        self._parts = iter(parts)
        self._fault = fault
        self.read_bytes = 0
        self.reading = False

    async def read(self) -> bytes:
        await asyncio.sleep(0)
        part = next(self._parts, b"")
        self.read_bytes += len(part)
        if not part and self._fault is not None:
            raise self._fault
        return part


class Endless(Source):
    """A caller that sent these pieces and then nothing more."""

    async def read(self) -> bytes:
        part = await super().read()
        if not part:
            self.reading = True
            try:
                await asyncio.Event().wait()
            finally:
                self.reading = False
        return part
