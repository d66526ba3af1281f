from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from exporters.record import CallRecord, decode_record, encode
from exporters.redact import Redactor
from proxy.metering import complete as module
from proxy.metering.baselines import NO_BASELINES
from proxy.metering.complete import Completer, Pricer, completer, pricer
from proxy.metering.prices import Prices
from proxy.metering.tokenizer import Tokenizer
from proxy.settings import Price, Server, Settings

AT = 1_795_000_000_000_000_000
REQUEST = {"model": "gpt-4o", "messages": [{"role": "user", "content": "write to jane@example.com"}]}
REPLY = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "model": "gpt-4o-2024-08-06",
    "service_tier": "default",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hello world"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 10, "completion_tokens": 20, "total_tokens": 30},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def configuration(folder: Path) -> Settings:
    return Settings(server=Server(data_dir=str(folder)))


def record(reply: Any = REPLY, request: Any = REQUEST, **fields: Any) -> CallRecord:
    base: dict[str, Any] = {
        "request_id": "r",
        "trace_id": "t",
        "span_id": "s",
        "start_ns": AT,
        "end_ns": AT + 1,
        "method": "POST",
        "path": "/v1/chat/completions",
        "endpoint": "chat",
        "provider": "openai",
        "status": 200,
        "outcome": "answered",
        "request_body": msgspec.json.encode(request),
        "response_body": msgspec.json.encode(reply),
        "request_type": "application/json",
        "response_type": "application/json",
    }
    return CallRecord(**{**base, **fields})


def test_from_bodies_to_cost(configuration: Settings) -> None:
    done = completer(configuration)(record())
    assert (done.request_model, done.response_model, done.service_tier) == ("gpt-4o", "gpt-4o-2024-08-06", "default")
    assert (done.input_tokens, done.output_tokens, done.usage_source) == (10, 20, "upstream")
    # 10 x 2.50 + 20 x 10
    assert done.cost == pytest.approx(225e-6)
    assert done.cost_input == pytest.approx(25e-6)
    assert (done.cost_cached, done.cost_cache_write) == (0, 0)
    assert done.cost_output == pytest.approx(200e-6)
    assert "jane@example.com" in (done.input_messages or "")
    assert (done.request_body, done.response_body) == (None, None)


def test_without_usage_it_is_estimated_and_priced(configuration: Settings) -> None:
    done = completer(configuration)(record({**REPLY, "usage": None}))
    assert (done.output_tokens, done.usage_source) == (2, "estimated")
    assert done.cost == pytest.approx(((done.input_tokens or 0) * 2.5 + 2 * 10) / 1e6)


def test_what_a_variant_was_not_asked_is_counted_once_and_saved(configuration: Settings) -> None:
    complete = completer(configuration)
    done = complete(record(pruned="You are a bot. " * 10))
    assert (done.pruned_tokens, done.pruned) == (51, "")
    # 1.25 a million: what is cached
    assert done.savings == pytest.approx({"pruning": 51 * 1.25e-6})
    again = complete(decode_record(encode(done)))
    assert (again.pruned_tokens, again.savings) == (done.pruned_tokens, done.savings)
    assert complete(record(pruned="x", status=429, reply={})).savings == {}


def test_an_unknown_price_is_none_and_never_zero(configuration: Settings) -> None:
    for fields in ({"provider": ""}, {"reply": {**REPLY, "service_tier": "scale"}}):
        done = completer(configuration)(record(**fields))  # type: ignore[arg-type]
        assert done.input_tokens == 10
        assert (done.cost, done.cost_input, done.cost_cached, done.cost_cache_write, done.cost_output) == (None,) * 5


def test_an_error_costs_nothing_that_is_known(configuration: Settings) -> None:
    done = completer(configuration)(record({"error": {"message": "no", "type": "x", "code": "y"}}, status=429))
    assert (done.input_tokens, done.cost, done.usage_source) == (None, None, "")


def test_overrides(folder: Path) -> None:
    own = Settings(server=Server(data_dir=str(folder)), prices={"gpt-4o": Price(input=1000, output=0)})
    assert completer(own)(record()).cost == pytest.approx(0.01)
    assert pricer(own)(record(input_tokens=10, output_tokens=1, request_model="gpt-4o")).cost == pytest.approx(0.01)


def test_the_tier_asked_for_is_billed_only_when_the_reply_broke_off(configuration: Settings) -> None:
    price = pricer(configuration)
    usage: dict[str, Any] = {"input_tokens": 1000, "output_tokens": 0, "request_model": "gpt-5"}
    asked: dict[str, Any] = {**usage, "service_tier_requested": "flex"}
    assert price(record(**asked, usage_source="upstream")).cost == pytest.approx(1250e-6)
    assert price(record(**asked, usage_source="estimated")).cost == pytest.approx(625e-6)
    assert price(record(**asked, usage_source="upstream", service_tier="priority")).cost == pytest.approx(2500e-6)


def test_a_reply_from_the_cache_was_not_bought(configuration: Settings) -> None:
    done = completer(configuration)(record(outcome="cached", provider=""))
    assert (done.input_tokens, done.cost, done.cost_output) == (10, 0.0, 0.0)


def test_redacted_and_off(configuration: Settings) -> None:
    complete = completer(configuration)
    redacted = complete(record(content="redacted"))
    assert "jane@example.com" not in repr(redacted)
    assert "write to" in (redacted.input_messages or "")
    off = complete(record(content="off"))
    assert (off.input_messages, off.output_messages, off.request_body, off.response_body) == (None,) * 4
    assert "jane" not in repr(off)
    for done in (redacted, off):
        assert (done.input_tokens, done.usage_source) == (10, "upstream")
        assert done.cost == pytest.approx(225e-6)


def test_a_worker_does_not_wait_for_the_tokenizer(tmp_path: Path) -> None:
    own = Settings(server=Server(data_dir=str(tmp_path)))
    worker, recorder = completer(own, exact=False), completer(own)
    uncounted = {**REPLY, "usage": None}
    off = worker(record(uncounted))
    # "hello world" has 11 characters; 4 make a token
    assert (off.output_tokens, off.usage_source) == (3, "estimated")
    redacted = worker(record(uncounted, content="redacted"))
    assert (redacted.output_tokens, redacted.usage_source) == (None, "")
    assert "jane" not in repr(redacted)
    assert list(tmp_path.iterdir()) == []
    assert recorder(redacted).output_tokens == 2


def test_off_hides_messages_that_were_there_already(configuration: Settings) -> None:
    done = completer(configuration)(record(content="off", input_messages="[1]", tool_definitions="[2]"))
    assert (done.input_messages, done.tool_definitions) == (None, None)


def test_when_hiding_fails_the_text_goes(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Redactor):
        def redact_record(self, record: CallRecord) -> CallRecord:
            raise ValueError("jane@example.com")

    complete = Completer(Pricer(Prices(), NO_BASELINES), Tokenizer(folder), Broken())
    with caplog.at_level(logging.ERROR):
        done = complete(record(content="redacted", error_message="jane"))
        complete(record(content="redacted"))
    assert "jane" not in repr(done)
    assert done.cost == pytest.approx(225e-6)
    assert [one.name for one in caplog.records].count(module.__name__) == 1
    assert "jane" not in caplog.text


def test_a_step_that_fails_leaves_the_others_their_work(
    configuration: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> CallRecord:
        raise RuntimeError("hello world")

    complete = completer(configuration)
    monkeypatch.setattr(module, "estimate", fail)
    with caplog.at_level(logging.ERROR):
        assert complete(record()).cost == pytest.approx(225e-6)
        monkeypatch.setattr(module, "price", fail)
        assert complete(record()).input_tokens == 10
    assert [one.name for one in caplog.records].count(module.__name__) == 2
    assert "hello" not in caplog.text


@pytest.mark.parametrize("content", ["full", "redacted", "off"])
def test_the_same_record_becomes_the_same_and_twice_is_once(configuration: Settings, content: str) -> None:
    first, second = completer(configuration), completer(configuration)
    for reply in (REPLY, {**REPLY, "usage": None}):
        once = encode(first(record(reply, content=content)))
        assert encode(second(record(reply, content=content))) == once
        assert encode(first(decode_record(once))) == once


@given(
    request=st.binary(max_size=60), reply=st.binary(max_size=60), content=st.sampled_from(["full", "redacted", "off"])
)
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_bytes_of_any_kind_are_no_error(configuration: Settings, request: bytes, reply: bytes, content: str) -> None:
    one = record(request_body=request, response_body=reply, content=content)
    done = completer(configuration)(one)
    assert done.request_id == "r"
    assert done.request_body is None
