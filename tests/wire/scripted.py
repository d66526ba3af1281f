"""A scripted upstream on real sockets: it stalls, resets, lies and dribbles on demand.

    async with ScriptedUpstream(json_reply({"ok": True})) as upstream:
        ...  # call upstream.url
    assert upstream.requests[0].method == "POST"

A script is an async function `(request, conn)`, called once for each request after the request body was read (unless
`read_body=False`). When it returns and neither side has closed, the next request on the same connection is read.
A fault inside a script, other than the peer going away, is raised when the `async with` ends.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from .scripted_server import Conn as Conn
from .scripted_server import Request as Request
from .scripted_server import Script as Script
from .scripted_server import ScriptedUpstream as ScriptedUpstream

Headers = Iterable[tuple[str, str]] | Mapping[str, str]

# Bytes of replies.


def head(status: int = 200, headers: Headers = (), reason: str = "OK") -> bytes:
    """A status line and header fields, ready for a body."""
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    lines = [f"HTTP/1.1 {status} {reason}", *(f"{name}: {value}" for name, value in pairs)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def chunk(data: bytes) -> bytes:
    """One chunk of chunked transfer coding; `chunk(b"")` ends the body."""
    return b"%x\r\n%s\r\n" % (len(data), data)


def event(data: Any) -> bytes:
    """One server-sent event: bytes as they are, text or JSON as its data."""
    if isinstance(data, bytes):
        return data
    return f"data: {data if isinstance(data, str) else json.dumps(data)}\n\n".encode()


SSE_HEAD = head(200, [("Content-Type", "text/event-stream"), ("Transfer-Encoding", "chunked")])


# Ready-made scripts.


def raw(data: bytes, *, close: bool = False) -> Script:
    """Exactly these bytes, then close if asked."""

    async def script(request: Request, conn: Conn) -> None:
        await conn.send(data)
        if close:
            await conn.close()

    return script


def reply(status: int = 200, headers: Headers = (), body: bytes = b"", *, reason: str = "OK") -> Script:
    """A whole reply in one write, with Content-Length (none for 204 and 304; no body for HEAD)."""
    pairs = list(headers.items() if isinstance(headers, Mapping) else headers)
    if status not in (204, 304):
        pairs.append(("Content-Length", str(len(body))))
    first = head(status, pairs, reason)

    async def script(request: Request, conn: Conn) -> None:
        await conn.send(first if request.method == "HEAD" else first + body)

    return script


def json_reply(value: Any, status: int = 200, headers: Headers = ()) -> Script:
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    return reply(status, [("Content-Type", "application/json"), *pairs], json.dumps(value).encode())


def chunked(pieces: Iterable[bytes], headers: Headers = (), *, delay_s: float = 0.0, trailer: bytes = b"") -> Script:
    """A chunked reply, each piece a chunk and a write of its own. `trailer`: whole lines with their CRLF."""
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    first = head(200, [*pairs, ("Transfer-Encoding", "chunked")])
    parts = list(pieces)

    async def script(request: Request, conn: Conn) -> None:
        await conn.send(first)
        for part in parts:
            await conn.send(chunk(part))
            if delay_s:
                await conn.sleep(delay_s)
        await conn.send(b"0\r\n" + trailer + b"\r\n")

    return script


def sse(events: Iterable[Any], delay_s: float = 0.0, *, done: bool = True, headers: Headers = ()) -> Script:
    """A stream of server-sent events (bytes as they are, else `data:` lines), ended by `[DONE]` unless told not to."""
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    parts = [event(item) for item in [*events, *(["[DONE]"] if done else [])]]
    return chunked(parts, [("Content-Type", "text/event-stream"), *pairs], delay_s=delay_s)


async def stall_before_headers(request: Request, conn: Conn) -> None:
    """Never answers; ends when the peer gives up."""
    await conn.wait_closed_by_peer()


def stall_mid_stream(events: Iterable[Any]) -> Script:
    """Sends the events, then nothing more until the peer gives up."""
    parts = [event(item) for item in events]

    async def script(request: Request, conn: Conn) -> None:
        await conn.send(SSE_HEAD + b"".join(chunk(part) for part in parts))
        await conn.wait_closed_by_peer()

    return script


_STAGES = {
    "request": b"",
    "status": b"HTTP/1.1 2",
    "headers": b"HTTP/1.1 200 OK\r\nContent-Ty",
    "head": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n",
    "body": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf of it",
    "chunk_size": SSE_HEAD + chunk(event("one")) + b"1",
    "chunk": SSE_HEAD + chunk(event("one")) + b"14\r\nda",
    "between_chunks": SSE_HEAD + chunk(event("one")),
    "last_chunk": SSE_HEAD + chunk(event("one")) + b"0\r\n",
}
STAGES = tuple(_STAGES)
"""Where `reset_at` and `close_at` can break off: from after the request to just before the last CRLF."""


def reset_at(stage: str, *, settle_s: float = 0.05) -> Script:
    """Sends what comes before `stage`, lets it arrive, then resets the connection."""
    data = _STAGES[stage]

    async def script(request: Request, conn: Conn) -> None:
        if data:
            await conn.send(data)
            await conn.sleep(settle_s)
        await conn.reset()

    return script


def close_at(stage: str) -> Script:
    """Like `reset_at`, with a clean FIN instead."""
    return raw(_STAGES[stage], close=True)


def byte_by_byte(data: bytes, *, close: bool = False, delay_s: float = 0.0) -> Script:
    """Every byte in a write (and, with TCP_NODELAY, nearly always a segment) of its own."""

    async def script(request: Request, conn: Conn) -> None:
        for index in range(len(data)):
            await conn.send(data[index : index + 1])
            await conn.sleep(delay_s)
        if close:
            await conn.close()

    return script


def wrong_content_length(declared: int, body: bytes, headers: Headers = ()) -> Script:
    """Declares `declared` bytes, sends `body`, and closes."""
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    return raw(head(200, [*pairs, ("Content-Length", str(declared))]) + body, close=True)


def in_turn(*scripts: Script) -> Script:
    """The first script for the first request, and so on; the last one for all that follow."""
    left = list(scripts)

    async def script(request: Request, conn: Conn) -> None:
        await (left.pop(0) if len(left) > 1 else left[0])(request, conn)

    return script


def by_path(scripts: Mapping[str, Script]) -> Script:
    """The script of the target's path (the query aside); 404 for others."""
    missing = json_reply({"error": {"message": "no such path", "type": "invalid_request_error"}}, 404)

    async def script(request: Request, conn: Conn) -> None:
        await scripts.get(request.target.partition("?")[0], missing)(request, conn)

    return script
