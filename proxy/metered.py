"""Reply bodies that meter what is read from them, and seal the record before the caller can see the end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol

import msgspec

from exporters.record import CallRecord, Outcome

from .background import is_background, reads_a_response
from .entry import Entry
from .errors import PenstockError, UpstreamFault
from .openai.coding import Decoder, decode
from .openai.facts import Read
from .openai.fragments import event_facts, tail_facts
from .openai.meter import StreamMeter, unary_facts
from .reply import BodyStream, RawHeaders, Reply, Tunnel

_log = logging.getLogger(__name__)

_TAIL_BYTES = 4096
"""A JSON reply too long to hold ends with its usage; this much of the end is looked at."""
_CLEAN_CLOSES = (1000, 1001, 1005)


class Drains(Protocol):
    """What becomes of a reply that its caller left: cut off, or read to its end in the background."""

    def __call__(self, body: MeteredBody) -> bool:
        """True when the rest is being drained; the body is then closed by whoever drains it."""


class MeteredBody:
    """A streamed reply on its way to the caller."""

    def __init__(
        self,
        entry: Entry,
        inner: BodyStream,
        *,
        meter: StreamMeter | None,
        decoder: Decoder | None = None,
        forward_decoded: bool = False,
        summary: bool = False,
        abandon: Drains,
        left: Callable[[Entry], None],
    ) -> None:
        self._entry = entry
        self._left = left
        self._inner = inner
        self._meter = meter
        self._decoder = decoder
        self._forward_decoded = forward_decoded
        self._summary = summary
        self._abandon = abandon
        self._ended = False
        self._closed = False
        self._tail = b""

    @property
    def is_held(self) -> bool:
        """Its reply is an item of the queue, which goes on without a caller."""
        return bool(self._entry.exchange.item_id)

    async def read(self) -> bytes:
        while not self._ended:
            try:
                piece = await self._inner.read()
                out = self._pass(piece) if piece else self._end()
            except PenstockError as fault:
                # Of the request it can be too: its body may still be on its way up when the reply begins.
                self._take_facts()
                self._entry.seal("cut" if isinstance(fault, UpstreamFault) else "rejected", fault)
                raise
            if out:
                return out
        return b""

    def _pass(self, piece: bytes) -> bytes:
        """Meter `piece` and give what of it goes on."""
        entry, meter = self._entry, self._meter
        entry.response_bytes += len(piece)
        plain = self._decoder.feed(piece) if self._decoder is not None else piece
        if self._forward_decoded and self._decoder is not None and (self._decoder.broken or self._decoder.truncated):
            raise UpstreamFault(
                "The reply cannot be decoded: it is broken, or too large. Ask for it without a content coding.",
                code="bad_coding",
            )
        entry.capture(plain)
        if meter is None:
            entry.first_token()
            self._tail = (self._tail + plain)[-_TAIL_BYTES:]
            return piece
        out = meter.feed(plain)
        if meter.content_seen and not entry.first_token_s:
            entry.first_token()
        if meter.done and entry.record is None:
            self._take_facts()
            entry.seal("answered")
        return out if self._decoder is None or self._forward_decoded else piece

    def _end(self) -> bytes:
        """The upstream's clean end: seal, and give what was held back."""
        self._ended = True
        rest = self._meter.finish() if self._meter is not None else b""
        if self._decoder is not None and not self._forward_decoded:
            rest = b""
        self._take_facts()
        record = self._entry.seal("answered")
        return rest + _summary(record) if self._summary else rest

    def _take_facts(self) -> None:
        if self._entry.facts is not None:
            return
        if self._meter is not None:
            self._entry.facts = self._meter
        elif "json" in self._entry.response_type:
            self._entry.facts = tail_facts(self._tail)

    async def aclose(self) -> None:
        """Whoever closes before the end was left by the caller."""
        if self._closed:
            return
        self._closed = True
        if self._entry.record is None and not self._ended and self._abandon(self):
            return
        self.give_up()
        await self._inner.aclose()

    def give_up(self) -> None:
        """Seal what there is."""
        if self._entry.record is None:
            self._take_facts()
            self._left(self._entry)

    async def drain(self, timeout_s: float) -> None:
        """Read the rest for its usage, for at most `timeout_s`; the record says `abandoned` all the same."""
        self._entry.left = True
        try:
            async with asyncio.timeout(timeout_s):
                while self._entry.record is None and await self.read():
                    pass
        except (TimeoutError, UpstreamFault):
            _log.debug("the rest of an abandoned reply could not be read")
        finally:
            self.give_up()
            await self._inner.aclose()


class Prefixed:
    """A body of which something was read already. `rest` is None when that was all."""

    def __init__(self, prefix: bytes, rest: BodyStream | None) -> None:
        self._prefix = prefix
        self._rest = rest

    async def read(self) -> bytes:
        if self._prefix:
            prefix, self._prefix = self._prefix, b""
            return prefix
        return await self._rest.read() if self._rest is not None else b""

    async def aclose(self) -> None:
        if self._rest is not None:
            await self._rest.aclose()


class Broken:
    """What is left of a body that broke: the break."""

    def __init__(self, fault: UpstreamFault, inner: BodyStream) -> None:
        self._fault = fault
        self._inner = inner

    async def read(self) -> bytes:
        raise self._fault

    async def aclose(self) -> None:
        await self._inner.aclose()


class MeteredTunnel:
    """A WebSocket whose messages are counted, and whose `response.done` events are metered."""

    def __init__(self, entry: Entry, inner: Tunnel, left: Callable[[Entry, str], None]) -> None:
        self._entry = entry
        self._inner = inner
        self._left = left
        self.protocol = inner.protocol

    @property
    def close_code(self) -> int:
        return self._inner.close_code

    async def receive(self) -> str | bytes | None:
        message = await self._inner.receive()
        if message is None:
            code = self._inner.close_code
            if code in _CLEAN_CLOSES:
                self._entry.seal("answered")
            else:
                self._entry.seal("cut", error_type=f"websocket_close_{code}")
            return None
        self._entry.first_token()
        data = message.encode() if isinstance(message, str) else message
        self._entry.response_bytes += len(data)
        if b'"usage"' in data:
            self._meter(data)
        return message

    def _meter(self, data: bytes) -> None:
        """Add up the usage of each finished response of the session."""
        before = self._entry.facts.usage if self._entry.facts is not None else None
        facts = event_facts(data, before)
        if facts is not None:
            self._entry.facts = facts

    async def send(self, message: str | bytes) -> None:
        self._entry.exchange.body.received += len(message)
        await self._inner.send(message)

    async def aclose(self, code: int = 1000, reason: bytes = b"") -> None:
        if code in _CLEAN_CLOSES:
            self._entry.seal("answered")
        else:
            self._left(self._entry, f"websocket_close_{code}")
        await self._inner.aclose(code, reason)


def whole(entry: Entry, reply: Reply, body: bytes, outcome: Outcome = "answered", error_type: str = "") -> Reply:
    """A reply that is here already: metered, sealed, and told in its headers."""
    entry.response_bytes = len(body)
    reply.body = body
    if body:
        entry.first_token()
    if "json" in entry.response_type:
        read = reply.read or _read(entry, body)
        if read is not None:
            plain, facts = read.text, read.facts
            entry.capture(plain)
            entry.facts = facts
            if reply.status >= 400:
                entry.upstream_error = (facts.error_type, facts.error_message)
            if entry.exchange.method == "GET" and reads_a_response("GET", entry.exchange.path):
                entry.stored_in_background = is_background(plain)
    reply.headers += told(entry.seal(outcome, error_type=error_type))
    return reply


def _read(entry: Entry, body: bytes) -> Read | None:
    """None when the content coding is not known."""
    if entry.response_encoding:
        decoded = decode(body, entry.response_encoding)
        if decoded is None:
            return None
        body = decoded.data
    return Read(body, unary_facts(entry.exchange.endpoint, body))


def told(record: CallRecord) -> RawHeaders:
    """The headers that tell a caller what its call used and cost, as far as that is known."""
    headers: RawHeaders = []
    if record.usage_source:
        headers.append((b"x-penstock-tokens", tokens(record).encode()))
    if record.cost is not None:
        headers.append((b"x-penstock-cost-usd", b"%.10g" % record.cost))
    return headers


def tokens(record: CallRecord) -> str:
    """The counts as a structured field (RFC 9651): `input=19, cached=0, output=10`; what is not known is left out."""
    text = f"input={record.input_tokens}" if record.input_tokens is not None else ""
    if record.cached_tokens is not None:
        text += f", cached={record.cached_tokens}"
    if record.output_tokens is not None:
        text += f", output={record.output_tokens}"
    return text.lstrip(", ")


def _summary(record: CallRecord) -> bytes:
    """An SSE comment, which clients skip, with what a unary reply says in its headers."""
    facts = {
        "request_id": record.request_id,
        "input_tokens": record.input_tokens,
        "cached_tokens": record.cached_tokens,
        "output_tokens": record.output_tokens,
        "cost_usd": record.cost,
    }
    return b": penstock " + msgspec.json.encode(facts) + b"\n\n"
