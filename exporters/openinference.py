"""OpenInference attributes (Arize Phoenix and its kin): messages as numbered attributes, counts under `llm.*`.

Source: the semantic conventions of OpenInference, `openinference-semantic-conventions` 0.1.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from .record import CallRecord
from .spans import Attributes, operation

MESSAGES_MAX: Final = 200
"""Numbered attributes are made for this many messages of each side; `input.value` holds the whole conversation."""

_COUNTS: Final = {
    "llm.token_count.prompt": "input_tokens",
    "llm.token_count.completion": "output_tokens",
    "llm.token_count.prompt_details.cache_read": "cached_tokens",
    "llm.token_count.prompt_details.cache_write": "cache_write_tokens",
    "llm.token_count.prompt_details.audio": "input_audio_tokens",
    "llm.token_count.completion_details.reasoning": "reasoning_tokens",
    "llm.token_count.completion_details.audio": "output_audio_tokens",
    "llm.cost.total": "cost",
    "llm.cost.completion": "cost_output",
}


def openinference(record: CallRecord, attributes: Attributes) -> Attributes:
    """`attributes` and, for a parsed endpoint, what OpenInference calls the same things."""
    name = operation(record)
    if not name:
        return attributes | {"openinference.span.kind": "CHAIN"}
    model = record.response_model or record.request_model
    found: Attributes = {"openinference.span.kind": "EMBEDDING" if name == "embeddings" else "LLM"}
    if model:
        found["embedding.model_name" if name == "embeddings" else "llm.model_name"] = model
    if record.provider:
        found["llm.provider"] = record.provider
    if parameters := attributes.get("penstock.request.parameters"):
        found["llm.invocation_parameters"] = parameters
    _add_counts(found, record)
    if record.session:
        found["session.id"] = record.session
    if record.tags:
        found["metadata"] = msgspec.json.encode(record.tags).decode()
        found["tag.tags"] = [f"{tag}={value}" for tag, value in record.tags.items()]
    _add_content(found, attributes)
    return attributes | found


def _add_counts(found: Attributes, record: CallRecord) -> None:
    for attribute, field in _COUNTS.items():
        value = getattr(record, field)
        if value is not None:
            found[attribute] = value
    if record.input_tokens is not None and record.output_tokens is not None:
        found["llm.token_count.total"] = record.input_tokens + record.output_tokens
    if record.cost is not None and record.cost_output is not None:
        found["llm.cost.prompt"] = record.cost - record.cost_output


def _add_content(found: Attributes, attributes: Attributes) -> None:
    system = _parsed(attributes.get("gen_ai.system_instructions"))
    before = [{"role": "system", "parts": system}] if system else []
    asked = before + _parsed(attributes.get("gen_ai.input.messages"))
    answered = _parsed(attributes.get("gen_ai.output.messages"))
    for side, messages in (("input", asked), ("output", answered)):
        if messages:
            found[f"{side}.value"] = msgspec.json.encode(messages).decode()
            found[f"{side}.mime_type"] = "application/json"
        for number, message in enumerate(messages[:MESSAGES_MAX]):
            if isinstance(message, dict):
                _add_message(found, f"llm.{side}_messages.{number}.message", message)
    for number, tool in enumerate(_parsed(attributes.get("gen_ai.tool.definitions"))[:MESSAGES_MAX]):
        found[f"llm.tools.{number}.tool.json_schema"] = msgspec.json.encode(tool).decode()


def _add_message(found: Attributes, prefix: str, message: dict[str, Any]) -> None:
    found[f"{prefix}.role"] = str(message.get("role") or "")
    parts = [part for part in _list(message.get("parts")) if isinstance(part, dict)]
    texts = [part for part in parts if part.get("type") in ("text", "reasoning")]
    calls = [part for part in parts if part.get("type") == "tool_call"]
    answers = [part for part in parts if part.get("type") == "tool_call_response"]
    if texts:
        found[f"{prefix}.content"] = "\n".join(_text(part.get("content")) for part in texts)
    for number, call in enumerate(calls):
        base = f"{prefix}.tool_calls.{number}.tool_call"
        if call.get("id"):
            found[f"{base}.id"] = str(call["id"])
        found[f"{base}.function.name"] = str(call.get("name") or "")
        found[f"{base}.function.arguments"] = _text(call.get("arguments"))
    if answers:
        found[f"{prefix}.tool_call_id"] = str(answers[0].get("id") or "")
        found[f"{prefix}.content"] = _text(answers[0].get("response", answers[0].get("result")))


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _parsed(text: Any) -> list[Any]:
    """The list that `text` holds; empty when it holds none (a redacted or shortened text may not be JSON)."""
    if not isinstance(text, str) or not text:
        return []
    try:
        return _list(msgspec.json.decode(text))
    except msgspec.DecodeError:
        return []


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
