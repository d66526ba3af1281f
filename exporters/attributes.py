"""The one table that joins a record's field, its span attribute and its column in `generations`.

Names follow the OpenTelemetry GenAI semantic conventions where they have a word; `penstock.*` where they have none.
`spans.py` writes attributes by this table, the materialized view reads them by it, and a test holds both to it.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Field(NamedTuple):
    record: str
    """Field of `CallRecord`."""
    attribute: str
    column: str
    type: str
    """Column type. Nullable: the attribute is absent when the fact is not known."""


FIELDS: Final = (
    Field("request_id", "penstock.request.id", "request_id", "String"),
    Field("method", "http.request.method", "method", "LowCardinality(String)"),
    Field("path", "url.path", "path", "String"),
    Field("endpoint", "penstock.endpoint", "endpoint", "LowCardinality(String)"),
    Field("provider", "gen_ai.provider.name", "provider", "LowCardinality(String)"),
    Field("upstream", "penstock.upstream", "upstream", "LowCardinality(String)"),
    Field("request_model", "gen_ai.request.model", "model", "LowCardinality(String)"),
    Field("response_model", "gen_ai.response.model", "response_model", "LowCardinality(String)"),
    Field("response_id", "gen_ai.response.id", "response_id", "String"),
    Field("stream", "gen_ai.request.stream", "stream", "Bool"),
    Field("status", "http.response.status_code", "status", "UInt16"),
    Field("outcome", "penstock.outcome", "outcome", "LowCardinality(String)"),
    Field("error_type", "error.type", "error_type", "LowCardinality(String)"),
    Field("error_message", "penstock.error.message", "error_message", "String"),
    Field("request_bytes", "http.request.body.size", "request_bytes", "UInt64"),
    Field("response_bytes", "http.response.body.size", "response_bytes", "UInt64"),
    Field("key_id", "penstock.key.id", "key_id", "LowCardinality(String)"),
    Field("user", "user.id", "user", "String"),
    Field("session", "gen_ai.conversation.id", "session", "String"),
    Field("prompt_name", "gen_ai.prompt.name", "prompt_name", "LowCardinality(String)"),
    Field("prompt_version", "gen_ai.prompt.version", "prompt_version", "LowCardinality(String)"),
    Field("content", "penstock.content", "content", "LowCardinality(String)"),
    Field("truncated", "penstock.truncated", "truncated", "Bool"),
    Field("input_messages", "gen_ai.input.messages", "input_messages", "String"),
    Field("output_messages", "gen_ai.output.messages", "output_messages", "String"),
    Field("system_instructions", "gen_ai.system_instructions", "system_instructions", "String"),
    Field("tool_definitions", "gen_ai.tool.definitions", "tool_definitions", "String"),
    Field("system_fingerprint", "openai.response.system_fingerprint", "system_fingerprint", "LowCardinality(String)"),
    Field("service_tier_requested", "openai.request.service_tier", "service_tier_requested", "LowCardinality(String)"),
    Field("service_tier", "openai.response.service_tier", "service_tier", "LowCardinality(String)"),
    Field("usage_source", "penstock.usage.source", "usage_source", "LowCardinality(String)"),
    Field("input_tokens", "gen_ai.usage.input_tokens", "input_tokens", "Nullable(UInt64)"),
    Field("cached_tokens", "gen_ai.usage.cache_read.input_tokens", "cached_tokens", "Nullable(UInt64)"),
    Field("cache_write_tokens", "gen_ai.usage.cache_creation.input_tokens", "cache_write_tokens", "Nullable(UInt64)"),
    Field("output_tokens", "gen_ai.usage.output_tokens", "output_tokens", "Nullable(UInt64)"),
    Field("reasoning_tokens", "gen_ai.usage.reasoning.output_tokens", "reasoning_tokens", "Nullable(UInt64)"),
    Field("input_audio_tokens", "penstock.usage.audio.input_tokens", "input_audio_tokens", "Nullable(UInt64)"),
    Field("output_audio_tokens", "penstock.usage.audio.output_tokens", "output_audio_tokens", "Nullable(UInt64)"),
    Field("input_image_tokens", "penstock.usage.image.input_tokens", "input_image_tokens", "Nullable(UInt64)"),
    Field("cost", "penstock.cost.usd", "cost", "Nullable(Float64)"),
    Field("cost_input", "penstock.cost.input.usd", "cost_input", "Nullable(Float64)"),
    Field("cost_cached", "penstock.cost.cache_read.usd", "cost_cached", "Nullable(Float64)"),
    Field("cost_cache_write", "penstock.cost.cache_write.usd", "cost_cache_write", "Nullable(Float64)"),
    Field("cost_output", "penstock.cost.output.usd", "cost_output", "Nullable(Float64)"),
    Field("cache_status", "penstock.cache.status", "cache_status", "LowCardinality(String)"),
    Field("batch_id", "penstock.batch.id", "batch_id", "String"),
    Field("alias", "penstock.alias", "alias", "LowCardinality(String)"),
    Field("variant", "penstock.variant", "variant", "LowCardinality(String)"),
)
"""Fields of one value. `finish_reasons` goes as `gen_ai.response.finish_reasons`, an array of strings, into the column
`finish_reasons Array(LowCardinality(String))`; `tags` one attribute each, `penstock.tag.NAME`, into
`tags Map(LowCardinality(String), String)`; `savings` likewise `penstock.saving.STRATEGY` (a number) into
`savings Map(LowCardinality(String), Float64)`; `response_headers` likewise `http.response.header.NAME` (semantic
conventions: an array of strings, here of one) into `response_headers Map(LowCardinality(String), String)`;
`parameters` as the conventions name them (`gen_ai.request.temperature`, ...) and whole as JSON text in
`penstock.request.parameters`, column `parameters String`; the number of attempts in `penstock.attempts`, column
`attempts UInt8`. Without a column: `item_id` as `penstock.item.id`, `pruned_tokens`
as `penstock.pruned.input_tokens`.

Columns made from the span itself: `timestamp DateTime64(9)`, `trace_id`, `span_id`, `parent_span_id`,
`service LowCardinality(String)`, `operation LowCardinality(String)` (`gen_ai.operation.name`: chat, text_completion,
embeddings; absent for endpoints that are not parsed), `duration_ms Float64`, `ttft_ms Nullable(Float64)`
(from `gen_ai.response.time_to_first_chunk`, seconds)."""

CONTENT: Final = (
    "gen_ai.input.messages",
    "gen_ai.output.messages",
    "gen_ai.system_instructions",
    "gen_ai.tool.definitions",
)
"""Attributes with the caller's text: kept once, in `generations`, and absent from `otel_traces`."""
