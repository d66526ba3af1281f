"""Whether a reply is all there: what may be given again to another caller, and what was cut, failed or went wrong."""

from __future__ import annotations

import json
from typing import Any, Final

import msgspec

from .call import Endpoint
from .document import Unreadable, read
from .sse import Event, events

_BROKEN: Final = frozenset({"error", "abort", "insufficient_system_resource"})
"""Endings that other servers give to a reply that they could not finish."""
_CHAT_END: Final = b"\n\ndata: [DONE]\n\n"
_ENDINGS: Final = {"response.completed": "completed", "response.incomplete": "incomplete"}


class _Choice(msgspec.Struct):
    index: int = 0
    finish_reason: str | None = None


class _WholeChoice(msgspec.Struct):
    finish_reason: str | None = None
    message: msgspec.Raw = msgspec.Raw(b"")
    text: msgspec.Raw = msgspec.Raw(b"")


class _Chunk(msgspec.Struct):
    choices: list[_Choice] | None = None
    error: Any = None


class _Unary(msgspec.Struct):
    choices: list[_WholeChoice] | None = None
    data: list[msgspec.Raw] | None = None
    results: list[msgspec.Raw] | None = None
    output: list[msgspec.Raw] | None = None
    status: str | None = None
    error: Any = None


class _TypedEvent(msgspec.Struct):
    type: str
    response: msgspec.Raw = msgspec.Raw(b"")


_decode_chunks = msgspec.json.Decoder(list[_Chunk]).decode
_decode_unary = msgspec.json.Decoder(_Unary).decode
_decode_event = msgspec.json.Decoder(_TypedEvent).decode
_Unfit = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def is_whole(endpoint: Endpoint, body: bytes) -> bool:
    """Of a JSON body: it has what a reply of the endpoint must have, its choices have ended, and there is no error."""
    reply = _unary(body)
    if reply is None or reply.error is not None:
        return False
    if endpoint in ("chat", "completions"):
        field, begin = ("message", b"{") if endpoint == "chat" else ("text", b'"')
        choices = reply.choices or ()
        return len(choices) > 0 and all(_ended(c) and bytes(getattr(c, field)).startswith(begin) for c in choices)
    if endpoint == "responses":
        return reply.output is not None and reply.status in (None, *_ENDINGS.values())
    if endpoint == "embeddings":
        return bool(reply.data)
    return bool(reply.results) if endpoint == "moderations" else True


def is_whole_chunks(stream: bytes) -> bool:
    """Of a stream of chat or completions: every choice has ended, `[DONE]` came last, and no event is an error."""
    chunks = _chunks(stream)
    ended: dict[int, bool] = {}
    for chunk in chunks or ():
        if chunk.error is not None:
            return False
        for choice in chunk.choices or ():
            if choice.finish_reason:
                ended[choice.index] = _ended(choice)
            else:
                ended.setdefault(choice.index, False)
    return bool(ended) and all(ended.values())


def whole_response(stream: bytes) -> bytes | None:
    """The JSON of the response that a stream of typed events ended with; None when it did not end well."""
    if b'"type":"error"' in stream or b"event: error" in stream or b"\r" in stream or not stream.endswith(b"\n\n"):
        found = events(stream)
        if any(event.event == "error" or _is_error(event.data) for event in found):
            return None
    else:  # only the last one is worth reading, and the [DONE] that some servers put after it
        found = events(b"\n\n".join(stream.rsplit(b"\n\n", 3)[-3:]))
    if found and found[-1].data == b"[DONE]":
        found.pop()
    return _ending(found[-1]) if found else None


def _ended(choice: _Choice | _WholeChoice) -> bool:
    return bool(choice.finish_reason) and choice.finish_reason not in _BROKEN


def _unary(body: bytes) -> _Unary | None:
    try:
        return _decode_unary(body)
    except _Unfit:
        pass
    try:  # once more without the half characters that the strict parser refuses
        return _decode_unary(json.dumps(read(body), ensure_ascii=False).encode("utf-8", "replace"))
    except (Unreadable, *_Unfit):
        return None


def _chunks(stream: bytes) -> list[_Chunk] | None:
    """All chunks, read at once where a stream is just `data:` lines; None when one is broken or `[DONE]` is missing."""
    if stream.startswith(b"data: ") and stream.endswith(_CHAT_END):
        try:
            return _decode_chunks(b"[%b]" % stream[6 : -len(_CHAT_END)].replace(b"\n\ndata: ", b","))
        except _Unfit:
            pass
    found = events(stream)
    if not found or found[-1].data != b"[DONE]" or not all(e.complete and e.data and e.event != "error" for e in found):
        return None
    try:
        return msgspec.convert([read(event.data) for event in found[:-1]], list[_Chunk])
    except (Unreadable, msgspec.ValidationError):
        return None


def _ending(event: Event) -> bytes | None:
    try:
        typed = _decode_event(event.data)
        inner = bytes(typed.response)
        response = _decode_unary(inner)
    except _Unfit:
        return None
    if not event.complete or response.error is not None or typed.type not in _ENDINGS:
        return None
    return inner if response.status in (None, _ENDINGS[typed.type]) else None


def _is_error(data: bytes) -> bool:
    try:
        return _decode_event(data).type in ("error", "response.failed")
    except _Unfit:
        return False
