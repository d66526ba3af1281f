"""Sockets towards callers: aiohttp reads requests, this file writes the replies.

A reply is written here byte by byte rather than through aiohttp's response classes, which decode and sort headers and
add their own: what the upstream sent must reach the caller as it was.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, cast

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from exporters.trace_context import new_request_id, new_span_id, parse_traceparent

from ..chain import Handler
from ..errors import ClientFault, ClientGone, PenstockError, UpstreamFault
from ..exchange import Exchange, RequestBody
from ..openai.call import PATHS
from ..reply import BodyStream, RawHeaders, Reply, header
from .websocket import bridge

_log = logging.getLogger(__name__)

_CLOSED = b"Connection: close\r\n"


class Limits:
    """What the socket layer enforces by itself, before there is an exchange."""

    def __init__(self, *, header_bytes_max: int, body_bytes_max: int, keepalive_s: float = 75.0) -> None:
        self.header_bytes_max = header_bytes_max
        self.body_bytes_max = body_bytes_max
        self.keepalive_s = keepalive_s


class Server(web.Server):
    """Feeds one `Handler`. `own` answers the paths below /penstock/; all else is an exchange."""

    def __init__(self, handler: Handler, own: Handler, limits: Limits, *, monotonic: Callable[[], float]) -> None:
        super().__init__(
            cast(Any, self._serve),
            handler_cancellation=True,
            access_log=None,
            auto_decompress=False,
            keepalive_timeout=limits.keepalive_s,
            max_line_size=limits.header_bytes_max,
            max_field_size=limits.header_bytes_max,
            lingering_time=2.0,
        )
        self._handler = handler
        self._own = own
        self._limits = limits
        self._monotonic = monotonic
        self.draining = False
        self.open = 0
        """Exchanges being served now."""
        self._idle: asyncio.Event | None = None

    def __call__(self) -> RequestHandler:
        return _Connection(self, loop=self._loop, **self._kwargs)

    async def _serve(self, request: web.BaseRequest) -> Sent:
        exchange = self._exchange(request)
        self.open += 1
        try:
            handler = self._own if exchange.path.startswith("/penstock/") else self._handler
            reply = await handler(exchange)
            return await self._send(request, exchange, reply)
        except ClientGone:
            return Sent(keep_alive=False)
        finally:
            self.open -= 1
            if not self.open and self._idle is not None:
                self._idle.set()

    async def idle(self) -> None:
        """Return when no exchange is open."""
        while self.open:
            self._idle = asyncio.Event()
            await self._idle.wait()

    def _exchange(self, request: web.BaseRequest) -> Exchange:
        message = request._message  # the public properties decode the target, which must stay as it came
        path, _, query = message.path.partition("?")
        headers: RawHeaders = list(message.raw_headers)
        names = [name.lower() for name, _ in headers]
        fields = dict(zip(names, [value for _, value in headers], strict=True))
        if len(fields) != len(names):  # of a name that comes twice, the first value
            fields = {name: value for name, (_, value) in zip(names[::-1], headers[::-1], strict=True)}
        now_ns = time.time_ns()
        request_id = new_request_id(now_ns)
        trace = parse_traceparent(fields.get(b"traceparent"))
        tracestate = fields.get(b"tracestate") if trace else None
        return Exchange(
            request_id=request_id,
            trace_id=trace.trace_id if trace else request_id,
            span_id=new_span_id(),
            parent_span_id=trace.span_id if trace else "",
            trace_state=tracestate.decode("latin-1") if tracestate else "",
            start_ns=now_ns,
            started_s=self._monotonic(),
            method=message.method,
            path=path,
            query=query,
            headers=headers,
            names=names,
            fields=fields,
            body=self._body(request, fields),
            endpoint=PATHS.get(path, "other") if message.method == "POST" else "other",
            websocket=message.upgrade and fields.get(b"upgrade", b"").lower() == b"websocket",
        )

    def _body(self, request: web.BaseRequest, fields: dict[bytes, bytes]) -> RequestBody:
        if not request.body_exists:
            return RequestBody(None, 0, self._limits.body_bytes_max)
        length = fields.get(b"content-length")
        expects = fields.get(b"expect", b"").lower() == b"100-continue"
        return RequestBody(
            _Source(request, expects), int(length) if length is not None else None, self._limits.body_bytes_max
        )

    async def _send(self, request: web.BaseRequest, exchange: Exchange, reply: Reply) -> Sent:
        body = reply.body
        if isinstance(body, bytes):
            return await _send_whole(request, reply, body, self.draining)
        if reply.status == HTTPStatus.SWITCHING_PROTOCOLS:
            return await bridge(request, cast(Any, body), self._limits.body_bytes_max)
        try:
            return await _send_stream(request, reply, cast(BodyStream, body), self.draining)
        finally:
            await cast(BodyStream, body).aclose()


class Sent:
    """What aiohttp is given for a response whose bytes are already on their way."""

    def __init__(self, *, keep_alive: bool) -> None:
        self.keep_alive = keep_alive

    async def prepare(self, request: web.BaseRequest) -> None:
        """Nothing is left to prepare."""

    async def write_eof(self) -> None:
        """The end was written too."""


class _Refusal:
    """The answer to bytes that are no request, written when aiohttp asks for it."""

    keep_alive = False

    def __init__(self, error: PenstockError) -> None:
        self._reply = error.reply()

    async def prepare(self, request: web.BaseRequest) -> None:
        if request.transport is not None and isinstance(self._reply.body, bytes):
            request.transport.write(_head(self._reply, len(self._reply.body), _CLOSED) + self._reply.body)

    async def write_eof(self) -> None:
        """Written with the head."""


class _Connection(RequestHandler):
    """Answers what aiohttp's parser refuses, and defects of ours, in OpenAI's envelope."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> Any:
        if status < HTTPStatus.INTERNAL_SERVER_ERROR:
            _log.debug("refused a malformed request: %s", message)
            return _Refusal(
                ClientFault(
                    f"The request is not valid HTTP: {' '.join((message or '').split())[:300]}",
                    code="malformed_request",
                    status=status,
                )
            )
        _log.error("a defect of Penstock failed a request", exc_info=exc)
        return _Refusal(PenstockError("Penstock failed; its log says why.", code="internal_error"))


class _Source:
    """The request body as aiohttp receives it. 100 Continue goes out when the body is first wanted."""

    __slots__ = ("_expects", "_request")

    def __init__(self, request: web.BaseRequest, expects: bool) -> None:
        self._request = request
        self._expects = expects

    async def read(self) -> bytes:
        if self._expects:
            self._expects = False
            if self._request.transport is not None:
                self._request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        try:
            return await self._request.content.readany()
        except (ConnectionError, OSError) as error:
            raise ClientGone from error
        except web.RequestPayloadError as error:
            raise ClientFault(f"The request body is broken: {error}", code="malformed_body") from error


async def _send_whole(request: web.BaseRequest, reply: Reply, body: bytes, closing: bool) -> Sent:
    transport = request.transport
    if transport is None:
        return Sent(keep_alive=False)
    keep_alive = request.keep_alive and not closing
    if _bodiless(request, reply):
        # The upstream's Content-Length (if any) describes the body that a GET would have.
        transport.write(_head(reply, None, b"" if keep_alive else _CLOSED))
    else:
        transport.write(_head(reply, len(body), b"" if keep_alive else _CLOSED) + body)
    await request.writer.drain()
    return Sent(keep_alive=keep_alive)


async def _send_stream(request: web.BaseRequest, reply: Reply, body: BodyStream, closing: bool) -> Sent:
    transport, writer = request.transport, request.writer
    if transport is None:
        return Sent(keep_alive=False)
    keep_alive = request.keep_alive and not closing
    declared = header(reply.headers, b"content-length")
    chunked = declared is None and request.version >= (1, 1)
    keep_alive = keep_alive and (chunked or declared is not None)
    framing = b"Transfer-Encoding: chunked\r\n" if chunked else b""
    transport.write(_head(reply, None, framing if keep_alive else framing + _CLOSED))
    try:
        while piece := await body.read():
            if transport.is_closing():
                return Sent(keep_alive=False)
            transport.write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
            await writer.drain()
    except (UpstreamFault, ConnectionError):
        _break(transport, framed=chunked or declared is not None)
        return Sent(keep_alive=False)
    if chunked:
        transport.write(b"0\r\n\r\n")
    await writer.drain()
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


def _head(reply: Reply, length: int | None, extra: bytes) -> bytes:
    """The status line and fields. `length` takes the place of the Content-Length that the reply brought, if any."""
    reason = reply.reason or _REASONS.get(reply.status, b"")
    pieces = [b"HTTP/1.1 %d %b\r\n" % (reply.status, reason)]
    for name, value in reply.headers:
        if length is not None and len(name) == 14 and name.lower() == b"content-length":
            pieces.append(b"%b: %d\r\n" % (name, length))
            length = None
        else:
            pieces.append(b"%b: %b\r\n" % (name, value))
    if length is not None:
        pieces.append(b"Content-Length: %d\r\n" % length)
    pieces.append(extra)
    pieces.append(b"\r\n")
    return b"".join(pieces)
