"""What the pool does in the turns of the loop that sockets rarely meet."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from proxy.http.connection import Connection
from proxy.http.message import Timeouts, UpstreamRequest
from proxy.http.pool import OriginPool

REPLY = b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n"


class Transport:
    """Takes everything and delivers nothing."""

    def __init__(self) -> None:
        self.states = ["reading"]
        self.closed = False

    def write(self, data: bytes) -> None: ...

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        self.states.append("paused")

    def resume_reading(self) -> None:
        self.states.append("reading")

    def close(self) -> None:
        self.closed = True

    abort = close


class Dialled:
    """A pool whose connections are made of nothing."""

    def __init__(self, connections_max: int) -> None:
        loop = asyncio.get_running_loop()
        self.pool = OriginPool("api.test:443", self._dial, loop, connections_max=connections_max, keepalive_s=60.0)
        self.transports: list[Transport] = []

    async def _dial(self, timeout_s: float) -> Connection:
        connection = Connection(asyncio.get_running_loop(), self.pool, "api.test:443")
        self.transports.append(Transport())
        connection.connection_made(cast(asyncio.BaseTransport, cast(Any, self.transports[-1])))
        return connection


async def test_a_connection_that_closes_while_it_is_handed_over_is_replaced() -> None:
    dialled = Dialled(1)
    pool = dialled.pool
    first = await pool.take(0.0)
    waiter = asyncio.create_task(pool.take(0.0))
    await asyncio.sleep(0)
    pool.released(first)
    first.eof_received()
    second = await waiter
    assert second is not first
    assert not second.closed
    assert (pool.open, pool.idle, pool.waiting) == (1, 0, 0)


async def test_a_new_connection_is_had_at_the_bound_when_an_idle_one_can_go() -> None:
    dialled = Dialled(2)
    pool = dialled.pool
    oldest, newest = await pool.take(0.0), await pool.take(0.0)
    pool.released(oldest)
    pool.released(newest)
    third = await asyncio.wait_for(pool.take(0.0), 5)
    assert (oldest.closed, newest.closed, third.closed) == (True, False, False)
    assert (pool.open, pool.idle) == (2, 1)


async def test_a_connection_goes_home_reading() -> None:
    """Some transports still deliver what they had when they were paused."""
    dialled = Dialled(1)
    connection = await dialled.pool.take(0.0)
    request = UpstreamRequest(b"GET", b"/", [])
    call = asyncio.create_task(connection.send(request, b"GET / HTTP/1.1\r\n\r\n", Timeouts(), 0.0))
    await asyncio.sleep(0)
    connection.data_received(REPLY)
    response = await call
    assert not isinstance(response.body, bytes)
    connection.data_received(b"x" * 290_000)
    assert dialled.transports[0].states == ["reading", "paused"]
    connection.data_received(b"x" * 10_000)
    assert dialled.transports[0].states == ["reading", "paused", "reading"]
    assert dialled.pool.idle == 1
    assert len(await response.body.read()) == 300_000
    connection.connection_lost(None)
    assert dialled.pool.open == 0
