"""One connection to an upstream: a request out, its reply in, and whether the connection may be used again.

The fast path costs no task, no queue and no timer of its own: one write, one future, and deadlines that are numbers.
"""

from __future__ import annotations

import asyncio
from typing import Protocol, cast

from ..errors import UpstreamFault
from .body import ResponseBody
from .deadlines import Deadlines, Phase
from .h1 import ResponseParser, cut
from .message import RequestPieces, Timeouts, UpstreamRequest, UpstreamResponse
from .upload import send_pieces

_JOIN_BYTES_MAX = 64 * 1024
"""Up to here head and body are copied together into one write; above, copying costs more than a second write."""


class Home(Protocol):
    """Where a connection belongs while no exchange uses it."""

    def released(self, connection: Connection) -> None:
        """It may carry another request."""

    def dropped(self, connection: Connection) -> None:
        """It is closed, or about to be. Called once."""


class Connection(asyncio.Protocol):
    """An open connection, used by one exchange at a time."""

    def __init__(self, loop: asyncio.AbstractEventLoop, home: Home, peer: str) -> None:
        self.peer = peer
        """host:port, for messages."""
        self.idle_since = 0.0
        self.used = False
        """It carried a request before the present one, so the upstream may have closed it meanwhile."""
        self.closed = False
        self._loop = loop
        self._home = home
        self._parser = ResponseParser(peer)
        self._deadlines = Deadlines(loop, self._expired)
        self._timeouts = Timeouts()
        self._transport: asyncio.Transport | None = None
        self._busy = False
        self._head: asyncio.Future[UpstreamResponse] | None = None
        self._body: ResponseBody | None = None
        self._reading_paused = False
        self._upload: asyncio.Task[None] | None = None
        self._writable: asyncio.Future[None] | None = None
        self._unsent_bytes = 0

    # What its user calls.

    async def send(
        self, request: UpstreamRequest, head: bytes, timeouts: Timeouts, total_at: float
    ) -> UpstreamResponse:
        """Send `request`, whose encoded head is `head`, and wait for the head of its reply.

        `total_at`: when all must be over, on the loop's clock (0: no limit). Raises `UpstreamFault`, and whatever
        reading the body's pieces raises; the connection is closed then, and also when the call is cancelled.
        """
        transport = self._transport
        assert transport is not None
        body = request.body
        self._busy = True
        self._parser.begin(request.method)
        self._timeouts = timeouts
        self._deadlines.begin(total_at)
        future: asyncio.Future[UpstreamResponse] = self._loop.create_future()
        self._head = future
        if not isinstance(body, bytes):
            transport.write(head)
            self._upload = self._loop.create_task(self._send_pieces(body, request.body_length))
            self._upload.add_done_callback(self._upload_ended)
        elif len(body) < _JOIN_BYTES_MAX:
            transport.write(head + body)
            self._deadlines.watch("first_byte", timeouts.first_byte_s)
        else:
            transport.write(head)
            transport.write(body)
            self._all_written()
        try:
            response = await future
        except asyncio.CancelledError:
            self._abandon(future)
            raise
        except UpstreamFault:
            if self._upload is not None:
                await asyncio.wait([self._upload])
            raise
        if self._upload is not None and (self.closed or response.status >= 300):
            await self._stop_upload(self._upload, response)
        return response

    def close(self) -> None:
        """Let go of a connection that nobody waits for, in order."""
        if not self.closed:
            self._drop()
            assert self._transport is not None
            self._transport.close()

    def abort(self) -> None:
        """Close at once. Nobody is told; see `fail`."""
        if not self.closed:
            self._drop()
            if self._transport is not None:
                self._transport.abort()

    def fail(self, error: BaseException) -> None:
        """Close at once; whoever waits for this connection is told `error`."""
        head, body = self._head, self._body
        self.abort()
        if head is not None and not head.done():
            head.set_exception(error)
        if body is not None:
            body.ended(error)

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if not self._busy:
            self.abort()  # nobody asked for it: taken as a reply it would answer the wrong request
            return
        parser = self._parser
        try:
            parser.feed(data)
        except UpstreamFault as fault:
            self.fail(fault)
            return
        body = self._body
        if body is None:
            if parser.head_complete:
                self._head_arrived()
        elif parser.complete:
            self._finished()
            body.ended(None)
        elif parser.parts:
            self._deadlines.pause()
            body.arrived(len(data))

    def eof_received(self) -> None:
        if self.closed:
            return
        if not self._busy:
            self.close()
            return
        try:
            self._parser.eof()
        except UpstreamFault as fault:
            self.fail(fault)
            return
        body = self._body
        self._finished()
        if body is not None:
            body.ended(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self._deadlines.close()
        if self.closed:
            return
        if not self._busy:
            self._drop()
        elif self._parser.head_complete:
            self.fail(cut(self.peer))
        else:
            self.fail(
                UpstreamFault(
                    f"{self.peer} reset the connection before it replied. Send the request again.",
                    code="connection_reset",
                    replayable=not self._parser.started,
                )
            )

    def pause_writing(self) -> None:
        self._writable = self._loop.create_future()
        self._expect_progress()

    def resume_writing(self) -> None:
        writable, self._writable = self._writable, None
        if writable is not None and not writable.done():
            writable.set_result(None)
        if self._upload is None:
            self._all_written()
        elif self._head is not None:
            self._deadlines.pause()

    # What the body calls.

    def pause_reading(self) -> None:
        if not self._reading_paused and not self.closed:
            assert self._transport is not None
            self._reading_paused = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if self._reading_paused and not self.closed:
            assert self._transport is not None
            self._reading_paused = False
            self._transport.resume_reading()

    def expect_more(self, expected: bool) -> None:
        self._deadlines.watch("idle", self._timeouts.idle_s if expected else 0.0)

    # From head to end.

    def _head_arrived(self) -> None:
        parser, head = self._parser, self._head
        assert head is not None
        if head.done():  # cancelled in this very turn of the loop
            self.abort()
            return
        self._head = None
        if parser.complete:
            parts = parser.parts
            whole = parts[0] if len(parts) == 1 else b"".join(parts)
            head.set_result(UpstreamResponse(parser.status, parser.reason, parser.headers, whole))
            self._finished()
            return
        self._deadlines.pause()
        body = self._body = ResponseBody(self, self._loop, parser.parts)
        head.set_result(UpstreamResponse(parser.status, parser.reason, parser.headers, body))

    def _finished(self) -> None:
        """The reply is complete: the connection goes home, or is closed."""
        assert self._transport is not None
        self._busy = False
        self._body = None
        self._deadlines.clear()
        if self._upload is not None or self._transport.get_write_buffer_size():
            self.abort()  # answered before it had the whole request
        elif not self._parser.keep_alive:
            self.close()
        else:
            self.resume_reading()
            self.used = True
            self._home.released(self)

    def _drop(self) -> None:
        self.closed = True
        self._busy = False
        self._head = self._body = None
        self._deadlines.close()
        if self._upload is not None:
            self._upload.cancel()
        self._home.dropped(self)

    def _abandon(self, future: asyncio.Future[UpstreamResponse]) -> None:
        """The waiter was cancelled: perhaps after its reply had come, when the connection may be somebody else's."""
        if future.cancelled() or not future.done():
            self.abort()
        elif future.exception() is None and isinstance(body := future.result().body, ResponseBody):
            body.close()

    # Uploads in pieces.

    async def _send_pieces(self, pieces: RequestPieces, length: int | None) -> None:
        assert self._transport is not None
        await send_pieces(pieces, length, self._transport, lambda: self._writable)
        self._upload = None
        self._all_written()

    def _upload_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self.fail(error)

    async def _stop_upload(self, upload: asyncio.Task[None], response: UpstreamResponse) -> None:
        """The upstream answered before it had everything: the rest is not sent, and its source is let go of."""
        upload.cancel()
        try:
            await asyncio.wait([upload])
        except asyncio.CancelledError:
            if isinstance(response.body, ResponseBody):
                response.body.close()
            raise

    # Deadlines.

    def _all_written(self) -> None:
        """The request is with the transport; once it has also left that, its reply is waited for."""
        if self._head is not None and self._writable is None:
            self._deadlines.watch("first_byte", self._timeouts.first_byte_s)

    def _expect_progress(self) -> None:
        if self._head is not None:
            assert self._transport is not None
            self._unsent_bytes = self._transport.get_write_buffer_size()
            self._deadlines.watch("upload", self._timeouts.idle_s)

    def _expired(self, phase: Phase) -> None:
        if phase == "total":
            self._time_out("total_timeout", "the end of the reply")
        elif phase == "idle":
            self._time_out("idle_timeout", "the next piece of the reply")
        elif phase == "first_byte":
            self._time_out("first_byte_timeout", "the first byte of the reply")
        elif self._transport is not None and self._transport.get_write_buffer_size() < self._unsent_bytes:
            self._expect_progress()
        else:
            self._time_out("idle_timeout", "it to accept more of the request")

    def _time_out(self, code: str, awaited: str) -> None:
        self.fail(timed_out(self.peer, code, awaited))


def timed_out(peer: str, code: str, awaited: str) -> UpstreamFault:
    return UpstreamFault(
        f"Gave up on {peer} after waiting for {awaited}. Try again, or raise {code}_s for this upstream.",
        code=code,
        status=504,
    )
