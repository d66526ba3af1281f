"""What single OTLP backends understand beyond the GenAI conventions: attributes added for them, sink by sink.

A dialect gets the record and the attributes that `span_attributes` made of it, and returns the attributes to send. It
takes the caller's text from those attributes alone, so what a sink may not show (`content`) no dialect can bring back.
Sources: the OpenTelemetry pages of Langfuse and LangSmith, and the semantic conventions of OpenInference (Phoenix).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from .openinference import openinference
from .record import CallRecord
from .spans import Attributes, operation, span_name, status

Dialect = Callable[[CallRecord, Attributes], Attributes]


def gen_ai(record: CallRecord, attributes: Attributes) -> Attributes:
    """The conventions as they are."""
    return attributes


def langfuse(record: CallRecord, attributes: Attributes) -> Attributes:
    """Usage and cost are given in Langfuse's own words, whose classes add up: `input` without what was cached.

    Reading the conventions' attributes alone it knows only the older name for cache writes, and would price them twice.
    """
    kinds = {"": "span", "embeddings": "embedding"}
    found: Attributes = {
        "langfuse.observation.type": kinds.get(operation(record), "generation"),
        "langfuse.trace.name": span_name(record),
    }
    _put(found, "langfuse.observation.model.name", record.response_model or record.request_model)
    _put(found, "langfuse.observation.model.parameters", attributes.get("penstock.request.parameters"))
    _put(found, "langfuse.observation.prompt.name", record.prompt_name)
    if record.prompt_version.isdecimal():
        found["langfuse.observation.prompt.version"] = int(record.prompt_version)
    _put(found, "langfuse.observation.usage_details", _json(_usage_classes(record)))
    _put(found, "langfuse.observation.cost_details", _json(_cost_classes(record)))
    _put(found, "langfuse.observation.input", attributes.get("gen_ai.input.messages"))
    _put(found, "langfuse.observation.output", attributes.get("gen_ai.output.messages"))
    if record.stream and record.first_token_ns:
        found["langfuse.observation.completion_start_time"] = _iso(record.first_token_ns)
    if status(record).code == "Error":
        found["langfuse.observation.level"] = "ERROR"
        found["langfuse.observation.status_message"] = status(record).message
    _put(found, "session.id", record.session)
    if record.tags:
        found["langfuse.trace.tags"] = [f"{name}={value}" for name, value in record.tags.items()]
        for name, value in record.tags.items():
            found[f"langfuse.trace.metadata.{name}"] = value
    return attributes | found


def langsmith(record: CallRecord, attributes: Attributes) -> Attributes:
    """LangSmith still reads the provider by its former name."""
    kinds = {"": "chain", "embeddings": "embedding"}
    found: Attributes = {
        "langsmith.span.kind": kinds.get(operation(record), "llm"),
        "langsmith.trace.name": span_name(record),
    }
    _put(found, "gen_ai.system", record.provider)
    _put(found, "langsmith.trace.session_id", record.session)
    if record.tags:
        found["langsmith.span.tags"] = ",".join(f"{name}={value}" for name, value in record.tags.items())
        for name, value in record.tags.items():
            found[f"langsmith.metadata.{name}"] = value
    return attributes | found


DIALECTS: Final[Mapping[str, Dialect]] = {
    "gen_ai": gen_ai,
    "langfuse": langfuse,
    "langsmith": langsmith,
    "openinference": openinference,
}
"""By the names that `dialect` has in the configuration."""


def _usage_classes(record: CallRecord) -> dict[str, int]:
    cached, written = record.cached_tokens or 0, record.cache_write_tokens or 0
    classes = {
        "input": None if record.input_tokens is None else max(0, record.input_tokens - cached - written),
        "input_cached_tokens": record.cached_tokens,
        "input_cache_creation": record.cache_write_tokens,
        "output": None
        if record.output_tokens is None
        else max(0, record.output_tokens - (record.reasoning_tokens or 0)),
        "output_reasoning_tokens": record.reasoning_tokens,
    }
    known = {name: count for name, count in classes.items() if count is not None}
    return known | {"total": sum(known.values())} if known else {}


def _cost_classes(record: CallRecord) -> dict[str, float]:
    classes = {
        "input": record.cost_input,
        "input_cached_tokens": record.cost_cached,
        "input_cache_creation": record.cost_cache_write,
        "output": record.cost_output,
        "total": record.cost,
    }
    return {name: usd for name, usd in classes.items() if usd is not None}


def _put(found: Attributes, name: str, value: Any) -> None:
    if value:
        found[name] = value


def _json(value: Mapping[str, Any]) -> str:
    return msgspec.json.encode(value).decode() if value else ""


def _iso(at_ns: int) -> str:
    return datetime.fromtimestamp(at_ns / 1e9, UTC).isoformat()
