"""What a caller is told of its item: where it stands, or the reply in the shape that was asked for."""

from __future__ import annotations

from typing import Any, Final

from ...errors import ClientFault, PenstockError, UpstreamFault
from ...openai.call import STREAMS_WITH_USAGE_OPTION, Endpoint
from ...openai.document import encode, read_object
from ...openai.replay import as_events
from ...reply import RawHeaders, Reply, json_reply
from ..item import Answer, Found, State

STREAMED: Final[tuple[Endpoint, ...]] = ("chat", "completions", "responses")
"""Endpoints that have streams."""
EVENTS: Final = (b"Content-Type", b"text/event-stream; charset=utf-8")
_SECOND: Final = 1_000_000_000
_STATUS: Final[dict[State, str]] = {
    "queued": "queued",
    "batched": "in_progress",
    "running": "in_progress",
    "done": "completed",
    "cancelled": "cancelled",
}


def location(item_id: str) -> str:
    return f"/penstock/deferred/{item_id}"


def ticket(
    item_id: str, state: State, *, created_ns: int, deadline_ns: int, status: int = 202, retry_after_s: float = 0.0
) -> Reply:
    """Where an item stands. `retry_after_s`: when to ask again; 0: there is nothing to wait for."""
    body = {
        "id": item_id,
        "object": "penstock.deferred",
        "status": _STATUS[state],
        "created_at": created_ns // _SECOND,
        "deadline_at": deadline_ns // _SECOND,
        "location": location(item_id),
    }
    reply = json_reply(status, body)
    reply.headers += [(b"Location", location(item_id).encode()), *marks(item_id, "async")]
    if retry_after_s:
        reply.headers.append((b"Retry-After", b"%d" % max(1, round(retry_after_s))))
    return reply


def marks(item_id: str, mode: str) -> RawHeaders:
    """Headers that say how a call was answered."""
    return [(b"x-penstock-batch", mode.encode()), (b"x-penstock-deferred-id", item_id.encode())]


def as_answered(found: Found, mode: str) -> Reply:
    """The reply as the live endpoint would have given it. `found` is done."""
    assert found.answer is not None
    answer = found.answer
    return Reply(answer.status, [*answer.headers, *marks(found.id, mode)], answer.body)


def as_stream(endpoint: Endpoint, answer: Answer, *, include_usage: bool) -> bytes:
    """All events of the reply; of one that failed, or cannot be told as a stream, the event of an error."""
    document = read_object(answer.body)
    if answer.status >= 400:
        return error_event(endpoint, document.get("error"), answer.status)
    usage = include_usage or endpoint not in STREAMS_WITH_USAGE_OPTION
    if events := as_events(endpoint, document, include_usage=usage):
        return b"".join(events)
    fault = UpstreamFault(
        "The reply cannot be told as a stream. Repeat the call without stream to have it.", code="not_streamable"
    )
    return error_event(endpoint, fault.envelope()["error"], fault.http_status)


def error_event(endpoint: Endpoint, error: Any, status: int) -> bytes:
    """As the official SDKs raise it: they look for `error` in the data, whatever the endpoint."""
    if not isinstance(error, dict):
        error = UpstreamFault(f"The call failed with status {status}.", code="batch_item_failed").envelope()["error"]
    if endpoint != "responses":
        return b"data: " + encode({"error": error}) + b"\n\n"
    fields = {name: error.get(name) for name in ("code", "message", "param")}
    return b"event: error\ndata: " + encode({"type": "error", "sequence_number": 0, **fields, "error": error}) + b"\n\n"


def gone(item_id: str) -> PenstockError:
    """There is no reply to `item_id`, and there will be none: its caller gave it up."""
    return ClientFault(
        f"The deferred call {item_id} was cancelled. Send it again to have an answer.",
        code="deferred_cancelled",
        status=410,
    )
