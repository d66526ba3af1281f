"""Sockets towards callers: aiohttp reads requests, `answer` writes the replies."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final, cast

from aiohttp import web
from aiohttp.web_protocol import RequestHandler, _ErrInfo

from exporters.trace_context import new_request_id, new_span_id, parse_traceparent

from ..chain import Handler
from ..errors import ClientFault, ClientGone, PenstockError
from ..exchange import Exchange, RequestBody
from ..openai.call import PATHS
from ..reply import BodyStream, RawHeaders, Reply
from .answer import CLOSED, Sent, head, send_stream, send_whole
from .websocket import bridge

_log = logging.getLogger(__name__)

_LOOK_S: Final = 0.02


class Limits:
    """What the socket layer enforces by itself, before there is an exchange."""

    def __init__(self, *, header_bytes_max: int, body_bytes_max: int, keepalive_s: float = 75.0) -> None:
        self.header_bytes_max = header_bytes_max
        self.body_bytes_max = body_bytes_max
        self.keepalive_s = keepalive_s
        self.head_s = 60.0
        """From a new connection to its first request's head."""
        self.body_idle_s = 60.0
        """Between two pieces of a request body."""
        self.stalled_s = 300.0
        """How long a caller may take no byte of a reply that it has not got whole."""


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
        self.limits = limits
        self.monotonic = monotonic
        self.draining = False
        """Connections end with their next reply. Set by `drain`."""
        self.open = 0
        """Exchanges being served now."""
        self._outliving: set[asyncio.Task[None]] = set()

    def __call__(self) -> RequestHandler:
        return _Connection(self, loop=self._loop, **self._kwargs)

    async def _serve(self, request: web.BaseRequest) -> Sent:
        exchange = self._exchange(request)
        connection = cast(_Connection, request.protocol)
        connection.exchange = exchange
        self.open += 1
        try:
            handler = self._own if exchange.path.startswith("/penstock/") else self._handler
            reply = await handler(exchange)
            return await self._send(request, exchange, reply)
        except ClientGone:
            return Sent(keep_alive=False)
        finally:
            connection.exchange = None
            connection.touched = self.monotonic() if self.draining else 0.0
            self.open -= 1

    def outlive(self, task: asyncio.Task[None]) -> None:
        """Let the handler of a connection that is gone go on: others wait for what it does."""
        self._outliving.add(task)
        task.add_done_callback(self._outliving.discard)

    async def shutdown(self, timeout: float | None = None) -> None:
        await super().shutdown(timeout)
        if self._outliving:
            for task in self._outliving:
                task.cancel()
            await asyncio.wait(self._outliving, timeout=timeout)

    def drain(self) -> None:
        self.draining = True
        for connection in self._served():
            connection.touched = self.monotonic()

    async def emptied(self, grace_s: float) -> None:
        """Return when no exchange is open and no connection left. `drain` first.

        A connection that was not told to be its last is kept for `grace_s` more, since draining began or its reply
        ended: whoever has it may be sending the next call on it, which would be lost if it were closed at once.
        """
        spent: set[_Connection] = set()
        while self.connections or self.open:
            until = self.monotonic() - grace_s
            idle = {one for one in self._served() if one.exchange is None and one.touched <= until}
            # At the second look: what came while this process stood still is read between the two.
            for connection in idle & spent:
                connection.force_close()
            spent = idle
            await asyncio.sleep(_LOOK_S)

    def _served(self) -> list[_Connection]:
        return cast("list[_Connection]", self.connections)

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
        trace = parse_traceparent(fields[b"traceparent"]) if b"traceparent" in fields else None
        tracestate = fields.get(b"tracestate") if trace else None
        return Exchange(
            request_id=request_id,
            trace_id=trace.trace_id if trace else request_id,
            span_id=new_span_id(),
            parent_span_id=trace.span_id if trace else "",
            trace_state=tracestate.decode("latin-1") if tracestate else "",
            start_ns=now_ns,
            started_s=self.monotonic(),
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
            return RequestBody(None, 0, self.limits.body_bytes_max)
        length = fields.get(b"content-length")
        expects = fields.get(b"expect", b"").lower() == b"100-continue"
        source = _Source(request, expects, self.limits.body_idle_s)
        return RequestBody(source, int(length) if length is not None else None, self.limits.body_bytes_max)

    async def _send(self, request: web.BaseRequest, exchange: Exchange, reply: Reply) -> Sent:
        body = reply.body
        if isinstance(body, bytes):
            # What follows the head of an upgrade is no request, so the connection ends with its refusal.
            closing = self.draining or exchange.websocket
            sent = await send_whole(request, reply, body, closing, self.limits.stalled_s)
            if reply.sent is not None and request.transport is not None and not request.transport.is_closing():
                reply.sent()
            return sent
        if reply.status == HTTPStatus.SWITCHING_PROTOCOLS:
            return await bridge(request, cast(Any, body), self.limits.body_bytes_max)
        try:
            return await send_stream(request, reply, cast(BodyStream, body), self.draining, self.limits.stalled_s)
        finally:
            await cast(BodyStream, body).aclose()


class _Refusal:
    """The answer to bytes that are no request, written when aiohttp asks for it."""

    keep_alive = False

    def __init__(self, error: PenstockError) -> None:
        self._reply = error.reply()

    async def prepare(self, request: web.BaseRequest) -> None:
        if request.transport is not None and isinstance(self._reply.body, bytes):
            request.transport.write(head(self._reply, len(self._reply.body), CLOSED) + self._reply.body)

    async def write_eof(self) -> None:
        """Written with the head."""


class _Connection(RequestHandler):
    """Answers what aiohttp's parser refuses, and defects of ours, in OpenAI's envelope."""

    __slots__ = ("_silence", "exchange", "touched")

    exchange: Exchange | None
    """Being served now."""
    touched: float
    """While the server drains, when something last came or went, by the server's clock."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.exchange = None
        server = cast(Server, self._manager)
        self.touched = server.monotonic()
        self._silence = self._loop.call_later(server.limits.head_s, self._close_if_silent)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._silence.cancel()
        exchange, task = self.exchange, self._task_handler
        if exchange is not None and exchange.departed is not None and task is not None and exchange.departed(task):
            cast(Server, self._manager).outlive(task)
            self._task_handler = None  # or aiohttp would cancel it
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        server = cast(Server, self._manager)
        if server.draining:
            self.touched = server.monotonic()
        if self._messages and self._current_request is not None and isinstance(self._messages[-1][0], _ErrInfo):
            # The parser gave up within the body, and would leave whoever reads it waiting.
            self._current_request.content.set_exception(web.RequestPayloadError("its framing is not valid"))

    def resume_reading(self, resume_parser: bool = True) -> None:
        # aiohttp calls this after every read of a body, and would run its parser over nothing each time.
        if self._reading_paused:
            super().resume_reading(resume_parser)

    def _close_if_silent(self) -> None:
        """Later heads are bounded by the time that a connection is kept."""
        if not self._request_count:
            self.force_close()

    def log_exception(self, *args: Any, **kwargs: Any) -> None:
        """aiohttp's own reports quote what it could not read: a key or a prompt."""
        error = kwargs.get("exc_info")
        if not isinstance(error, web.RequestPayloadError):
            _log.error("a connection failed: %s", type(error).__name__)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> Any:
        if status < HTTPStatus.INTERNAL_SERVER_ERROR:
            _log.debug("refused a malformed request")  # its text may hold a key
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

    __slots__ = ("_expects", "_idle_s", "_request")

    def __init__(self, request: web.BaseRequest, expects: bool, idle_s: float) -> None:
        self._request = request
        self._expects = expects
        self._idle_s = idle_s

    async def read(self) -> bytes:
        if self._expects:
            self._expects = False
            if self._request.transport is not None:
                self._request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        content = self._request.content
        try:
            data = content.read_nowait()
            if data or content.at_eof():
                return data
            async with asyncio.timeout(self._idle_s):
                return await content.readany()
        except TimeoutError as error:
            raise ClientFault(
                f"No more of the request body came within {self._idle_s:g} s. Send the request again.",
                code="body_timeout",
                status=408,
            ) from error
        except (ConnectionError, OSError) as error:
            raise ClientGone from error
        except web.RequestPayloadError as error:
            raise ClientFault(f"The request body is broken: {error}", code="malformed_body") from error
