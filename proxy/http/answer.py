"""Writes a reply to the caller's socket, byte by byte as the upstream sent it.

aiohttp's response classes are not used: they decode and sort headers and add their own.
"""

from __future__ import annotations

import asyncio
import logging
from http import HTTPStatus

from aiohttp import web

from ..errors import ClientGone, PenstockError
from ..reply import BodyStream, Reply, header

_log = logging.getLogger(__name__)

CLOSED = b"Connection: close\r\n"


class Sent:
    """What aiohttp is given for a response whose bytes are already on their way."""

    def __init__(self, *, keep_alive: bool) -> None:
        self.keep_alive = keep_alive

    async def prepare(self, request: web.BaseRequest) -> None:
        """Nothing is left to prepare."""

    async def write_eof(self) -> None:
        """The end was written too."""


async def send_whole(request: web.BaseRequest, reply: Reply, body: bytes, closing: bool, stalled_s: float) -> Sent:
    transport = request.transport
    if transport is None:
        return Sent(keep_alive=False)
    # A caller that was refused before its body came may never send it; its next request is not that body.
    keep_alive = request.keep_alive and not closing and request.content.is_eof()
    if _bodiless(request, reply):
        # The upstream's Content-Length (if any) describes the body that a GET would have.
        transport.write(head(reply, None, b"" if keep_alive else CLOSED))
    else:
        transport.write(head(reply, len(body), b"" if keep_alive else CLOSED) + body)
    if request.protocol.writing_paused:
        await _drain(request, transport, stalled_s)
    return Sent(keep_alive=keep_alive)


async def _drain(request: web.BaseRequest, transport: asyncio.Transport, stalled_s: float) -> None:
    """Wait until the caller takes more. One that takes nothing for `stalled_s` is cut off, and has thereby left.

    Only for a transport that has paused us: below that mark every write waits in uvloop for the end of the turn.
    """
    loop = asyncio.get_running_loop()
    timer: asyncio.TimerHandle

    def look(before: int) -> None:
        nonlocal timer
        left = transport.get_write_buffer_size()
        if left < before:
            timer = loop.call_later(stalled_s, look, left)
        else:
            transport.abort()

    timer = loop.call_later(stalled_s, look, transport.get_write_buffer_size())
    try:
        await request.writer.drain()
    finally:
        timer.cancel()


async def send_stream(
    request: web.BaseRequest, reply: Reply, body: BodyStream, closing: bool, stalled_s: float
) -> Sent:
    transport = request.transport
    if transport is None:
        return Sent(keep_alive=False)
    keep_alive = request.keep_alive and not closing and request.content.is_eof()
    declared = header(reply.headers, b"content-length")
    chunked = declared is None and request.version >= (1, 1)
    keep_alive = keep_alive and (chunked or declared is not None)
    framing = b"Transfer-Encoding: chunked\r\n" if chunked else b""
    transport.write(head(reply, None, framing if keep_alive else framing + CLOSED))
    try:
        while piece := await body.read():
            if transport.is_closing():
                return Sent(keep_alive=False)
            transport.write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
            if request.protocol.writing_paused:
                await _drain(request, transport, stalled_s)
    except (PenstockError, ClientGone, ConnectionError):
        _break(transport, framed=chunked or declared is not None)
        return Sent(keep_alive=False)
    except Exception:  # noqa: BLE001 - whatever it is, the reply is broken
        # An error page would be taken for more of the reply.
        _log.exception("a defect of Penstock broke a reply")
        _break(transport, framed=chunked or declared is not None)
        return Sent(keep_alive=False)
    if chunked:
        transport.write(b"0\r\n\r\n")
    if request.protocol.writing_paused:
        await _drain(request, transport, stalled_s)
    return Sent(keep_alive=keep_alive)


def _break(transport: asyncio.Transport, *, framed: bool) -> None:
    """Let the caller see a broken reply: an unfinished frame, or a reset where only the close would mark the end."""
    if framed:
        transport.close()
    else:
        transport.abort()


def _bodiless(request: web.BaseRequest, reply: Reply) -> bool:
    return reply.status in _BODILESS or request.method == "HEAD"


_BODILESS = frozenset({204, 304})
_REASONS = {int(status): status.phrase.encode() for status in HTTPStatus}


def head(reply: Reply, length: int | None, extra: bytes) -> bytes:
    """The status line and fields. `length` takes the place of the Content-Length that the reply brought, if any."""
    reason = reply.reason or _REASONS.get(reply.status, b"")
    lines = [b"HTTP/1.1 %d %b" % (reply.status, reason)]
    for field in reply.headers:
        name = field[0]
        if length is not None and len(name) == 14 and name.lower() == b"content-length":
            lines.append(b"%b: %d" % (name, length))
            length = None
        else:
            lines.append(b": ".join(field))
    if length is not None:
        lines.append(b"Content-Length: %d" % length)
    lines.append(extra + b"\r\n")
    return b"\r\n".join(lines)
