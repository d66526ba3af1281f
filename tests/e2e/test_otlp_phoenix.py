"""Spans in a real OTLP backend: sent over HTTP and gRPC, and found again with model, tokens, cost and messages."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from exporters.otlp import OtlpSink
from exporters.otlp_transport import Target
from exporters.sink import Batch, SinkUnavailable
from tests.unit.exporters.dialects.spoken import CALLED
from tests.wire.scripted import json_reply

from .a_call import a_call
from .phoenix import PROGRAM, Phoenix, phoenix
from .serve import penstock, until
from .stage import Stage, chat_reply

pytestmark = [
    pytest.mark.skipif(not PROGRAM.exists(), reason="Phoenix is not installed; `make test` installs it"),
    pytest.mark.timeout(400),
]


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Phoenix]:
    with phoenix(tmp_path_factory.mktemp("phoenix")) as running:
        yield running


def sink(backend: Phoenix, protocol: str, **options: Any) -> OtlpSink:
    url = backend.grpc_url if protocol == "grpc" else f"{backend.url}/v1/traces"
    return OtlpSink(Target(url=url, protocol=protocol), name=protocol, **options)


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_a_call_is_found_with_all_that_it_was(backend: Phoenix, protocol: str) -> None:
    call = a_call()
    exporter = sink(backend, protocol, dialect="openinference")
    exporter.write(Batch(token="1", records=[call]))
    exporter.close()
    exchange, child = backend.spans(call.trace_id, 2)
    assert (exchange["name"], exchange["span_kind"], exchange["status_code"]) == ("chat gpt-4o-mini", "LLM", "UNSET")
    assert (exchange["context"]["span_id"], child["parent_id"]) == (call.span_id, call.span_id)
    expected = {
        "llm.model_name": "gpt-4o-mini-2024-07-18",
        "llm.token_count.prompt": 100,
        "llm.token_count.completion": 20,
        "llm.input_messages.1.message.content": "What is the weather in Paris?",
        "llm.output_messages.0.message.tool_calls.0.tool_call.function.name": "weather",
        "gen_ai.usage.input_tokens": 100,
        "gen_ai.response.id": "chatcmpl-1",
        "penstock.request.id": call.request_id,
        "session.id": "talk-1",
        "user.id": "alice",
    }
    assert {name: exchange["attributes"].get(name) for name in expected} == expected
    assert child["name"] == "POST"
    assert child["attributes"]["server.address"] == "api.openai.com"


def sent(backend: Phoenix, **changes: Any) -> dict[str, Any]:
    """The span of an exchange, as Phoenix has it."""
    call = a_call(**changes)
    exporter = sink(backend, "http/protobuf", dialect="openinference")
    exporter.write(Batch(token="1", records=[call]))
    exporter.close()
    return backend.spans(call.trace_id, 1 + len(call.attempts))[0]


def test_a_conversation_with_a_picture_and_a_tool(backend: Phoenix) -> None:
    found = sent(backend, **CALLED)["attributes"]
    prefix = "llm.input_messages"
    expected = {
        f"{prefix}.0.message.role": "system",
        f"{prefix}.1.message.contents.0.message_content.text": "What is this?",
        f"{prefix}.1.message.contents.1.message_content.image.image.url": "data:image/png;base64,aGk=",
        f"{prefix}.2.message.tool_calls.0.tool_call.function.arguments": '{"at": 1}',
        f"{prefix}.3.message.tool_call_id": "call_1",
        f"{prefix}.3.message.content": "A cat.",
        "prompt.id": "forecast",
        "tag.tags": ["team=blue", "env=prod"],
    }
    assert {name: found.get(name) for name in expected} == expected
    assert json.loads(found["llm.tools.0.tool.json_schema"])["name"] == "weather"


def test_who_it_was_and_which_session(backend: Phoenix) -> None:
    span = sent(backend, session="talk-of-two", user="carol")
    sent(backend, session="talk-of-two", user="carol")
    shown = backend.shown(span)
    assert (shown["userId"], shown["trace"]["session"]["sessionId"]) == ("carol", "talk-of-two")
    assert json.loads(shown["metadata"]) == {
        "team": "blue",
        "env": "prod",
        "prompt_name": "forecast",
        "prompt_version": "3",
    }
    session = backend.session("talk-of-two")
    assert (session["numTraces"], session["userId"]) == (2, "carol")
    assert session["firstInput"]["value"] == "What is the weather in Paris?"
    assert session["lastOutput"]["value"] == "I shall look."


PRICES = {"input": 0.15e-6, "cached": 0.075e-6, "output": 0.6e-6}
"""Of gpt-4o-mini, US dollars a token, in Phoenix's list and in Penstock's."""
COUNTS: dict[str, Any] = {
    "input_tokens": 2000,
    "cached_tokens": 1024,
    "cache_write_tokens": None,
    "output_tokens": 100,
    "reasoning_tokens": None,
    "input_audio_tokens": None,
    "output_audio_tokens": None,
}


def priced(backend: Phoenix, span: dict[str, Any]) -> dict[str, Any]:
    """What is shown of it once Phoenix, which takes its time, has priced it."""
    return until(lambda: backend.shown(span), lambda shown: shown["costSummary"] is not None, 60)


def test_phoenix_arrives_at_the_same_cost_with_cached_tokens(backend: Phoenix) -> None:
    shown = priced(backend, sent(backend, **COUNTS))
    assert (shown["tokenCountPrompt"], shown["tokenCountCompletion"], shown["tokenCountTotal"]) == (2000, 100, 2100)
    assert shown["tokenPromptDetails"]["cacheRead"] == 1024
    cost = shown["costSummary"]
    assert cost["prompt"]["cost"] == pytest.approx(976 * PRICES["input"] + 1024 * PRICES["cached"])
    assert cost["completion"]["cost"] == pytest.approx(100 * PRICES["output"])


def test_a_reply_from_the_cache_costs_nothing_there_either(backend: Phoenix) -> None:
    free = dict.fromkeys(("cost", "cost_input", "cost_cached", "cost_cache_write", "cost_output"), 0.0)
    span = sent(backend, outcome="cached", cache_status="hit", attempts=[], **COUNTS | free)
    priced(backend, sent(backend, **COUNTS))  # what came before it has been priced by now
    assert backend.shown(span)["costSummary"] is None
    assert span["attributes"]["penstock.reused.input_tokens"] == 2000


def test_the_conventions_alone_are_understood_too(backend: Phoenix) -> None:
    call = a_call()
    exporter = sink(backend, "http/protobuf")
    exporter.write(Batch(token="1", records=[call]))
    exporter.close()
    exchange, _ = backend.spans(call.trace_id, 2)
    assert exchange["attributes"]["gen_ai.request.model"] == "gpt-4o-mini"
    assert exchange["attributes"]["llm.token_count.prompt"] == 100, "Phoenix reads the count from gen_ai.usage"


def test_an_error_is_an_error_there(backend: Phoenix) -> None:
    call = a_call(status=429, error_type="rate_limit_exceeded", error_message="Slow down.")
    exporter = sink(backend, "grpc")
    exporter.write(Batch(token="1", records=[call]))
    exporter.close()
    exchange, _ = backend.spans(call.trace_id, 2)
    assert (exchange["status_code"], exchange["status_message"]) == ("ERROR", "Slow down.")


def test_a_batch_that_is_sent_twice_is_there_once(backend: Phoenix) -> None:
    call, last = a_call(), a_call()
    for protocol in ("http/protobuf", "grpc"):
        exporter = sink(backend, protocol)
        exporter.write(Batch(token="1", records=[call]))
        exporter.close()
    exporter = sink(backend, "http/protobuf")
    exporter.write(Batch(token="2", records=[last]))
    exporter.close()
    backend.spans(last.trace_id, 2)  # what came before it has been stored by now
    assert len(backend.spans(call.trace_id, 2)) == 2


def test_a_wrong_path_is_the_endpoints_fault(backend: Phoenix) -> None:
    exporter = OtlpSink(Target(url=f"{backend.url}/v1/nothing-here"), name="x")
    with pytest.raises(SinkUnavailable, match="HTTP 40"):
        exporter.write(Batch(token="1", records=[a_call()]))
    exporter.close()


TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e47", "00f067aa0ba902b7"


@pytest.mark.parametrize("configured", ["file", "environment"])
def test_from_the_sdks_call_to_the_backend(
    backend: Phoenix, stage: Stage, tmp_path_factory: pytest.TempPathFactory, configured: str
) -> None:
    by_file = configured == "file"
    table = f'[[otlp]]\npreset = "phoenix"\nendpoint = "{backend.url}"\n'
    environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": backend.grpc_url, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
    trace_id = TRACE + ("01" if by_file else "02")
    stage.play(json_reply(chat_reply()))
    with (
        penstock(
            tmp_path_factory.mktemp("otlp"),
            upstreams={"stage": f"{stage.url}/v1"},
            config=table if by_file else "",
            environ={} if by_file else environ,
        ) as proxy,
        openai.OpenAI(base_url=proxy.base_url, api_key="sk-callers-own", max_retries=0) as client,
    ):
        reply = client.chat.completions.create(
            model="gpt-4o-mini",
            messages=[{"role": "user", "content": "Say hello."}],
            extra_headers={"traceparent": f"00-{trace_id}-{PARENT}-01"},
        )
        spans = backend.spans(trace_id, 2)
    exchange = next(span["attributes"] for span in spans if span["parent_id"] == PARENT)
    assert len(spans) == 2
    assert reply.usage is not None
    assert exchange["gen_ai.response.id"] == reply.id
    assert exchange["gen_ai.usage.output_tokens"] == reply.usage.completion_tokens
    # Who sets the endpoint for everything on the machine has not asked for prompts.
    assert ("gen_ai.input.messages" in exchange) == by_file
    assert exchange.get("llm.input_messages.0.message.content") == ("Say hello." if by_file else None)
