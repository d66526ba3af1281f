"""A record as a span: the names of the conventions, nothing that is not known, and no text that may not be shown."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.resources import Resource
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes, openai_attributes
from opentelemetry.semconv.attributes import error_attributes, http_attributes, server_attributes
from opentelemetry.trace import SpanKind, StatusCode

from exporters.attributes import CONTENT, FIELDS
from exporters.readable import readable_spans, resource_from_environment
from exporters.record import Begin, CallRecord
from exporters.spans import attempt_spans, path_template, span_attributes, span_name, status
from tests.unit.exporters.a_record import START_NS, attempt, record


def test_every_field_of_the_table_is_an_attribute_with_its_value() -> None:
    full = record(error_type="timeout", error_message="Too slow.")
    found = span_attributes(full)
    for field in FIELDS:
        assert found[field.attribute] == getattr(full, field.record), field


def test_what_is_not_known_is_absent() -> None:
    bare = CallRecord(
        request_id="1" * 32, trace_id="1" * 32, span_id="2" * 16, start_ns=1, end_ns=2, method="GET", path="/v1/models",
        outcome="answered",
    )  # fmt: skip
    assert span_attributes(bare) == {
        "penstock.request.id": "1" * 32,
        "http.request.method": "GET",
        "url.path": "/v1/models",
        "penstock.endpoint": "other",
        "penstock.outcome": "answered",
        "penstock.content": "full",
    }


def test_zero_tokens_and_a_price_of_zero_are_known() -> None:
    found = span_attributes(record(cached_tokens=0, cost=0.0, cost_cached=None))
    assert found["gen_ai.usage.cache_read.input_tokens"] == 0
    assert found["penstock.cost.usd"] == 0.0
    assert "penstock.cost.cache_read.usd" not in found


def test_families_and_derived_attributes() -> None:
    found = span_attributes(record(attempts=[attempt(address="first", port=1), attempt(address="10.0.0.1", port=8443)]))
    expected = {
        gen_ai_attributes.GEN_AI_OPERATION_NAME: "chat",
        gen_ai_attributes.GEN_AI_RESPONSE_FINISH_REASONS: ["tool_calls"],
        gen_ai_attributes.GEN_AI_REQUEST_TEMPERATURE: 0.2,
        gen_ai_attributes.GEN_AI_REQUEST_MAX_TOKENS: 100,
        gen_ai_attributes.GEN_AI_REQUEST_STOP_SEQUENCES: ["END"],
        "gen_ai.response.time_to_first_chunk": 0.25,
        "openai.api.type": "chat_completions",
        server_attributes.SERVER_ADDRESS: "10.0.0.1",
        server_attributes.SERVER_PORT: 8443,
        "penstock.attempts": 2,
        "penstock.tag.team": "blue",
        "penstock.saving.cache": 0.25,
        "http.response.header.x-request-id": ["req_1"],
    }
    assert {name: found[name] for name in expected} == expected
    assert gen_ai_attributes.GEN_AI_REQUEST_CHOICE_COUNT not in found


def test_the_table_spells_the_names_as_the_conventions_do() -> None:
    known = {
        value
        for module in (gen_ai_attributes, openai_attributes, error_attributes, http_attributes)
        for value in vars(module).values()
        if isinstance(value, str)
    }
    # In the conventions' own repository, but not yet in a release of the Python package.
    newer = {
        "gen_ai.request.stream",
        "gen_ai.prompt.version",
        "gen_ai.usage.reasoning.output_tokens",
        "gen_ai.usage.cache_read.input_tokens",
        "gen_ai.usage.cache_creation.input_tokens",
    }
    ours = {f.attribute for f in FIELDS if f.attribute.startswith(("gen_ai.", "openai.", "error."))}
    assert ours - known <= newer


@pytest.mark.parametrize(
    ("parameters", "attribute", "value"),
    [
        ({"n": 3}, "gen_ai.request.choice.count", 3),
        ({"max_completion_tokens": 5}, "gen_ai.request.max_tokens", 5),
        ({"max_output_tokens": 6}, "gen_ai.request.max_tokens", 6),
        ({"temperature": 1}, "gen_ai.request.temperature", 1.0),
        ({"stop": ["a", "b"]}, "gen_ai.request.stop_sequences", ["a", "b"]),
        ({"encoding_format": "base64"}, "gen_ai.request.encoding_formats", ["base64"]),
        ({"dimensions": 256}, "gen_ai.embeddings.dimension.count", 256),
        ({"response_format": {"type": "json_schema"}}, "gen_ai.output.type", "json"),
        ({"text": {"format": {"type": "text"}}}, "gen_ai.output.type", "text"),
        ({"modalities": ["text", "audio"]}, "gen_ai.output.type", "speech"),
        ({"temperature": "hot"}, "gen_ai.request.temperature", None),
        ({"temperature": True}, "gen_ai.request.temperature", None),
        ({"seed": 2**70}, "gen_ai.request.seed", None),
        ({"stop": [1]}, "gen_ai.request.stop_sequences", None),
        ({"response_format": "json"}, "gen_ai.output.type", None),
    ],
)
def test_parameters_are_attributes_only_when_they_have_the_right_type(
    parameters: dict[str, object], attribute: str, value: object
) -> None:
    found = span_attributes(record(parameters=parameters))
    assert found.get(attribute) == value
    assert str(next(iter(parameters))) in str(found["penstock.request.parameters"])


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
known_parameters = st.sampled_from(
    ["temperature", "n", "stop", "seed", "max_tokens", "response_format", "text", "modalities"]
)


@given(st.dictionaries(known_parameters, json_values, max_size=5))
def test_no_parameters_break_the_span(parameters: dict[str, object]) -> None:
    found = span_attributes(record(parameters=parameters))
    assert all(isinstance(value, str | bool | int | float | list) for value in found.values())


@pytest.mark.parametrize("content", ["off", "redacted"])
def test_text_is_shown_only_where_it_may_be(content: str) -> None:
    found = span_attributes(record(content="full"), content=content)
    assert not set(CONTENT) & set(found)
    assert found["penstock.content"] == "off"


def test_redacted_text_is_shown_where_redacted_text_may_be() -> None:
    found = span_attributes(record(content="redacted"), content="redacted")
    assert set(CONTENT) <= set(found)
    assert found["penstock.content"] == "redacted"


def test_time_to_first_chunk_is_for_streams() -> None:
    assert "gen_ai.response.time_to_first_chunk" not in span_attributes(record(stream=False))
    assert "gen_ai.response.time_to_first_chunk" not in span_attributes(record(first_token_ns=0))


def test_what_is_not_utf8_is_replaced_so_that_every_sink_can_write_it() -> None:
    found = span_attributes(record(path="/v1/\udcff", tags={"a\udcff": "b\udcff"}))
    assert found["url.path"] == "/v1/?"
    assert found["penstock.tag.a?"] == "b?"


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({}, "chat gpt-4o-mini"),
        ({"endpoint": "responses", "path": "/v1/responses"}, "chat gpt-4o-mini"),
        ({"endpoint": "completions"}, "text_completion gpt-4o-mini"),
        ({"endpoint": "embeddings"}, "embeddings gpt-4o-mini"),
        ({"endpoint": "chat", "request_model": ""}, "chat"),
        ({"endpoint": "other", "method": "GET", "path": "/v1/files/file-abc/content"}, "GET /v1/files/{id}/content"),
    ],
)
def test_span_name(changes: dict[str, str], name: str) -> None:
    assert span_name(record(**changes)) == name


@pytest.mark.parametrize(
    ("path", "template"),
    [
        ("/v1/models/gpt-4o", "/v1/models/{id}"),
        ("/v1/models/llama", "/v1/models/{id}"),
        ("/v1/batches/batch_abc/cancel", "/v1/batches/{id}/cancel"),
        ("/v1/responses/resp_abc/input_items", "/v1/responses/{id}/input_items"),
        ("/v1/fine_tuning/jobs/ftjob-a1/events", "/v1/fine_tuning/jobs/{id}/events"),
        ("/v1/vector_stores/vs_a/files/file-b", "/v1/vector_stores/{id}/files/{id}"),
        ("/v1/threads/thread_x/runs/run_y/steps", "/v1/threads/{id}/runs/{id}/steps"),
        ("/v1/audio/speech", "/v1/audio/speech"),
        ("/v1/%2e%2e/x", "/v1/{id}/x"),
        ("", "/"),
    ],
)
def test_identifiers_do_not_become_names(path: str, template: str) -> None:
    assert path_template(path) == template


@given(st.text(max_size=300))
def test_a_name_is_short_whatever_the_path(path: str) -> None:
    template = path_template(path)
    assert len(template) <= 9 * 41
    for segment in template.split("/"):
        assert segment in ("", "{id}") or re.fullmatch("[a-z_]{1,40}|v[0-9]{1,2}", segment)


@pytest.mark.parametrize(
    ("changes", "code", "message"),
    [
        ({}, "Unset", ""),
        ({"outcome": "abandoned", "status": 200}, "Unset", ""),
        ({"outcome": "cached"}, "Unset", ""),
        ({"status": 429}, "Error", "429"),
        ({"status": 401, "outcome": "rejected", "error_message": "No key."}, "Error", "No key."),
        ({"outcome": "cut", "error_type": "upstream_reset"}, "Error", "upstream_reset"),
        ({"outcome": "failed", "status": 502}, "Error", "502"),
        ({"outcome": "interrupted", "status": 0}, "Error", "interrupted"),
    ],
)
def test_status(changes: dict[str, object], code: str, message: str) -> None:
    assert status(record(**changes)) == (code, message)


def test_an_error_answer_has_an_error_type() -> None:
    assert span_attributes(record(status=500))["error.type"] == "500"
    assert "error.type" not in span_attributes(record())


def test_attempts_are_children() -> None:
    tries = [attempt(status=503, span_id="a" * 16), attempt(status=0, error_type="connect_timeout", end_ns=0)]
    first, second = attempt_spans(record(attempts=tries))
    assert (first.span_id, first.parent_span_id, first.name) == ("a" * 16, "2" * 16, "POST")
    assert first.attributes == {
        "http.request.method": "POST",
        "penstock.attempt": 1,
        "penstock.upstream": "openai",
        "server.address": "api.openai.com",
        "server.port": 443,
        "http.response.status_code": 503,
        "error.type": "503",
    }
    assert first.status == ("Error", "503")
    assert second.attributes["http.request.resend_count"] == 1
    assert second.attributes["error.type"] == "connect_timeout"
    assert second.end_ns == START_NS + 1_000_000_000


def test_the_span_of_a_killed_workers_exchange() -> None:
    begin = Begin(request_id="1" * 32, trace_id="1" * 32, span_id="2" * 16, start_ns=5, method="POST", path="/v1/x")
    (span,) = readable_spans(begin.interrupted(9), Resource({}))
    assert span.status.status_code is StatusCode.ERROR
    assert (span.start_time, span.end_time) == (5, 9)


def test_readable_spans_keep_ids_parents_and_state() -> None:
    resource = Resource({"service.name": "x"})
    span, child = readable_spans(record(), resource)
    context, parent = span.get_span_context(), span.parent
    assert context is not None
    assert parent is not None
    assert (f"{context.trace_id:032x}", f"{context.span_id:016x}") == ("1" * 32, "2" * 16)
    assert (f"{parent.span_id:016x}", parent.is_remote) == ("3" * 16, True)
    assert dict(context.trace_state) == {"vendor": "value"}
    assert span.kind is child.kind is SpanKind.CLIENT
    assert child.parent is context
    assert span.resource is resource
    assert (span.start_time, span.end_time) == (START_NS, START_NS + 1_000_000_000)
    (root, _) = readable_spans(record(parent_span_id="", trace_state="BROKEN"), resource)
    assert root.parent is None
    assert not root.get_span_context().trace_state


def test_the_resource_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OTEL_SERVICE_NAME", raising=False)
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
    made = resource_from_environment().attributes
    assert (made["service.name"], made["deployment.environment.name"]) == ("penstock", "test")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "gateway")
    assert resource_from_environment().attributes["service.name"] == "gateway"
