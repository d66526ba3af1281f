"""Record every exchange exactly once: the outermost stage, so that refusals and broken replies are recorded too."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Literal, cast

from ..background import reads_a_response
from ..chain import Handler
from ..entry import Entry, Journal
from ..errors import ClientGone, PenstockError, UpstreamFault
from ..exchange import Exchange
from ..http.headers import without
from ..metered import Broken, MeteredBody, MeteredTunnel, Prefixed, whole
from ..openai.coding import decoder_for
from ..openai.meter import StreamMeter
from ..reply import BodyStream, Reply, Tunnel

_log = logging.getLogger(__name__)

DRAINS_MAX = 1000
"""Replies without a caller that are read at a time; beyond, they are cut off as if nothing was to be drained."""

_UNARY_BYTES_MAX = 8 * 1024 * 1024
"""Replies of parsed endpoints are held until they are whole, up to this: their cost is told in a header."""


class Record:
    """The stage. `on_disconnect` says what becomes of a reply whose caller left."""

    def __init__(
        self, journal: Journal, *, on_disconnect: Literal["cancel", "drain"] = "cancel", drain_timeout_s: float = 30.0
    ) -> None:
        self._journal = journal
        self._drains = on_disconnect == "drain"
        self._drain_timeout_s = drain_timeout_s
        self._background: set[asyncio.Task[None]] = set()
        self.stopping = False
        """The worker is being ended by force: what is open is interrupted, not abandoned."""

    async def __call__(self, exchange: Exchange, inner: Handler) -> Reply:
        entry = Entry(self._journal, exchange)
        try:
            reply = await (self._outliving(entry, exchange, inner) if self._drains else inner(exchange))
            reply = await self._recorded(entry, reply)
        except PenstockError as error:
            reply = self._refused(entry, error)
        except (asyncio.CancelledError, ClientGone):
            if not entry.left:
                self._left(entry)
            raise
        except Exception as defect:  # noqa: BLE001 - whatever it is, the exchange is recorded and answered
            _log.exception("a defect of Penstock failed the exchange %s", exchange.request_id)
            entry.status = 500
            entry.seal("failed", error_type=type(defect).__name__)
            reply = PenstockError("Penstock failed; its log says why.", code="internal_error").reply()
        reply.headers.append((b"x-penstock-request-id", exchange.request_id.encode()))
        if exchange.variant:
            reply.headers.append((b"x-penstock-alias", exchange.alias.encode()))
            reply.headers.append((b"x-penstock-variant", exchange.variant.encode()))
        return reply

    async def drained(self, timeout_s: float) -> None:
        """Wait for the replies that are still being read to their end in the background."""
        if self._background:
            await asyncio.wait(self._background, timeout=timeout_s)

    def _refused(self, entry: Entry, error: PenstockError) -> Reply:
        entry.status = error.http_status
        entry.seal("failed" if isinstance(error, UpstreamFault) else "rejected", error)
        return error.reply()

    def _left(self, entry: Entry, how: str = "client_disconnected") -> None:
        if self.stopping:
            entry.seal("interrupted", error_type="worker_stopped")
        else:
            entry.seal("abandoned", error_type=how)

    async def _recorded(self, entry: Entry, reply: Reply) -> Reply:
        entry.answered_with(reply.status, reply.headers)
        body = reply.body
        if reply.status == 101:
            reply.body = MeteredTunnel(entry, cast(Tunnel, body), self._left)
            return reply
        if body and _is_event_stream(entry):
            stream = Prefixed(body, None) if isinstance(body, bytes) else cast(BodyStream, body)
            return self._streamed(entry, reply, stream)
        if isinstance(body, bytes):
            return whole(entry, reply, body)
        if (entry.exchange.endpoint == "other" and reply.status < 400) or _streams_otherwise(entry):
            return self._streamed(entry, reply, cast(BodyStream, body))
        return await self._collected(entry, reply, cast(BodyStream, body))

    async def _collected(self, entry: Entry, reply: Reply, body: BodyStream) -> Reply:
        """Hold a unary reply until it is whole; one that is too long streams on from what there is."""
        pieces, size = [], 0
        try:
            while piece := await body.read():
                pieces.append(piece)
                size += len(piece)
                if size > _UNARY_BYTES_MAX:
                    return self._streamed(entry, reply, Prefixed(b"".join(pieces), body))
        except UpstreamFault as fault:
            # The caller gets what came before the break, and then the break.
            return self._streamed(entry, reply, Prefixed(b"".join(pieces), Broken(fault, body)))
        except asyncio.CancelledError:
            await body.aclose()
            entry.response_bytes = size
            self._left(entry)
            raise
        await body.aclose()
        return whole(entry, reply, b"".join(pieces))

    def _streamed(self, entry: Entry, reply: Reply, body: BodyStream) -> Reply:
        exchange = entry.exchange
        encoding = entry.response_encoding
        decoder = decoder_for(encoding) if encoding else None
        metered = _is_event_stream(entry) and (decoder is not None or not encoding)
        # Only a response that was made in the background can be streamed a second time.
        entry.stored_in_background = metered and reads_a_response(exchange.method, exchange.path)
        hides = metered and exchange.usage_asked
        summary = metered and exchange.header(b"x-penstock-stream-summary") == b"1"
        if hides or summary:
            # The length changes, and what goes on is plain.
            reply.headers = without(reply.headers, b"content-length", *((b"content-encoding",) if decoder else ()))
        reply.body = MeteredBody(
            entry,
            body,
            meter=StreamMeter(exchange.endpoint, hide_usage=hides) if metered else None,
            decoder=decoder,
            forward_decoded=hides or summary,
            summary=summary,
            abandon=self._abandon,
            left=self._left,
        )
        return reply

    def _abandon(self, body: MeteredBody) -> bool:
        if not self._drains or self.stopping or body.is_held or len(self._background) >= DRAINS_MAX:
            return False
        self._spawn(body.drain(self._drain_timeout_s))
        return True

    async def _outliving(self, entry: Entry, exchange: Exchange, inner: Handler) -> Reply:
        """Await `inner` so that a caller who leaves before the reply does not cancel it: it is drained instead."""
        call = asyncio.ensure_future(inner(exchange))
        try:
            return await asyncio.shield(call)
        except asyncio.CancelledError:
            if self.stopping or exchange.item_id or len(self._background) >= DRAINS_MAX:
                call.cancel()  # An item of the queue goes on by itself.
            # Even a reply that came in this very turn of the loop holds a connection until it is read or closed.
            entry.left = True
            self._spawn(self._finish_unseen(entry, call))
            raise

    async def _finish_unseen(self, entry: Entry, call: asyncio.Future[Reply]) -> None:
        """The caller left before the reply's head: take the reply for its usage, within the drain timeout."""
        try:
            async with asyncio.timeout(self._drain_timeout_s):
                reply = await self._recorded(entry, await call)
            if isinstance(reply.body, MeteredBody):
                await reply.body.drain(self._drain_timeout_s)
            elif isinstance(reply.body, MeteredTunnel):
                await reply.body.aclose(1001)
        except (TimeoutError, PenstockError, ClientGone):
            _log.debug("the reply to a caller that left could not be had")
        except Exception:  # noqa: BLE001 - the caller is gone; its exchange is recorded all the same
            _log.exception("a defect of Penstock failed the exchange %s", entry.exchange.request_id)
        finally:
            self._left(entry)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.ensure_future(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)


def _is_event_stream(entry: Entry) -> bool:
    kind = entry.response_type
    return kind[:17].lower() == "text/event-stream" if kind else _asked_for_stream(entry)


def _streams_otherwise(entry: Entry) -> bool:
    """What was to be a stream is none of events, nor an error as JSON: it goes on as it comes."""
    return _asked_for_stream(entry) and not entry.response_type.lower().startswith("application/json")


def _asked_for_stream(entry: Entry) -> bool:
    call = entry.exchange.call
    return call is not None and call.stream is True and entry.status == 200
