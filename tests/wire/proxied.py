"""A worker's whole chain on a real socket, with the real spool below it, in the test's own event loop."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from exporters.frames import Decoder, Frame, Kind
from exporters.record import Begin, CallRecord, decode_begin, decode_record
from exporters.spool import SpoolWriter
from proxy.app import App, build
from proxy.settings import Record, Server, Settings, Upstream

PATIENCE_S: Final = 60.0
"""For what comes by itself: longer than any machine stands still."""
BACKLOG: Final = 1024
"""More than any test connects at once: the kernel lets whoever finds no room try again after seconds."""


@dataclass
class Proxied:
    """A running proxy: where it listens and what it recorded."""

    app: App
    port: int
    spool: SpoolWriter
    lookups: list[str] = field(default_factory=list)
    """What the store was asked for."""
    arrives_at_lookup: int = 0
    """The store knows a request from this lookup on; 0: never."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def frames(self) -> list[Frame]:
        directory = self.spool.directory
        assert directory is not None
        found = []
        for segment in sorted(directory.path.glob("*.seg")):
            decoder = Decoder(directory.marker)
            pieces = decoder.feed(segment.read_bytes()) + decoder.finish()
            assert all(isinstance(piece, Frame) for piece in pieces)
            found += [piece for piece in pieces if isinstance(piece, Frame)]
        return found

    def records(self) -> list[CallRecord]:
        return [decode_record(frame.payload) for frame in self.frames() if frame.kind == Kind.RECORD]

    def begins(self) -> list[Begin]:
        return [decode_begin(frame.payload) for frame in self.frames() if frame.kind == Kind.BEGIN]

    async def record(self) -> CallRecord:
        """The one record, once every exchange is closed; exactly one begin mark goes with it."""
        async with asyncio.timeout(PATIENCE_S):
            while not self.records() or self.app.server.open:
                await asyncio.sleep(0.01)
        await self.app.record.drained(PATIENCE_S)
        records, begins = self.records(), self.begins()
        assert [r.request_id for r in records] == [b.request_id for b in begins]
        assert len(records) == 1
        return records[0]


@asynccontextmanager
async def proxied(
    tmp_path: Path,
    base_url: str,
    *,
    upstream: dict[str, Any] | None = None,
    server: dict[str, Any] | None = None,
    record: dict[str, Any] | None = None,
    more: tuple[Upstream, ...] = (),
    monotonic: Callable[[], float] = time.monotonic,
    **settings: Any,
) -> AsyncIterator[Proxied]:
    """Serve `base_url` (without /v1) through the whole chain. Keyword tables override settings."""
    loop = asyncio.get_running_loop()
    made = Settings(
        server=Server(data_dir=str(tmp_path), **(server or {})),
        upstreams=(Upstream(name="scripted", base_url=f"{base_url}/v1", **(upstream or {})), *more),
        record=Record(**(record or {})),
        **settings,
    )
    spool = SpoolWriter(tmp_path / "spool", 0)

    def lookup(wanted: str) -> dict[str, str] | None:
        proxy.lookups.append(wanted)
        return {"request_id": wanted} if len(proxy.lookups) == proxy.arrives_at_lookup else None

    app = build(made, spool, lookup, monotonic=monotonic)
    listening = socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)
    listener = await loop.create_server(app.server, sock=listening, backlog=BACKLOG)
    proxy = Proxied(app, listening.getsockname()[1], spool)
    try:
        yield proxy
    finally:
        listener.close()
        await app.server.shutdown(0.1)
        await app.aclose()


class Caller:
    """A client that sees bytes as they are."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def connect(cls, proxy: Proxied) -> Caller:
        return cls(*await asyncio.open_connection("127.0.0.1", proxy.port, limit=1 << 26))

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def head(self) -> tuple[int, list[tuple[str, str]]]:
        """Status and header fields of the next reply."""
        async with asyncio.timeout(PATIENCE_S):
            raw = await self.reader.readuntil(b"\r\n\r\n")
        first, *lines = raw.decode("latin-1").split("\r\n")[:-2]
        pairs = [line.partition(": ")[::2] for line in lines]
        return int(first.split(" ")[1]), [(name, value) for name, value in pairs]

    async def reply(self) -> tuple[int, list[tuple[str, str]], bytes]:
        """The next reply, its body decoded from its framing. Raises IncompleteReadError for a broken one."""
        status, headers = await self.head()
        fields = {name.lower(): value for name, value in headers}
        async with asyncio.timeout(PATIENCE_S):
            if "content-length" in fields:
                body = await self.reader.readexactly(int(fields["content-length"]))
            elif fields.get("transfer-encoding") == "chunked":
                body = b""
                while piece := await self.chunk():
                    body += piece
            else:
                body = await self.reader.read()
        return status, headers, body

    async def chunk(self) -> bytes:
        """The next chunk; b"" for the last one."""
        async with asyncio.timeout(PATIENCE_S):
            size = int(await self.reader.readuntil(b"\r\n"), 16)
            data = await self.reader.readexactly(size + 2)
        return data[:-2]

    def close(self) -> None:
        self.writer.close()


def post(path: str, body: bytes, *headers: tuple[str, str]) -> bytes:
    """A request with a JSON body, byte for byte."""
    lines = [f"POST {path} HTTP/1.1", "Host: penstock.test", "Content-Type: application/json"]
    lines += [f"{name}: {value}" for name, value in headers]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode("latin-1") + body
