"""`Item`: one call that waits in the queue. What the worker puts in, the dispatcher asks and the caller gets back."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from ..openai.call import Endpoint
from ..reply import RawHeaders

Mode = Literal["hold", "async", "file"]
State = Literal["queued", "batched", "running", "done", "cancelled"]

BATCHABLE: Final[dict[str, Endpoint]] = {
    "/v1/chat/completions": "chat",
    "/v1/completions": "completions",
    "/v1/responses": "responses",
    "/v1/embeddings": "embeddings",
    "/v1/moderations": "moderations",
}
"""Paths of which a call may become a line of a batch."""


class Keep(msgspec.Struct, array_like=True, frozen=True):
    """Where the response cache is to have the reply."""

    key: str
    namespace: str
    ttl_s: float


class Context(msgspec.Struct, array_like=True, frozen=True, kw_only=True):
    """Of the exchange that brought the item: what its own record, made when it is answered, says about whose it is."""

    request_id: str
    trace_id: str
    span_id: str
    trace_state: str = ""
    start_ns: int
    """When the call came, Unix time."""
    provider: str = ""
    key_id: str = ""
    user: str = ""
    session: str = ""
    tags: dict[str, str] = {}
    prompt_name: str = ""
    prompt_version: str = ""
    headers: RawHeaders = []
    """What an upstream must have to answer alike: `openai-beta` and the like; without a credential also for whom."""
    keep: Keep | None = None
    alias: str = ""
    variant: str = ""
    pruned: str = ""


class NewItem(msgspec.Struct, frozen=True, kw_only=True):
    """An item on its way into the queue; the fields are those of the table `items`."""

    id: str
    mode: Mode
    scope: str
    upstream: str
    credential: str = ""
    endpoint: Endpoint
    path: str
    model: str
    body: bytes
    stream: bool = False
    include_usage: bool = False
    question: str = ""
    rejoin: str = ""
    rejoin_by_key: bool = False
    deadline_ns: int
    created_ns: int
    lot: str
    webhook: str = ""
    context: bytes
    """An encoded `Context`."""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """How an item ended: the status, headers and body that the live endpoint would have sent, errors included."""

    status: int
    headers: RawHeaders = []
    body: bytes = b""


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What a caller is told of its item."""

    id: str
    mode: Mode
    state: State
    endpoint: Endpoint
    stream: bool
    include_usage: bool
    created_ns: int
    deadline_ns: int
    answer: Answer | None
    """None until the state is done."""


_encoder = msgspec.msgpack.Encoder()
_context = msgspec.msgpack.Decoder(Context)
_headers = msgspec.msgpack.Decoder(RawHeaders)


def encode_context(context: Context) -> bytes:
    return _encoder.encode(context)


def decode_context(data: bytes) -> Context:
    """Raises `msgspec.DecodeError`."""
    return _context.decode(data)


def encode_headers(headers: RawHeaders) -> bytes:
    return _encoder.encode(headers)


def decode_headers(data: bytes) -> RawHeaders:
    """Raises `msgspec.DecodeError`."""
    return _headers.decode(data)
