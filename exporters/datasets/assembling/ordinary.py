"""Ordinary messages to chat messages in a third of the time: texts, calls of functions and their results.

Most conversations have nothing else. What is made of them is what `messages.to_openai` makes, in the same order of
fields, less those that nothing is trained on.
"""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

from ..example import Message


class _Text(msgspec.Struct, tag_field="type", tag="text", forbid_unknown_fields=True, gc=False):
    content: str


class _Call(msgspec.Struct, tag_field="type", tag="tool_call", forbid_unknown_fields=True, gc=False):
    id: str
    name: str
    arguments: str


class _Result(msgspec.Struct, tag_field="type", tag="tool_call_response", forbid_unknown_fields=True, gc=False):
    id: str
    response: str


class _Message(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    role: str
    parts: list[_Text | _Call | _Result]
    finish_reason: str | None = None
    annotations: Any = None
    refusal: None = None
    content_form: Literal["absent"] | None = None


_decode: Final = msgspec.json.Decoder(list[_Message]).decode


def ordinary(text: str, most: int | None = None) -> list[Message] | None:
    """The first chat messages of JSON in the form of the conventions. None: not all of them are ordinary.

    Raises `msgspec.DecodeError` for what is no JSON.
    """
    made: list[Message] = []
    try:
        found = _decode(text)
    except msgspec.ValidationError:
        return None
    for message in found[:most]:
        parts = message.parts
        if len(parts) == 1 and isinstance(first := parts[0], _Text):
            made.append({"role": message.role, "content": first.content})
        elif (other := _with_tools(message.role, parts)) is not None:
            made.append(other)
        else:
            return None
    return made


def _with_tools(role: str, parts: list[_Text | _Call | _Result]) -> Message | None:
    if len(parts) == 1 and isinstance(first := parts[0], _Result):
        return {"role": role, "tool_call_id": first.id, "content": first.response}
    text: str | None = None
    calls = []
    for part in parts:
        if isinstance(part, _Call):
            function = {"name": part.name, "arguments": part.arguments}
            calls.append({"id": part.id, "type": "function", "function": function})
        elif isinstance(part, _Result) or text is not None:
            return None
        else:
            text = part.content
    return {"role": role, "tool_calls": calls, "content": text} if calls else None
