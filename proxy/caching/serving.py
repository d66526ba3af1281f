"""A kept reply, given again: in the shape that was asked for, with the headers that say where it came from."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from cache.entry import Entry

from ..exchange import Exchange
from ..openai.call import STREAMS_WITH_USAGE_OPTION, Endpoint
from ..openai.document import read_object
from ..openai.facts import Read, unary_facts
from ..openai.replay import as_events, as_reply, events_of
from ..reply import RawHeaders, Reply, header

_GO_WITH_THE_BODY: Final = frozenset({b"content-type", b"x-request-id", b"openai-version"})
_LENGTHS: Final = frozenset({len(name) for name in (*_GO_WITH_THE_BODY, b"content-encoding")})
"""Of the headers that matter here: two in twenty are then looked at."""
_READ_MAX: Final = 256
_READ_BYTES_MAX: Final = 16 * 1024
"""Of a body whose facts are remembered: 4 MB of them at most."""
_EVENTS: Final = (b"Content-Type", b"text/event-stream; charset=utf-8")
_JSON: Final = (b"Content-Type", b"application/json")


def asks_for_stream(exchange: Exchange) -> bool:
    return exchange.call is not None and exchange.call.stream is True


def asks_for_usage(exchange: Exchange) -> bool:
    """The caller is to see the usage of its stream: at the other endpoints every stream has it."""
    return exchange.endpoint not in STREAMS_WITH_USAGE_OPTION or (
        exchange.call is not None and exchange.call.asks_for_usage
    )


def hide_usage(exchange: Exchange) -> None:
    """Have the record stage take out what this caller did not ask for."""
    exchange.usage_asked = asks_for_stream(exchange) and not asks_for_usage(exchange)


def serves(entry: Entry, exchange: Exchange) -> bool:
    """Whether `entry` has all that this caller asked for."""
    return entry.has_usage or not (asks_for_stream(exchange) and asks_for_usage(exchange))


def reply_of(entry: Entry, exchange: Exchange, pace_s: float) -> Reply | None:
    """None when the reply cannot be told in the shape that was asked for."""
    if not asks_for_stream(exchange):
        if not entry.stream:
            read = _read(exchange.endpoint, entry.body) if len(entry.body) <= _READ_BYTES_MAX else None
            return Reply(200, _headers(entry, _JSON), entry.body, read=read)
        body = as_reply(exchange.endpoint, entry.body)
        return None if body is None else Reply(200, _headers(entry, _JSON), body)
    if entry.stream:
        events = events_of(entry.body) if pace_s else [entry.body]
    else:
        events = as_events(exchange.endpoint, read_object(entry.body), include_usage=True)
    if not events:
        return None
    hide_usage(exchange)
    return Reply(200, _headers(entry, _EVENTS), Paced(events, pace_s) if pace_s else b"".join(events))


@lru_cache(_READ_MAX)
def _read(endpoint: Endpoint, body: bytes) -> Read:
    """What was given once is likely to be given again."""
    return Read(body, unary_facts(endpoint, body))


def _headers(entry: Entry, media_type: tuple[bytes, bytes]) -> RawHeaders:
    """Those of the entry; its media type too, unless the body changed its shape."""
    own = header(entry.headers, b"content-type") or b""
    same = (media_type is _EVENTS) == own.lower().startswith(b"text/event-stream")
    if same and own:
        return list(entry.headers)
    return [media_type, *(one for one in entry.headers if same or one[0].lower() != b"content-type")]


def headers_to_keep(headers: RawHeaders) -> tuple[tuple[tuple[bytes, bytes], ...], bytes]:
    """Those that go with the body, and its content coding."""
    kept, coding = [], b""
    for pair in headers:
        if len(pair[0]) not in _LENGTHS:
            continue
        name = pair[0].lower()
        if name in _GO_WITH_THE_BODY:
            kept.append(pair)
        elif name == b"content-encoding":
            coding = pair[1]
    return tuple(kept), coding


class Paced:
    """A stream that is given again event by event, with a pause between two. Implements `BodyStream`."""

    def __init__(self, events: Sequence[bytes], pace_s: float) -> None:
        self._events = events
        self._pace_s = pace_s
        self._next = 0

    async def read(self) -> bytes:
        if self._next >= len(self._events):
            return b""
        if self._next:
            await asyncio.sleep(self._pace_s)
        self._next += 1
        return self._events[self._next - 1]

    async def aclose(self) -> None:
        self._next = len(self._events)
