"""`Pool`: the way upstream. Sends requests over kept connections, opens and retries where that is safe."""

from __future__ import annotations

import asyncio
import ssl
import time
import urllib.request
from collections.abc import Callable, Mapping
from functools import partial

from exporters.record import Attempt

from ..errors import PenstockError, UpstreamFault
from .body import ResponseBody
from .connection import Connection, timed_out
from .dial import dial, tls_context
from .h1 import encode_head
from .message import Origin, Timeouts, UpstreamRequest, UpstreamResponse
from .pool import OriginPool
from .proxies import Route, route


class _Way:
    """All that is kept for one origin."""

    __slots__ = ("connections", "origin", "route")

    def __init__(self, origin: Origin, route: Route, connections: OriginPool) -> None:
        self.origin = origin
        self.route = route
        self.connections = connections


class Pool:
    """Connections to the origins of one upstream, at most `connections_max` to each, idle ones for `keepalive_s`.

    Belongs to the event loop that first uses it. Time is the loop's clock; `wall_ns` (Unix nanoseconds) stamps
    attempts; `proxies` are scheme to URL, by default those of the environment.
    """

    def __init__(
        self,
        *,
        connections_max: int,
        keepalive_s: float,
        wall_ns: Callable[[], int] = time.time_ns,
        proxies: Mapping[str, str] | None = None,
    ) -> None:
        self._connections_max = connections_max
        self._keepalive_s = keepalive_s
        self._wall_ns = wall_ns
        self._proxies = urllib.request.getproxies_environment() if proxies is None else proxies
        self._ways: dict[Origin, _Way] = {}
        self._contexts: dict[str | None, ssl.SSLContext] = {}
        self._last: _Way | None = None

    @property
    def open(self) -> int:
        """Connections that are open or being opened."""
        return sum(way.connections.open for way in self._ways.values())

    @property
    def idle(self) -> int:
        return sum(way.connections.idle for way in self._ways.values())

    @property
    def waiting(self) -> int:
        """Requests that wait for a connection because all are in use."""
        return sum(way.connections.waiting for way in self._ways.values())

    async def send(
        self,
        origin: Origin,
        request: UpstreamRequest,
        timeouts: Timeouts,
        attempts: list[Attempt],
        *,
        new_span_id: Callable[[], str],
        upstream: str = "",
    ) -> UpstreamResponse:
        """The head of the final reply, with its body whole or still arriving.

        A kept connection that turns out to be closed before one byte of the reply came is replaced by a new one, once,
        if the body is bytes. Every try is appended to `attempts`; one whose reply is still arriving is completed when
        the body ends. Raises `UpstreamFault` (its code says what happened), `ClientFault` for a request that cannot be
        written as HTTP, and whatever reading the body's pieces raises.
        """
        way = self._last
        if way is None or way.origin is not origin:
            way = self._last = self._way(origin)
        loop = asyncio.get_running_loop()
        total_at = loop.time() + timeouts.total_s if timeouts.total_s else 0.0
        head = encode_head(request, way.route.absolute, way.route.credentials if way.route.absolute else None)
        connection = way.connections.take_idle()
        retried = False
        while True:
            attempt = Attempt(
                span_id=new_span_id(),
                upstream=upstream,
                address=origin.host,
                port=origin.port,
                start_ns=self._wall_ns(),
            )
            attempts.append(attempt)
            try:
                if connection is None:
                    connection = await _open(way, timeouts, total_at, loop)
                response = await connection.send(request, head, timeouts, total_at)
            except BaseException as error:
                attempt.end_ns = self._wall_ns()
                attempt.error_type = error.code if isinstance(error, PenstockError) else "cancelled"
                if retried or connection is None or not connection.used or not _repeatable(error, request):
                    raise
                retried, connection = True, None
                continue
            attempt.status = response.status
            if isinstance(response.body, ResponseBody):
                response.body.times(attempt, self._wall_ns)
            else:
                attempt.end_ns = self._wall_ns()
            return response

    async def aclose(self) -> None:
        """Close all connections. Replies still arriving end with `UpstreamFault`."""
        for way in self._ways.values():
            way.connections.close()
        for _ in range(3):  # transports tell their protocols, and close their sockets, in later turns of the loop
            await asyncio.sleep(0)

    def _way(self, origin: Origin) -> _Way:
        way = self._ways.get(origin)
        if way is None:
            way = self._ways[origin] = self._new_way(origin)
        return way

    def _new_way(self, origin: Origin) -> _Way:
        loop = asyncio.get_running_loop()
        peer = f"{origin.host}:{origin.port}"
        there = route(origin, self._proxies)

        async def open_one(timeout_s: float) -> Connection:
            new = partial(Connection, loop, connections, peer)
            return await dial(origin, there, self._context(origin), timeout_s, new)

        connections = OriginPool(
            peer, open_one, loop, connections_max=self._connections_max, keepalive_s=self._keepalive_s
        )
        return _Way(origin, there, connections)

    def _context(self, origin: Origin) -> ssl.SSLContext | None:
        if origin.scheme != "https":
            return None
        context = self._contexts.get(origin.ca_file)
        if context is None:
            context = self._contexts[origin.ca_file] = tls_context(origin.ca_file)
        return context


async def _open(way: _Way, timeouts: Timeouts, total_at: float, loop: asyncio.AbstractEventLoop) -> Connection:
    """A new connection, within the time to connect and within the total."""
    limit_s = timeouts.connect_s
    left_s = max(0.001, total_at - loop.time()) if total_at else 0.0
    if not left_s or (limit_s and limit_s <= left_s):
        return await way.connections.take(limit_s)
    try:
        return await way.connections.take(left_s)
    except UpstreamFault as fault:
        if fault.http_status != 504:
            raise
        raise timed_out(f"{way.origin.host}:{way.origin.port}", "total_timeout", "a connection") from fault


def _repeatable(error: BaseException, request: UpstreamRequest) -> bool:
    return isinstance(error, UpstreamFault) and error.replayable and isinstance(request.body, bytes)
