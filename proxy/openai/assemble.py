"""From the bytes of a captured stream to the object that the same call would have given without streaming.

Works on whatever is there: a stream that was cut gives what had arrived, an event that cannot be read is left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from .assemble_response import assemble_response
from .call import Endpoint
from .document import Unreadable, read
from .facts import objects
from .sse import EVENT_BYTES_MAX, events

_END: Final = b"\n\ndata: [DONE]\n\n"
_ONCE = frozenset({"id", "type", "index", "role", "name", "object", "created", "model", "format", "expires_at"})
"""Fields whose pieces repeat or replace each other; every other text is joined."""


def assemble(endpoint: Endpoint, data: bytes) -> dict[str, Any]:
    """The reply as one object; empty when the stream holds none. `data` is the decoded stream. Never raises."""
    stream = _objects(data)
    if endpoint == "chat":
        return assemble_chat(stream)
    if endpoint == "completions":
        return assemble_completion(stream)
    if endpoint == "responses":
        return assemble_response(stream)
    return _last_facts(stream)


def _objects(data: bytes) -> Iterator[dict[str, Any]]:
    """The JSON objects in the data of the events, in order."""
    if data.startswith(b"data: {") and data.endswith(_END) and len(data) < EVENT_BYTES_MAX:
        try:  # an ordinary stream is read at once, as one array
            yield from objects(msgspec.json.decode(b"[%b]" % data[6 : -len(_END)].replace(b"\n\ndata: ", b",")))
            return
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            pass
    for event in events(data):
        if not event.data or event.data.startswith(b"[DONE]"):
            continue
        try:
            value = read(event.data)
        except Unreadable:
            continue
        if isinstance(value, dict):
            yield value


def assemble_chat(chunks: Iterator[dict[str, Any]]) -> dict[str, Any]:
    """Chunks of n choices to a `chat.completion`: texts joined, tool calls by index, fields of other servers kept."""
    reply: dict[str, Any] = {}
    choices: dict[int, dict[str, Any]] = {}
    for chunk in _runs(chunks):
        _merge_top(reply, chunk)
        for piece in objects(chunk.get("choices")):
            choice = _choice(choices, piece, {"message": {"role": "assistant", "content": None}})
            delta = piece.get("delta")
            if isinstance(delta, dict):
                _merge_delta(choice["message"], delta)
            _merge_choice(choice, piece, skip="delta")
    if reply.get("object") == "chat.completion.chunk":
        reply["object"] = "chat.completion"
    if reply:
        reply["choices"] = [choices[index] for index in sorted(choices)]
        reply.pop("obfuscation", None)
    for choice in choices.values():
        for call in choice["message"].get("tool_calls") or ():
            call.pop("index", None)
    return reply


def assemble_completion(chunks: Iterator[dict[str, Any]]) -> dict[str, Any]:
    """Chunks of n choices to a `text_completion`."""
    reply: dict[str, Any] = {}
    choices: dict[int, dict[str, Any]] = {}
    for chunk in chunks:
        _merge_top(reply, chunk)
        for piece in objects(chunk.get("choices")):
            choice = _choice(choices, piece, {"text": ""})
            fragment = piece.get("text")
            if isinstance(fragment, str):
                choice["text"] += fragment
            _merge_choice(choice, piece, skip="text")
    if reply:
        reply["choices"] = [choices[index] for index in sorted(choices)]
        reply.pop("obfuscation", None)
    return reply


def _runs(chunks: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The chunks, of which those that only go on with the text of the one before are joined to it: most of a stream."""
    held: dict[str, Any] = {}
    texts: list[str] = []
    for chunk in chunks:
        text = _lift_text(chunk)
        if text is not None and texts and chunk == held:
            texts.append(text)
            continue
        if texts:
            yield _put_back(held, "".join(texts))
            texts = []
        if text is None:
            yield chunk
        else:
            held, texts = chunk, [text]
    if texts:
        yield _put_back(held, "".join(texts))


def _lift_text(chunk: dict[str, Any]) -> str | None:
    """The text of a chunk that holds one delta with only a text in it and no list to be joined; taken out of it."""
    choices = chunk.get("choices")
    if type(choices) is not list or len(choices) != 1 or type(choice := choices[0]) is not dict:
        return None
    delta = choice.get("delta")
    if type(delta) is not dict or len(delta) != 1 or choice.get("logprobs") is not None:
        return None
    if type(text := delta.get("content")) is not str:
        return None
    choice["delta"] = None
    chunk.pop("obfuscation", None)
    return text


def _put_back(chunk: dict[str, Any], text: str) -> dict[str, Any]:
    chunk["choices"][0]["delta"] = {"content": text}
    return chunk


def _last_facts(stream: Iterator[dict[str, Any]]) -> dict[str, Any]:
    """Of events whose shape is not known: the last of the fields that are the same everywhere."""
    reply: dict[str, Any] = {}
    for event in stream:
        inner = event.get("response")
        for source in (event, inner if isinstance(inner, dict) else {}):
            for name in ("id", "model", "usage", "service_tier", "system_fingerprint", "error"):
                if source.get(name) is not None:
                    reply[name] = source[name]
    return reply


def _merge_top(reply: dict[str, Any], chunk: dict[str, Any]) -> None:
    for name, value in chunk.items():
        # What a server leaves empty later on (an id, a model) is not taken back by it.
        if value or reply.get(name) is None:
            reply[name] = value


def _choice(choices: dict[int, dict[str, Any]], piece: dict[str, Any], fresh: dict[str, Any]) -> dict[str, Any]:
    index = piece.get("index")
    index = index if type(index) is int else 0
    choice = choices.get(index)
    if choice is None:
        choice = choices[index] = {"index": index, **fresh, "logprobs": None, "finish_reason": None}
    return choice


def _merge_choice(choice: dict[str, Any], piece: dict[str, Any], skip: str) -> None:
    for name, value in piece.items():
        if name == skip or name == "index" or name == "message":
            continue
        if value is None:
            choice.setdefault(name, None)
            continue
        choice[name] = _joined_lists(choice["logprobs"], value) if name == "logprobs" else value


def _joined_lists(before: Any, after: Any) -> Any:
    """Log probabilities: the lists of one object after those of the other."""
    if not isinstance(before, dict) or not isinstance(after, dict):
        return after
    for name, value in after.items():
        had = before.get(name)
        if isinstance(had, list) and isinstance(value, list):
            had.extend(value)
        elif value is not None or name not in before:
            before[name] = value
    return before


def _merge_delta(into: dict[str, Any], delta: dict[str, Any]) -> None:
    for name, value in delta.items():
        had = into.get(name)
        if name == "tool_calls":
            _merge_tool_calls(into, value)
        elif had is None:
            if value is not None or name not in into:
                into[name] = dict(value) if isinstance(value, dict) else value
        elif isinstance(had, str) and isinstance(value, str):
            if name not in _ONCE:
                into[name] = had + value
            elif value:
                into[name] = value
        elif isinstance(had, dict) and isinstance(value, dict):
            _merge_delta(had, value)
        elif isinstance(had, list) and isinstance(value, list):
            into[name] = had + value
        elif value is not None:
            into[name] = value


def _merge_tool_calls(message: dict[str, Any], pieces: Any) -> None:
    """Each piece to the call of its index; without one (some servers) to the call of its id, or else to the last."""
    calls = message.get("tool_calls")
    if not isinstance(calls, list):
        if not isinstance(pieces, list):
            return
        calls = message["tool_calls"] = []
    for piece in objects(pieces):
        call = _tool_call(calls, piece.get("index"), piece.get("id"))
        if call is None:
            call = {}
            calls.append(call)
        _merge_delta(call, piece)
    calls.sort(key=lambda call: call["index"] if type(call.get("index")) is int else len(calls))


def _tool_call(calls: list[dict[str, Any]], index: Any, call_id: Any) -> dict[str, Any] | None:
    if type(index) is int:
        return next((call for call in calls if call.get("index") == index), None)
    if call_id:
        return next((call for call in calls if call.get("id") == call_id), None)
    return calls[-1] if calls else None
