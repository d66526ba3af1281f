"""One stored reply for both shapes: a whole reply told as a stream, a stream told as one whole reply.

What a client reads is the same either way. Differences that remain: a null that was absent or the other way round, the
`index` that a call or the order that choices had in a whole reply, and fields that only streams have (obfuscation).
"""

from __future__ import annotations

from typing import Any

from .assemble import assemble
from .call import Endpoint
from .document import Unwritable, encode, read_object
from .replay_chat import chat_events, completion_events
from .replay_response import response_events
from .replay_whole import is_whole, is_whole_chunks, whole_response
from .sse import event_ends


def as_events(endpoint: Endpoint, reply: dict[str, Any], *, include_usage: bool) -> list[bytes]:
    """The events of a stream that says what the whole `reply` says, each with the empty line that ends it.

    Empty when it cannot be told as a stream: another endpoint, an ending or a list that is missing, items or choices
    that cannot be told apart. `include_usage` is for chat and completions (responses end with their usage anyway); a
    reply that holds none gives none. Never raises.
    """
    try:
        if endpoint == "chat":
            return chat_events(reply, include_usage=include_usage)
        if endpoint == "completions":
            return completion_events(reply, include_usage=include_usage)
        return response_events(reply) if endpoint == "responses" else []
    except Unwritable:
        return []


def as_reply(endpoint: Endpoint, stream: bytes) -> bytes | None:
    """The JSON body that the same call would have got without streaming; None when the stream is not `complete`.

    Holds the usage when the stream does. Never raises.
    """
    if endpoint == "responses":
        response = whole_response(stream)
        if response is None or read_object(response).get("output"):
            return response
    elif not complete(endpoint, stream, stream=True):
        return None
    try:
        return encode(assemble(endpoint, stream))
    except Unwritable:
        return None


def complete(endpoint: Endpoint, body: bytes, *, stream: bool) -> bool:
    """Whether a reply of status 2xx is whole, went well, and is worth keeping. Never raises.

    A body is a JSON object without an `error` that holds what the endpoint gives (choices that have ended, output,
    data, results). A stream has come to its end without an error event: `[DONE]` and an ending for every choice, or
    response.completed or .incomplete. Streams of other endpoints are not known well enough.
    """
    if not stream:
        return is_whole(endpoint, body)
    if endpoint == "responses":
        return whole_response(body) is not None
    return endpoint in ("chat", "completions") and is_whole_chunks(body)


def events_of(stream: bytes) -> list[bytes]:
    """The events of a stored stream byte for byte, comments between them too: joined they are `stream` again."""
    ends = [*event_ends(stream, 0)]
    if not ends or ends[-1] < len(stream):
        ends.append(len(stream))
    return [stream[start:end] for start, end in zip([0, *ends], ends, strict=False) if end > start]
