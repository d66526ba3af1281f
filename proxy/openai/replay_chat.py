"""A whole chat completion or text completion told as the chunks of a stream.

The order is the one of OpenAI: role, reasoning, text, refusal, audio, what else a message holds, calls, ending, usage.
Of values that the SDKs join when they come twice (names, ids, numbers, lists of objects) each is sent once.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from .document import encode
from .facts import objects
from .replay_text import pieces, spans

_EVERY: Final = ("id", "created", "model", "service_tier", "system_fingerprint")
"""On every chunk. What other servers add beside them is on the first."""
_OWN: Final = frozenset({*_EVERY, "object", "choices", "usage", "moderation"})
_CHOICE: Final = frozenset({"index", "message", "text", "logprobs", "finish_reason"})
_MESSAGE: Final = frozenset({"role", "content", "refusal", "audio", "function_call", "tool_calls"})
_AUDIO_CHARS: Final = 32 * 1024
"""Of base64 in one chunk."""
_DONE: Final = b"data: [DONE]\n\n"

_Delta = tuple[bytes, bytes]
"""The JSON of a delta, and that of the log probabilities that go with it."""


def chat_events(reply: dict[str, Any], *, include_usage: bool) -> list[bytes]:
    """The events with `[DONE]`; none when `reply` is no chat completion. Raises `Unwritable`."""
    choices = _choices(reply)
    if not all(_is_message(choice.get("message")) for choice in choices):
        return []
    return _events(reply, choices, "chat.completion.chunk", include_usage)


def completion_events(reply: dict[str, Any], *, include_usage: bool) -> list[bytes]:
    """The events with `[DONE]`; none when `reply` is no text completion. Raises `Unwritable`."""
    choices = _choices(reply)
    if not all(isinstance(choice.get("text"), str) for choice in choices):
        return []
    return _events(reply, choices, "text_completion", include_usage)


def _choices(reply: dict[str, Any]) -> list[dict[str, Any]]:
    """All choices in order; none when one is not an object, has not ended, or their indexes leave gaps."""
    given = reply.get("choices")
    choices = objects(given)
    by_index = {choice.get("index", place): choice for place, choice in enumerate(choices) if _has_place(choice)}
    whole = isinstance(given, list) and sorted(by_index) == list(range(len(given)))
    return [by_index[index] for index in sorted(by_index)] if whole else []


def _has_place(choice: dict[str, Any]) -> bool:
    reason = choice.get("finish_reason")
    return type(choice.get("index", 0)) is int and isinstance(reason, str) and reason != ""


def _is_message(message: Any) -> bool:
    if not isinstance(message, dict):
        return False
    calls = message.get("tool_calls")
    return not calls or (isinstance(calls, list) and len(objects(calls)) == len(calls))


def _events(reply: dict[str, Any], choices: list[dict[str, Any]], kind: str, include_usage: bool) -> list[bytes]:
    usage = reply.get("usage") if include_usage else None
    every = {name: reply[name] for name in _EVERY if name in reply}
    head = b"data: " + encode({"object": kind, **every})[:-1]
    tail = b'],"usage":null}\n\n' if isinstance(usage, dict) else b"]}\n\n"
    events: list[bytes] = []
    for index, choice in enumerate(choices):
        if "message" in choice:
            shape, deltas = b'"delta":', _message(choice["message"], choice.get("logprobs"))
        else:
            shape, deltas = b'"text":', _text(choice["text"], choice.get("logprobs"))
        before = b'%b,"choices":[{"index":%d,%b' % (head, index, shape)
        after = b',"finish_reason":null}' + tail
        events += [b'%b%b,"logprobs":%b%b' % (before, delta, logprobs, after) for delta, logprobs in deltas]
        ending = {name: value for name, value in choice.items() if name not in _CHOICE}
        ending = {"logprobs": None, "finish_reason": choice["finish_reason"], **ending}
        empty = b"{}" if "message" in choice else b'""'
        events.append(b"%b%b,%b%b" % (before, empty, encode(ending)[1:], tail))
    if not events:
        return []
    if rest := {name: value for name, value in reply.items() if name not in _OWN}:
        events[0] = head + b"," + encode(rest)[1:-1] + events[0][len(head) :]
    if reply.get("moderation") is not None:
        events.append(b'%b,"moderation":%b,"choices":[%b' % (head, encode(reply["moderation"]), tail))
    if isinstance(usage, dict):
        events.append(b'%b,"choices":[],"usage":%b}\n\n' % (head, encode(usage)))
    events.append(_DONE)
    return events


def _text(text: str, logprobs: Any) -> Iterator[_Delta]:
    """Of a text completion: the JSON of the text itself, and of the four lists of its log probabilities."""
    tokens = logprobs.get("tokens") if isinstance(logprobs, dict) else None
    runs = spans(tokens, text) if isinstance(tokens, list) else []
    if not runs:
        odds = encode(logprobs)
        for piece in pieces(text) or [""]:
            yield encode(piece), odds
            odds = b"null"
        return
    each = {name for name, value in logprobs.items() if isinstance(value, list) and len(value) == len(tokens or ())}
    rest = {name: value for name, value in logprobs.items() if name not in each}
    for start, end in runs:
        part = {name: logprobs[name][start:end] for name in each}
        yield encode("".join(part["tokens"])), encode(part | rest)
        rest = dict.fromkeys(rest)


def _message(message: dict[str, Any], logprobs: Any) -> Iterator[_Delta]:
    """The deltas that add up to `message`. What is empty comes with the role."""
    odds = _Odds(message, logprobs)
    role: dict[str, Any] = {"role": message.get("role") or "assistant"}
    content = message.get("content")
    role["content"] = "" if isinstance(content, str) else None
    role |= {name: value for name, value in message.items() if not value and name not in role}
    yield encode(role), odds.left()
    others = {name: value for name, value in message.items() if value and name not in _MESSAGE}
    for name in [name for name in others if "reason" in name or "think" in name]:
        yield from _field(name, others.pop(name), [])
    yield from _field("content", content, odds.content)
    yield from _field("refusal", message.get("refusal"), odds.refusal)
    yield from _audio(message.get("audio"))
    if others:
        yield encode(others), b"null"
    yield from _calls(message)


def _field(name: str, value: Any, told: list[_Delta]) -> Iterator[_Delta]:
    """One field of a message: in the pieces that its tokens make, or its words, or as it is when it is not a text."""
    if not value:
        return
    key = b"{" + encode(name) + b":"
    if not isinstance(value, str):
        yield key + encode(value) + b"}", b"null"
    elif told:
        for text, odds in told:
            yield key + text + b"}", odds
    else:
        for piece in pieces(value):
            yield key + encode(piece) + b"}", b"null"


class _Odds:
    """The log probabilities of a message, on the pieces that hold their tokens; or all with the role, where the tokens
    do not spell the text (half characters, calls)."""

    def __init__(self, message: dict[str, Any], logprobs: Any) -> None:
        self._left = logprobs
        self.content: list[_Delta] = []
        self.refusal: list[_Delta] = []
        if isinstance(logprobs, dict):
            self._left = dict(logprobs)
            self.content = self._told("content", message.get("content"))
            self.refusal = self._told("refusal", message.get("refusal"))

    def left(self) -> bytes:
        """What goes with the role: the lists that are told later are null in it."""
        told = bool(self.content or self.refusal)
        if told and not any(value is not None for value in self._left.values()):
            return b"null"
        return encode(self._left)

    def _told(self, name: str, text: Any) -> list[_Delta]:
        tokens = self._left.get(name)
        if not isinstance(tokens, list) or not isinstance(text, str) or len(objects(tokens)) != len(tokens):
            return []
        runs = spans([token.get("token") for token in tokens], text)
        if runs:
            self._left[name] = None
        other = b',"refusal":null}' if name == "content" else b',"content":null}'
        return [
            (
                encode("".join([token["token"] for token in tokens[start:end]])),
                b'{"%b":%b%b' % (name.encode(), encode(tokens[start:end]), other),
            )
            for start, end in runs
        ]


def _audio(audio: Any) -> Iterator[_Delta]:
    """Id, words and sound; the time it expires comes alone and last, as OpenAI sends it."""
    if not isinstance(audio, dict) or not audio:
        if audio:
            yield encode({"audio": audio}), b"null"
        return
    split = {name for name in ("data", "transcript") if audio.get(name) and isinstance(audio[name], str)}
    begin = {name: "" if name in split else value for name, value in audio.items() if name != "expires_at"}
    yield encode({"audio": begin}), b"null"
    for piece in pieces(audio["transcript"]) if "transcript" in split else ():
        yield encode({"audio": {"transcript": piece}}), b"null"
    data = audio["data"] if "data" in split else ""
    for start in range(0, len(data), _AUDIO_CHARS):
        yield encode({"audio": {"data": data[start : start + _AUDIO_CHARS]}}), b"null"
    if "expires_at" in audio:
        yield encode({"audio": {"expires_at": audio["expires_at"]}}), b"null"


def _calls(message: dict[str, Any]) -> Iterator[_Delta]:
    call = message.get("function_call")
    if isinstance(call, dict) and call:
        begun, text = _begun(call, "arguments")
        yield encode({"function_call": begun}), b"null"
        for piece in pieces(text):
            yield b'{"function_call":{"arguments":%b}}' % encode(piece), b"null"
    elif call:
        yield encode({"function_call": call}), b"null"
    for index, call in enumerate(objects(message.get("tool_calls"))):
        yield from _call(index, call)


def _call(index: int, call: dict[str, Any]) -> Iterator[_Delta]:
    """A call of a function or a custom tool: its name at first, its arguments or its input in pieces after it."""
    kind, field = ("custom", "input") if isinstance(call.get("custom"), dict) else ("function", "arguments")
    inner, text = call.get(kind), ""
    if isinstance(inner, dict):
        inner, text = _begun(inner, field)
        call = {**call, kind: inner}
    yield encode({"tool_calls": [{"index": index, **{k: v for k, v in call.items() if k != "index"}}]}), b"null"
    before = b'{"tool_calls":[{"index":%d,"%b":{"%b":' % (index, kind.encode(), field.encode())
    for piece in pieces(text):
        yield before + encode(piece) + b"}}]}", b"null"


def _begun(call: dict[str, Any], field: str) -> tuple[dict[str, Any], str]:
    """A call without its text, and the text."""
    text = call.get(field)
    return ({**call, field: ""}, text) if isinstance(text, str) else (call, "")
