"""The server under `scripted.py`: reads requests byte-exactly and hands each to a script with its connection."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import struct
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Self

Script = Callable[["Request", "Conn"], Awaitable[None]]


@dataclass
class Request:
    """What arrived. `headers` keep order, case and duplicates."""

    head: bytes
    method: str
    target: str
    version: str
    headers: list[tuple[bytes, bytes]]
    connection: int
    """Number of the connection it came on, counted from 0."""
    at_s: float
    """When the head was complete, on the monotonic clock."""
    body: bytes = b""
    body_error: str = ""
    """Why the body could not be read to its end."""
    closed: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the peer closes its side of the connection."""

    def header(self, name: str) -> str | None:
        wanted = name.lower().encode()
        return next((value.decode("latin-1") for key, value in self.headers if key.lower() == wanted), None)

    def json(self) -> Any:
        return json.loads(self.body)


class Conn:
    """One accepted connection, as a script sees it."""

    def __init__(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.number = number
        self.reader = reader
        self.writer = writer
        self.peer_closed = asyncio.Event()
        self.finished = False

    async def send(self, data: bytes) -> None:
        """Write and wait until the kernel took (nearly) all of it. Raises ConnectionError when the peer is gone."""
        if self.peer_closed.is_set():
            raise ConnectionResetError("the peer has closed")
        self.writer.write(data)
        await self.writer.drain()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def close(self) -> None:
        """A clean end: what was sent is delivered, then FIN (close_notify first under TLS)."""
        self.finished = True
        self.writer.close()

    async def reset(self) -> None:
        """RST: the peer's next read or write fails."""
        self.finished = True
        sock = self.writer.get_extra_info("socket")
        if sock is not None:  # None: it is closed already
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def read_some(self, bytes_max: int = 65536) -> bytes:
        """The next bytes from the peer, unparsed; b"" at its end."""
        return await self.reader.read(bytes_max)

    async def read_body(self, request: Request) -> bytes:
        """The body of `request`, for scripts under `read_body=False`."""
        await _read_body(request, self)
        return request.body

    async def wait_closed_by_peer(self) -> None:
        """Until the peer closes. Not noticed while more than 2 MB that nobody reads have arrived."""
        await self.peer_closed.wait()


class _Protocol(asyncio.StreamReaderProtocol):
    """Tells at once when the peer closes, even while nobody reads."""

    conn: Conn | None = None

    def eof_received(self) -> bool | None:
        if self.conn is not None:
            self.conn.peer_closed.set()
        return super().eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.conn is not None:
            self.conn.peer_closed.set()
        super().connection_lost(exc)


class ScriptedUpstream:
    """Serves `script` on a free port of 127.0.0.1. No connection lives longer than `lifetime_s`."""

    def __init__(
        self,
        script: Script,
        *,
        tls: ssl.SSLContext | None = None,
        read_body: bool = True,
        on_connect: Callable[[Conn], Awaitable[None]] | None = None,
        lifetime_s: float = 60.0,
    ) -> None:
        self.script = script
        self.requests: list[Request] = []
        self.connections: list[Conn] = []
        self.errors: list[BaseException] = []
        self.port = 0
        self._tls = tls
        self._read_body = read_body
        self._on_connect = on_connect
        self._lifetime_s = lifetime_s
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    @property
    def bodies(self) -> list[bytes]:
        return [request.body for request in self.requests]

    @property
    def open_connections(self) -> int:
        """Accepted connections that neither side has closed."""
        return sum(not (conn.peer_closed.is_set() or conn.finished) for conn in self.connections)

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._protocol, "127.0.0.1", 0, ssl=self._tls, backlog=1024)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for conn in self.connections:
            conn.writer.transport.abort()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(0)
        if self.errors and kind is None:
            raise self.errors[0]

    def _protocol(self) -> asyncio.Protocol:
        reader = asyncio.StreamReader(limit=1024 * 1024)
        protocol = _Protocol(reader, lambda reader, writer: self._accept(protocol, reader, writer))
        return protocol

    def _accept(self, protocol: _Protocol, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        conn = protocol.conn = Conn(len(self.connections), reader, writer)
        self.connections.append(conn)
        task = asyncio.get_running_loop().create_task(self._serve(conn))
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.errors.append(error)

    async def _serve(self, conn: Conn) -> None:
        try:
            async with asyncio.timeout(self._lifetime_s):
                if self._on_connect is not None:
                    await self._on_connect(conn)
                while not conn.finished and await self._serve_one(conn):
                    pass
        except (ConnectionError, asyncio.IncompleteReadError, TimeoutError):
            pass
        finally:
            conn.finished = True
            conn.writer.close()

    async def _serve_one(self, conn: Conn) -> bool:
        request = await _read_head(conn)
        if request is None:
            return False
        self.requests.append(request)
        if self._read_body:
            if (request.header("expect") or "").lower() == "100-continue":
                await conn.send(b"HTTP/1.1 100 Continue\r\n\r\n")
            await _read_body(request, conn)
        await self.script(request, conn)
        return request.version != "HTTP/1.0" and (request.header("connection") or "").lower() != "close"


async def _read_head(conn: Conn) -> Request | None:
    try:
        head = await conn.reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head[:-4].split(b"\r\n")
    method, target, version = first.decode("latin-1").split(" ")
    headers = []
    for line in lines:
        name, _, value = line.partition(b":")
        headers.append((name, value.strip()))
    return Request(head, method, target, version, headers, conn.number, time.monotonic(), closed=conn.peer_closed)


async def _read_body(request: Request, conn: Conn) -> None:
    pieces: list[bytes] = []
    try:
        if "chunked" in (request.header("transfer-encoding") or ""):
            while size := int((await conn.reader.readline()).split(b";")[0], 16):
                pieces.append(await conn.reader.readexactly(size))
                await conn.reader.readexactly(2)
            while await conn.reader.readline() != b"\r\n":
                pass
        else:
            left = int(request.header("content-length") or 0)
            while left:
                piece = await conn.reader.read(min(left, 65536))
                if not piece:
                    raise asyncio.IncompleteReadError(b"", left)
                pieces.append(piece)
                left -= len(piece)
    except (ConnectionError, asyncio.IncompleteReadError, ValueError) as error:
        request.body_error = repr(error)
        raise ConnectionError("the request body broke off") from error
    finally:
        request.body = b"".join(pieces)
