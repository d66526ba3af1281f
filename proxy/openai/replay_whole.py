"""Whether a reply is all there: what may be given again to another caller, and what was cut, failed or went wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Annotated, Any, Final, Literal

import msgspec

from .call import Endpoint
from .document import Unreadable, read
from .facts import Facts, ordinary_facts, unusual_facts
from .sse import Event, events

_BROKEN: Final = frozenset({"error", "abort", "insufficient_system_resource"})
"""Endings that other servers give to a reply that they could not finish."""
_CHAT_END: Final = b"\n\ndata: [DONE]\n\n"
_ENDINGS: Final = {"response.completed": "completed", "response.incomplete": "incomplete"}
_NOT_EMPTY: Final = msgspec.Meta(min_length=1)


class _Choice(msgspec.Struct):
    index: int = 0
    finish_reason: str | None = None


class _Chunk(msgspec.Struct):
    choices: list[_Choice] | None = None
    error: Any = None


class _Object(msgspec.Struct):
    """Any JSON object."""


class _ChatChoice(msgspec.Struct):
    message: _Object
    finish_reason: str


class _TextChoice(msgspec.Struct):
    text: str
    finish_reason: str


class _Unary(msgspec.Struct):
    """What every whole reply has: no error."""

    error: None = None


class _Chat(_Unary, kw_only=True):
    choices: Annotated[list[_ChatChoice], _NOT_EMPTY]


class _Completion(_Unary, kw_only=True):
    choices: Annotated[list[_TextChoice], _NOT_EMPTY]


class _Response(_Unary, kw_only=True):
    output: list[msgspec.Raw]
    status: Literal["completed", "incomplete"] | None = None


class _Embeddings(_Unary, kw_only=True):
    data: Annotated[list[msgspec.Raw], _NOT_EMPTY]


class _Moderations(_Unary, kw_only=True):
    results: Annotated[list[msgspec.Raw], _NOT_EMPTY]


class _EndOfResponse(_Unary):
    status: str | None = None


class _TypedEvent(msgspec.Struct):
    type: str
    response: msgspec.Raw = msgspec.Raw(b"")


_decode_chunks = msgspec.json.Decoder(list[_Chunk]).decode
_decode_event = msgspec.json.Decoder(_TypedEvent).decode
_decode_end = msgspec.json.Decoder(_EndOfResponse).decode
_decode_whole: Final[dict[Endpoint, Callable[[bytes], _Unary]]] = {
    "chat": msgspec.json.Decoder(_Chat).decode,
    "completions": msgspec.json.Decoder(_Completion).decode,
    "responses": msgspec.json.Decoder(_Response).decode,
    "embeddings": msgspec.json.Decoder(_Embeddings).decode,
    "moderations": msgspec.json.Decoder(_Moderations).decode,
    "other": msgspec.json.Decoder(_Unary).decode,
}
_Unfit = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def is_whole(endpoint: Endpoint, body: bytes) -> bool:
    """Of a JSON body: it has what a reply of the endpoint must have, its choices have ended, and there is no error."""
    decode = _decode_whole[endpoint]
    try:
        reply = decode(body)
    except msgspec.ValidationError:
        return False
    except _Unfit:
        try:  # once more without the half characters that the strict parser refuses
            reply = decode(json.dumps(read(body), ensure_ascii=False).encode("utf-8", "replace"))
        except (Unreadable, *_Unfit):
            return False
    if isinstance(reply, (_Chat, _Completion)):
        for choice in reply.choices:
            if not _ended(choice.finish_reason):
                return False
    return True


def whole_facts(endpoint: Endpoint, body: bytes) -> Facts | None:
    """The facts of a JSON body that `is_whole`; None of one that is not. An ordinary one is read once for both."""
    facts = ordinary_facts(body) if endpoint == "chat" else None
    if facts is not None:
        return facts if _BROKEN.isdisjoint(facts.finish_reasons) else None
    return unusual_facts(endpoint, body) if is_whole(endpoint, body) else None


def is_whole_chunks(stream: bytes) -> bool:
    """Of a stream of chat or completions: every choice has ended, `[DONE]` came last, and no event is an error."""
    chunks = _chunks(stream)
    ended: dict[int, bool] = {}
    for chunk in chunks or ():
        if chunk.error is not None:
            return False
        for choice in chunk.choices or ():
            if choice.finish_reason:
                ended[choice.index] = _ended(choice.finish_reason)
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


def _ended(reason: str) -> bool:
    return bool(reason) and reason not in _BROKEN


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
        response = _decode_end(inner)
    except _Unfit:
        return None
    if not event.complete or typed.type not in _ENDINGS:
        return None
    return inner if response.status in (None, _ENDINGS[typed.type]) else None


def _is_error(data: bytes) -> bool:
    try:
        return _decode_event(data).type in ("error", "response.failed")
    except _Unfit:
        return False
