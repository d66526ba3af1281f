"""The standard variables and the configuration of OTLP endpoints, and what each dialect adds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporters.attributes import CONTENT
from exporters.dialects import DIALECTS
from exporters.otlp import OtlpSink
from exporters.otlp_environment import (
    content_from_environment,
    grpc_url,
    sinks_from_environment,
    target_from_configuration,
    target_from_environment,
)
from exporters.otlp_transport import Target, place
from exporters.spans import Attributes, span_attributes
from tests.unit.exporters.a_record import record

BASE = "OTEL_EXPORTER_OTLP_"
TRACES = "OTEL_EXPORTER_OTLP_TRACES_"


@pytest.mark.parametrize(
    ("environ", "url"),
    [
        ({BASE + "ENDPOINT": "http://c:4318"}, "http://c:4318/v1/traces"),
        ({BASE + "ENDPOINT": "http://c:4318/"}, "http://c:4318/v1/traces"),
        ({BASE + "ENDPOINT": "http://c/otlp"}, "http://c/otlp/v1/traces"),
        ({TRACES + "ENDPOINT": "http://c:4318/here"}, "http://c:4318/here"),
        ({BASE + "ENDPOINT": "http://a", TRACES + "ENDPOINT": "http://b/x"}, "http://b/x"),
        ({BASE + "ENDPOINT": "http://c:4317", BASE + "PROTOCOL": "grpc"}, "http://c:4317"),
        ({BASE + "ENDPOINT": "c:4317", BASE + "PROTOCOL": "grpc"}, "https://c:4317"),
        ({BASE + "ENDPOINT": "c", BASE + "PROTOCOL": "grpc", BASE + "INSECURE": "true"}, "http://c:4317"),
    ],
)
def test_endpoints_are_completed_as_the_specification_says(environ: dict[str, str], url: str) -> None:
    target = target_from_environment(environ)
    assert target is not None
    assert target.url == url


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {BASE + "ENDPOINT": " "},
        {BASE + "ENDPOINT": "http://c", "OTEL_SDK_DISABLED": "True"},
        {BASE + "ENDPOINT": "http://c", "OTEL_TRACES_EXPORTER": "none"},
    ],
)
def test_no_endpoint_no_sink(environ: dict[str, str]) -> None:
    assert target_from_environment(environ) is None
    assert sinks_from_environment(environ) == []


def test_the_other_variables() -> None:
    target = target_from_environment(
        {
            BASE + "ENDPOINT": "https://c",
            BASE + "HEADERS": "authorization=Basic%20abc,X-Team = blue",
            TRACES + "TIMEOUT": "2.5",
            BASE + "COMPRESSION": "gzip",
            BASE + "CERTIFICATE": "/ca.pem",
            BASE + "CLIENT_CERTIFICATE": "/cert.pem",
            BASE + "CLIENT_KEY": "/key.pem",
        }
    )
    assert target == Target(
        url="https://c/v1/traces",
        headers={"authorization": "Basic abc", "x-team": "blue"},
        timeout_s=2.5,
        compression="gzip",
        ca_file="/ca.pem",
        client_certificate_file="/cert.pem",
        client_key_file="/key.pem",
    )
    assert "abc" not in repr(target)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (BASE + "PROTOCOL", "http/json"),
        (BASE + "COMPRESSION", "brotli"),
        (BASE + "TIMEOUT", "soon"),
    ],
)
def test_a_value_that_cannot_be_used_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(ValueError, match=f"{name} is '{value}'"):
        target_from_environment({BASE + "ENDPOINT": "http://c", name: value})


@pytest.mark.parametrize(
    ("value", "content"),
    [
        (None, "off"),
        ("NO_CONTENT", "off"),
        ("EVENT_ONLY", "off"),
        ("SPAN_ONLY", "full"),
        ("span_and_event", "full"),
        ("true", "full"),
    ],
)
def test_content_goes_to_the_environments_endpoint_only_when_asked_for(value: str | None, content: str) -> None:
    name = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
    assert content_from_environment({} if value is None else {name: value}) == content
    with pytest.raises(ValueError, match=name):
        content_from_environment({name: "some"})


@pytest.mark.parametrize(
    ("endpoint", "protocol", "url"),
    [
        ("http://c:4318", "http/protobuf", "http://c:4318/v1/traces"),
        ("http://c:4318/", "http/protobuf", "http://c:4318/v1/traces"),
        ("http://c/api/public/otel/v1/traces", "http/protobuf", "http://c/api/public/otel/v1/traces"),
        ("http://c:4317", "grpc", "http://c:4317"),
        ("https://c", "grpc", "https://c:4317"),
        ("c:4317", "grpc", "https://c:4317"),
    ],
)
def test_endpoints_of_the_configuration(endpoint: str, protocol: str, url: str) -> None:
    assert target_from_configuration(endpoint, protocol=protocol, headers={}).url == url


@pytest.mark.parametrize("endpoint", ["c:4318", "ftp://c", "http://", ""])
def test_an_endpoint_that_is_no_url_is_refused(endpoint: str) -> None:
    with pytest.raises(ValueError, match="endpoint"):
        target_from_configuration(endpoint, headers={})
    with pytest.raises(ValueError, match="endpoint"):
        grpc_url("ftp://c", insecure=False)


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_no_endpoint_is_waited_for_without_end(protocol: str) -> None:
    assert target_from_configuration("http://c", protocol=protocol, headers={}, timeout_s=0).timeout_s == 10.0
    assert target_from_configuration("http://c", protocol=protocol, headers={}, timeout_s=3).timeout_s == 3


def test_the_endpoint_is_logged_without_its_secrets() -> None:
    assert place("https://user:pass@c:4318/v1/traces?key=secret") == "https://c:4318/v1/traces"


def test_a_missing_certificate_is_a_mistake_in_the_configuration(tmp_path: Path) -> None:
    for protocol in ("http/protobuf", "grpc"):
        target = Target(url="https://c", protocol=protocol, ca_file=str(tmp_path / "none.pem"))
        with pytest.raises(ValueError, match="certificate file"):
            OtlpSink(target, name="x")
    with pytest.raises(ValueError, match="dialect"):
        OtlpSink(Target(url="http://c"), name="x", dialect="latin")


# Dialects


def attributes(dialect: str, content: str = "full", **changes: object) -> Attributes:
    made = record(**changes)
    return DIALECTS[dialect](made, span_attributes(made, content=content))


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_dialect_only_adds(dialect: str) -> None:
    plain = attributes("gen_ai")
    assert attributes(dialect).items() >= plain.items()


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("content", ["off", "redacted"])
def test_no_dialect_brings_hidden_text_back(dialect: str, content: str) -> None:
    found = attributes(dialect, content)
    assert "Paris" not in repr(found)
    assert "brief" not in repr(found)
    assert not set(CONTENT) & set(found)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("endpoint", ["embeddings", "other"])
def test_every_endpoint_has_a_span_in_every_dialect(dialect: str, endpoint: str) -> None:
    bare = {"input_messages": None, "output_messages": "", "tool_definitions": "not json", "parameters": {}, "tags": {}}
    found = attributes(dialect, endpoint=endpoint, **bare)
    assert all(isinstance(value, str | bool | int | float | list) for value in found.values())


def test_langfuse() -> None:
    found = attributes("langfuse", status=429, error_message="Slow down.")
    expected = {
        "langfuse.observation.type": "generation",
        "langfuse.trace.name": "chat gpt-4o-mini",
        "langfuse.observation.model.name": "gpt-4o-mini-2024-07-18",
        "langfuse.observation.prompt.name": "forecast",
        "langfuse.observation.prompt.version": 3,
        "langfuse.observation.level": "ERROR",
        "langfuse.observation.status_message": "Slow down.",
        "langfuse.observation.completion_start_time": "2026-11-23T02:29:38.250000+00:00",
        "langfuse.trace.tags": ["team=blue", "env=prod"],
        "langfuse.trace.metadata.team": "blue",
        "session.id": "talk-1",
        "user.id": "alice",
    }
    assert {name: found[name] for name in expected} == expected
    assert json.loads(str(found["langfuse.observation.usage_details"])) == {
        "input": 50,
        "input_cached_tokens": 40,
        "input_cache_creation": 10,
        "output": 15,
        "output_reasoning_tokens": 5,
        "total": 120,
    }
    costs = json.loads(str(found["langfuse.observation.cost_details"]))
    assert costs["total"] == 0.5
    assert "langfuse.observation.cost_details" not in attributes(
        "langfuse", cost=None, cost_input=None, cost_cached=None, cost_cache_write=None, cost_output=None
    )


def test_langsmith() -> None:
    found = attributes("langsmith")
    expected = {
        "langsmith.span.kind": "llm",
        "langsmith.trace.name": "chat gpt-4o-mini",
        "langsmith.trace.session_id": "talk-1",
        "langsmith.span.tags": "team=blue,env=prod",
        "langsmith.metadata.env": "prod",
        "gen_ai.system": "openai",
    }
    assert {name: found[name] for name in expected} == expected


def test_openinference() -> None:
    found = attributes("openinference")
    expected = {
        "openinference.span.kind": "LLM",
        "llm.model_name": "gpt-4o-mini-2024-07-18",
        "llm.provider": "openai",
        "llm.token_count.prompt": 100,
        "llm.token_count.completion": 20,
        "llm.token_count.total": 120,
        "llm.token_count.prompt_details.cache_read": 40,
        "llm.token_count.completion_details.reasoning": 5,
        "llm.cost.total": 0.5,
        "llm.input_messages.0.message.role": "system",
        "llm.input_messages.0.message.content": "Be brief.",
        "llm.input_messages.1.message.role": "user",
        "llm.input_messages.1.message.content": "What is the weather in Paris?",
        "llm.output_messages.0.message.content": "I shall look.",
        "llm.output_messages.0.message.tool_calls.0.tool_call.id": "call_1",
        "llm.output_messages.0.message.tool_calls.0.tool_call.function.name": "weather",
        "llm.output_messages.0.message.tool_calls.0.tool_call.function.arguments": '{"city":"Paris"}',
        "input.mime_type": "application/json",
        "session.id": "talk-1",
        "metadata": '{"team":"blue","env":"prod"}',
    }
    assert {name: found[name] for name in expected} == expected
    assert json.loads(str(found["llm.tools.0.tool.json_schema"]))["name"] == "weather"


def test_openinference_knows_the_answers_of_tools() -> None:
    answer = [{"role": "tool", "parts": [{"type": "tool_call_response", "id": "call_1", "response": {"sun": True}}]}]
    found = attributes("openinference", input_messages=json.dumps(answer), system_instructions=None)
    assert found["llm.input_messages.0.message.tool_call_id"] == "call_1"
    assert found["llm.input_messages.0.message.content"] == '{"sun":true}'


keys = st.sampled_from(["role", "parts", "type", "content", "id"])
odd_messages = st.recursive(
    st.none() | st.text(max_size=5) | st.integers(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner),
    max_leaves=8,
)


@given(odd_messages)
def test_no_messages_break_openinference(messages: object) -> None:
    found = attributes("openinference", input_messages=json.dumps(messages), output_messages=json.dumps([messages]))
    assert all(isinstance(value, str | bool | int | float | list) for value in found.values())
