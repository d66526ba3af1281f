"""Estimates the usage of a call whose upstream did not report it: old servers, and streams that broke off.

The overheads are those of OpenAI's chat format on its GPT-4o family (OpenAI cookbook, "How to count tokens with
tiktoken"); other families differ by a few tokens a message. Not counted: reasoning that the upstream keeps to itself,
audio, documents. An image counts 765 tokens (one of 1024 × 1024 pixels on GPT-4o), 85 at low detail.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from exporters.record import CallRecord

from .prices import NAME_MAX
from .tokenizer import Counter, encoding_name

PER_MESSAGE: Final = 3
PER_NAME: Final = 1
REPLY_PRIMING: Final = 3

IMAGE: Final = 765
IMAGE_LOW: Final = 85

TOOL: Final = {"o200k_base": 7, "cl100k_base": 10}
TOOL_PROPERTIES: Final = 3
TOOL_PROPERTY: Final = 3
TOOL_ENUM: Final = -3
TOOL_ENUM_ITEM: Final = 3
TOOLS_END: Final = 12

_ESTIMATED: Final = frozenset({"chat", "completions", "responses", "embeddings"})
"""Moderations are not here: they cost nothing and no server counts them."""

_decode = msgspec.json.Decoder().decode


def estimate(record: CallRecord, tokenizer: Counter) -> CallRecord:
    """Fill the token counts of `record` by its messages and mark them `estimated`; the record itself is changed.

    Nothing is filled when the upstream reported usage, when there was no reply that costs anything (an error, a
    rejection, a response that only begins in the background), or when the messages are not there (content off,
    a body cut by the capture limit): byte counts alone would say too little.
    """
    if not _lacks_usage(record) or record.input_messages is None:
        return record
    received = _read(record.output_messages)
    if not received and record.endpoint != "embeddings" and record.outcome not in ("abandoned", "cut"):
        return record
    model = (record.response_model or record.request_model)[:NAME_MAX]
    counter = _Shapes(model, tokenizer)
    record.input_tokens = _input(record, counter)
    if record.endpoint != "embeddings":
        reasoning = sum(counter.parts(message, only_reasoning=True) for message in received)
        record.output_tokens = reasoning + sum(counter.parts(message, only_reasoning=False) for message in received)
        record.reasoning_tokens = reasoning or None
    else:
        record.output_tokens = 0
    record.usage_source = "estimated"
    return record


def _lacks_usage(record: CallRecord) -> bool:
    return (
        record.input_tokens is None
        and record.output_tokens is None
        and record.endpoint in _ESTIMATED
        and record.outcome in ("answered", "cached", "abandoned", "cut")
        and 200 <= record.status < 300
    )


def _input(record: CallRecord, counter: _Shapes) -> int:
    messages = _read(record.input_messages)
    if record.endpoint in ("completions", "embeddings"):
        return sum(counter.parts(message) for message in messages)
    count = REPLY_PRIMING + sum(counter.message(message) for message in messages)
    if instructions := _read(record.system_instructions):
        count += PER_MESSAGE + counter.text("system") + sum(counter.part(part) for part in instructions)
    return count + counter.tools(_read(record.tool_definitions))


def _read(text: str | None) -> list[dict[str, Any]]:
    """The objects of a JSON array; what is anything else is left out."""
    if not text:
        return []
    value = _decode(text)
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


class _Shapes:
    """Counts the shapes of the GenAI conventions for one model."""

    def __init__(self, model: str, tokenizer: Counter) -> None:
        self._model = model
        self._tokenizer = tokenizer

    def text(self, value: object) -> int:
        """Text as it is, anything else as the JSON it would be sent as."""
        if value is None:
            return 0
        text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
        return self._tokenizer.count(self._model, text)

    def message(self, message: dict[str, Any]) -> int:
        count = PER_MESSAGE + self.text(message.get("role")) + self.parts(message)
        name = message.get("name")
        return count + (PER_NAME + self.text(name) if isinstance(name, str) else 0)

    def parts(self, message: dict[str, Any], only_reasoning: bool | None = None) -> int:
        parts = message.get("parts")
        return sum(
            self.part(part)
            for part in (parts if isinstance(parts, list) else [])
            if isinstance(part, dict) and only_reasoning in (None, part.get("type") == "reasoning")
        )

    def part(self, part: dict[str, Any]) -> int:
        kind = part.get("type")
        if kind in ("text", "reasoning", "refusal"):
            return self.text(part.get("content"))
        if kind == "tool_call":
            return self.text(part.get("name")) + self.text(part.get("arguments"))
        if kind == "tool_call_response":
            return self.text(part.get("response"))
        if kind in ("blob", "uri", "file"):
            return _image(part)
        if kind == "tokens" and isinstance(part.get("tokens"), list):
            return len(part["tokens"])
        return self.text(part.get("value", part.get("content")))

    def tools(self, definitions: list[dict[str, Any]]) -> int:
        if not definitions:
            return 0
        return TOOLS_END + sum(self._tool(definition) for definition in definitions)

    def _tool(self, definition: dict[str, Any]) -> int:
        inner = definition.get("function")
        function = inner if isinstance(inner, dict) else definition
        if not isinstance(function.get("name"), str):
            return self.text(definition)
        line = f"{function['name']}:{_sentence(function)}"
        return TOOL[encoding_name(self._model)] + self.text(line) + self._properties(function.get("parameters"))

    def _properties(self, schema: object) -> int:
        properties = schema.get("properties") if isinstance(schema, dict) else None
        if not isinstance(properties, dict) or not properties:
            return 0
        return TOOL_PROPERTIES + sum(self._property(name, value) for name, value in properties.items())

    def _property(self, name: str, schema: object) -> int:
        if not isinstance(schema, dict):
            return TOOL_PROPERTY + self.text(name)
        count = TOOL_PROPERTY
        choices = schema.get("enum")
        if isinstance(choices, list):
            count += TOOL_ENUM + sum(TOOL_ENUM_ITEM + self.text(choice) for choice in choices)
        kind = schema.get("type", "")
        count += self.text(f"{name}:{kind if isinstance(kind, str) else ''}:{_sentence(schema)}")
        return count + self._properties(schema) + self._properties(schema.get("items"))


def _sentence(schema: dict[str, Any]) -> str:
    description = schema.get("description")
    return description.removesuffix(".") if isinstance(description, str) else ""


def _image(part: dict[str, Any]) -> int:
    if part.get("modality") != "image":
        return 0
    source = part.get("image_url")
    detail = source.get("detail") if isinstance(source, dict) else part.get("detail")
    return IMAGE_LOW if detail == "low" else IMAGE
