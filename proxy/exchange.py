"""`Exchange`: one call on its way through the chain. Each field names the one place that writes it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from exporters.record import Attempt

from .batching.callers.control import Deferral
from .batching.item import Keep
from .errors import ClientFault
from .openai.call import Call, Endpoint
from .reply import RawHeaders


class RequestSource(Protocol):
    """The body as it arrives from the caller."""

    async def read(self) -> bytes:
        """The next bytes; b"" at the end. Raises `ClientGone` when the caller leaves, `ClientFault` when it lies."""


class Settle(Protocol):
    """`abandoned`: the caller did not stay to the end."""

    def __call__(self, exchange: Exchange, *, abandoned: bool) -> None: ...


class RequestBody:
    """A request body: read whole by those who need it whole, else streamed through once."""

    __slots__ = ("_source", "bytes_max", "data", "length", "received")

    def __init__(self, source: RequestSource | None, length: int | None, bytes_max: int) -> None:
        self._source = source
        self.length = length
        """Content-Length as sent; None when the body is chunked."""
        self.bytes_max = bytes_max
        self.data: bytes | None = b"" if source is None else None
        """The whole body once it was read whole."""
        self.received = 0

    @property
    def is_whole(self) -> bool:
        return self.data is not None

    async def whole(self) -> bytes:
        """The whole body, kept for a second reader. Raises `ClientFault` body_too_large (413)."""
        if self.data is None:
            pieces = []
            while self.received != self.length and (piece := await self.read()):
                pieces.append(piece)
            self.data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        return self.data

    async def read(self) -> bytes:
        """The next bytes of a body that nobody reads whole; b"" at the end."""
        if self._source is None:
            return b""
        piece = await self._source.read()
        self.received += len(piece)
        if self.received > self.bytes_max:
            raise body_too_large(self.bytes_max)
        if not piece:
            self._source = None
        return piece


def body_too_large(bytes_max: int) -> ClientFault:
    return ClientFault(
        f"The request body is larger than {bytes_max} bytes. Send less, or raise server.body_bytes_max.",
        code="body_too_large",
        status=413,
    )


@dataclass(slots=True)
class Exchange:
    # server.py
    request_id: str
    trace_id: str
    span_id: str
    parent_span_id: str
    trace_state: str
    start_ns: int
    """Unix time; durations are added to it from the monotonic clock."""
    started_s: float
    """The same moment on the monotonic clock."""
    method: str
    path: str
    """As on the request line, undecoded, without the query."""
    query: str
    """Without the question mark; "" when there is none."""
    headers: RawHeaders
    names: list[bytes]
    """The lower-case names of `headers`, one for one."""
    fields: dict[bytes, bytes]
    """The first value of each header field by its lower-case name, for those who look for one."""
    body: RequestBody
    endpoint: Endpoint
    websocket: bool = False

    # understand: the parsed copy of the body; None for endpoints that are not parsed or bodies that cannot be.
    call: Call | None = None
    user: str = ""
    session: str = ""
    tags: dict[str, str] = field(default_factory=dict)
    prompt_name: str = ""
    prompt_version: str = ""
    accepted: bool = False
    """entry.py: the mark in the spool is written."""

    # resolve: for a call of an alias. It also puts the variant's model into `call` and `body.data`, and takes what that
    # is no longer true of (a content coding) off `headers`, `names` and `fields`.
    alias: str = ""
    """What the caller asked for; "" when that was a model."""
    variant: str = ""
    """The name of the variant that was chosen."""
    bound: str = ""
    """The upstream that the variant names; "": as for any call of its model."""
    asked: bytes | None = None
    """For the record: the caller's own words, plain, where the variant is asked with fewer. None: `body.data`."""
    pruned: str = ""
    """Those words that the variant is not asked."""

    # authenticate
    key_id: str = ""
    caller_authorization_is_ours: bool = False
    """The Authorization header held a Penstock key, so it must not travel on."""

    # cache
    cache_status: str = ""
    """hit, semantic, coalesced, miss or bypass; "" for a call that the cache has nothing to do with."""
    settle: Settle | None = None
    """Called once, before the record is written: who pays for a call that several share may change until then."""
    departed: Callable[[asyncio.Task[Any]], bool] | None = None
    """Called with the call's task when the caller hangs up: True when it must go on all the same, for others."""

    # schedule
    deferral: Deferral | None = None
    """What the call wants of batching; None: to be asked as it is, now."""

    # batch
    item_id: str = ""
    """The item of the queue that stands for this call. Its answer has a record of its own."""
    sent: bytes | None = None
    """What the upstream is to have instead of `body.data`: the same with another service tier. None: that."""

    # cache; the dispatcher does it when the reply is there
    keep: Keep | None = None
    """Where the cache is to have the reply of a call that is deferred."""

    # the dispatcher, for the exchanges that it makes of items
    batch_id: str = ""
    links: list[tuple[str, str]] = field(default_factory=list)

    # forward
    upstream: str = ""
    provider: str = ""
    usage_asked: bool = False
    """Usage was asked of the upstream on behalf of a caller that did not ask, so its chunk is hidden."""
    attempts: list[Attempt] = field(default_factory=list)

    def header(self, name: bytes) -> bytes | None:
        """The first value of the request header `name` (lower case)."""
        return self.fields.get(name)
