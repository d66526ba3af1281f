"""Records of items, lines and batches: as the live call's would be, priced as batch, the same each time."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from exporters.record import Attempt, CallRecord
from proxy.batching.item import Answer, Context, Keep, encode_context
from proxy.batching.records import ItemRecords, answer_headers, batch_span, ids_of
from proxy.metering.complete import completer
from proxy.settings import Price, Record, Server, Settings

SECOND = 1_000_000_000
START = 1_795_400_978 * SECOND
CONTEXT = Context(
    request_id="0" * 31 + "1",
    trace_id="1" * 32,
    span_id="2" * 16,
    start_ns=START,
    provider="openai",
    key_id="team",
    user="alice",
    tags={"team": "blue"},
    alias="bot",
    variant="tuned",
)
REPLY = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi Bob"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 1_000_000, "completion_tokens": 1_000_000, "total_tokens": 2_000_000},
}
BODY = {"model": "m", "messages": [{"role": "user", "content": "mail bob@example.com"}], "temperature": 0.5}
ANSWER = Answer(status=200, body=msgspec.json.encode(REPLY))
ATTEMPT = Attempt(span_id="b" * 16, upstream="openai", address="h", port=1, start_ns=START, status=200)


def records(tmp_path: Path, content: Any = "full", after_s: int = 60) -> ItemRecords:
    settings = Settings(
        server=Server(data_dir=str(tmp_path)),
        record=Record(content=content),
        prices={"m": Price(input=2.0, output=4.0, tiers={"batch": 0.5})},
    )
    return ItemRecords(settings, clock=lambda: START + after_s * SECOND)


def item(context: Context = CONTEXT, **changes: Any) -> Any:
    given: dict[str, Any] = {
        "id": "item_1",
        "mode": "async",
        "upstream": "openai",
        "path": "/v1/chat/completions",
        "model": "m",
        "body": msgspec.json.encode(BODY),
        "stream": False,
        "created_ns": START,
        "attempts": 0,
        "context": encode_context(context),
    }
    return SimpleNamespace(**given | changes)


def batch(**changes: Any) -> Any:
    given: dict[str, Any] = {
        "id": "b1",
        "kind": "caller",
        "upstream": "openai",
        "path": "/v1/chat/completions",
        "model": "m",
        "provider_id": "batch_9",
        "status": "completed",
        "total": 3,
        "completed": 2,
        "failed": 1,
        "created_ns": START,
        "in_progress_ns": START + SECOND,
        "completed_ns": START + 7 * SECOND,
        "failed_ns": 0,
        "expired_ns": 0,
        "cancelled_ns": 0,
        "context": encode_context(CONTEXT),
    }
    return SimpleNamespace(**given | changes)


def test_an_answered_item_is_a_call_below_the_exchange_that_brought_it(tmp_path: Path) -> None:
    made = records(tmp_path).of_item(item(), ANSWER, batch_id="batch_9", batch_span=("9" * 32, "8" * 16))
    assert (made.kind, made.item_id, made.batch_id) == ("call", "item_1", "batch_9")
    assert (made.request_id, made.trace_id, made.parent_span_id) == (CONTEXT.request_id, "1" * 32, "2" * 16)
    assert len(made.span_id) == 16
    assert made.span_id != made.parent_span_id
    assert made.links == [("9" * 32, "8" * 16)]
    assert (made.start_ns, made.end_ns) == (START, START + 60 * SECOND)
    assert (made.status, made.outcome, made.endpoint, made.path) == (200, "answered", "chat", "/v1/chat/completions")
    assert (made.key_id, made.user, made.tags) == ("team", "alice", {"team": "blue"})
    assert (made.request_model, made.upstream, made.provider) == ("m", "openai", "openai")
    assert (made.alias, made.variant) == ("bot", "tuned")
    assert (made.usage_source, made.input_tokens, made.output_tokens) == ("upstream", 1_000_000, 1_000_000)


def test_what_its_variant_was_not_asked_waits_with_it(tmp_path: Path) -> None:
    context = msgspec.structs.replace(CONTEXT, pruned="Be brief. ")
    assert records(tmp_path).of_item(item(context=context), ANSWER).pruned == "Be brief. "


def test_a_line_of_a_batch_costs_half(tmp_path: Path) -> None:
    made = records(tmp_path).of_item(item(), ANSWER, batch_id="batch_9")
    assert (made.cost, made.savings) == (3.0, {"batch": 3.0})


def test_what_was_asked_live_costs_what_the_reply_says(tmp_path: Path) -> None:
    made = records(tmp_path).of_item(item(), ANSWER, batch_id="batch_9", attempts=[ATTEMPT])
    assert (made.cost, made.savings, made.attempts) == (6.0, {}, [ATTEMPT])


def test_an_item_that_shares_a_line_costs_nothing(tmp_path: Path) -> None:
    made = records(tmp_path).of_item(item(), ANSWER, batch_id="batch_9", shared=True)
    assert (made.cost, made.savings) == (0.0, {"coalescing": 3.0})
    assert (made.cache_status, made.outcome) == ("coalesced", "cached")


def test_the_same_item_gives_the_same_record(tmp_path: Path) -> None:
    assert records(tmp_path).of_item(item(), ANSWER) == records(tmp_path).of_item(item(), ANSWER)
    again = records(tmp_path).of_item(item(attempts=1), ANSWER)
    assert again.span_id != records(tmp_path).of_item(item(), ANSWER).span_id, "it was asked twice"
    other = records(tmp_path).of_item(item(id="item_2"), ANSWER)
    assert other.span_id != records(tmp_path).of_item(item(), ANSWER).span_id


def test_the_time_runs_from_when_it_was_taken(tmp_path: Path) -> None:
    made = records(tmp_path).of_item(item(), ANSWER, taken_ns=START + 5 * SECOND)
    assert (made.start_ns, made.end_ns) == (START + 5 * SECOND, START + 60 * SECOND)


def test_a_stream_is_recorded_as_one_without_a_first_token(tmp_path: Path) -> None:
    made = records(tmp_path).of_item(item(stream=True), ANSWER)
    assert made.stream
    assert made.first_token_ns == 0
    completed = completer(Settings(server=Server(data_dir=str(tmp_path))))(made)
    assert completed.output_messages is not None
    assert "Hi Bob" in completed.output_messages


def completed(made: CallRecord, tmp_path: Path) -> CallRecord:
    """As the recorder does."""
    return completer(Settings(server=Server(data_dir=str(tmp_path))), exact=False)(made)


def test_the_recorder_understands_it_as_a_live_call(tmp_path: Path) -> None:
    made = completed(records(tmp_path).of_item(item(), ANSWER), tmp_path)
    assert made.input_messages is not None
    assert "bob@example.com" in made.input_messages
    assert (made.response_id, made.finish_reasons, made.parameters) == ("chatcmpl-1", ["stop"], {"temperature": 0.5})


@pytest.mark.parametrize("content", ["redacted", "off"])
def test_private_text_is_kept_out_before_it_is_stored(tmp_path: Path, content: str) -> None:
    made = records(tmp_path, content).of_item(item(), ANSWER, batch_id="batch_9")
    assert b"bob@example.com" not in msgspec.msgpack.encode(made)
    assert (b"Hi Bob" in msgspec.msgpack.encode(made)) == (content == "redacted")
    assert (made.content, made.cost, made.request_body) == (content, 3.0, None)


def test_a_failed_item_is_one_error_without_a_price(tmp_path: Path) -> None:
    error = {"error": {"message": "Too many.", "type": "requests", "code": "rate_limit_exceeded"}}
    refused = records(tmp_path).of_item(item(), Answer(status=429, body=msgspec.json.encode(error)), batch_id="b")
    assert (refused.status, refused.outcome, refused.error_type) == (429, "answered", "rate_limit_exceeded")
    assert refused.cost is None
    none = records(tmp_path).of_item(item(), Answer(status=504), outcome="failed", error_type="batch_failed")
    assert (none.outcome, none.error_type, none.cost) == ("failed", "batch_failed", None)


def test_an_item_that_was_cancelled_after_it_was_sent_is_paid_for(tmp_path: Path) -> None:
    made = records(tmp_path).of_item(item(), ANSWER, batch_id="b", outcome="abandoned")
    assert (made.outcome, made.cost) == ("abandoned", 3.0)


def test_a_call_that_the_cache_looked_for_is_a_miss(tmp_path: Path) -> None:
    context = msgspec.structs.replace(CONTEXT, keep=Keep("k", "n", 60.0))
    assert records(tmp_path).of_item(item(context), ANSWER).cache_status == "miss"
    assert records(tmp_path).of_item(item(), ANSWER).cache_status == ""


def test_the_answer_tells_tokens_and_cost(tmp_path: Path) -> None:
    made = records(tmp_path).of_item(item(), ANSWER, batch_id="b")
    assert dict(answer_headers(made)) == {
        b"x-penstock-tokens": b"input=1000000, output=1000000",
        b"x-penstock-cost-usd": b"3",
    }


def test_lines_of_a_file_are_requests_of_their_own_with_labels_of_their_own(tmp_path: Path) -> None:
    body = msgspec.json.encode(BODY | {"user": "carol", "metadata": {"run": "7"}})
    one, two = (records(tmp_path).of_item(item(id=name, mode="file", body=body), ANSWER) for name in ("a", "b"))
    assert len({one.request_id, two.request_id, CONTEXT.request_id}) == 3
    assert len({one.trace_id, two.trace_id, CONTEXT.trace_id}) == 3
    assert one.parent_span_id == ""
    assert (one.user, one.tags, one.key_id) == ("carol", {"team": "blue", "run": "7"}, "team")


def test_a_line_of_a_callers_batch_links_to_the_span_of_the_batch(tmp_path: Path) -> None:
    made = records(tmp_path).of_line(batch(), "line-1", msgspec.json.encode(BODY), ANSWER)
    summary = records(tmp_path).of_batch(batch())
    assert made.links == [(summary.trace_id, summary.span_id)] == [batch_span(batch())]
    assert (made.batch_id, made.cost, made.request_model) == ("batch_9", 3.0, "m")
    assert (made.start_ns, made.end_ns) == (START + SECOND, START + 7 * SECOND)
    other = records(tmp_path).of_line(batch(), "line-2", msgspec.json.encode(BODY), ANSWER)
    assert len({made.request_id, other.request_id, summary.request_id}) == 3


def test_a_batch_is_a_span_below_the_call_that_made_it(tmp_path: Path) -> None:
    made = records(tmp_path).of_batch(batch())
    assert (made.kind, made.trace_id, made.parent_span_id) == ("batch", "1" * 32, "2" * 16)
    assert (made.start_ns, made.end_ns) == (START, START + 7 * SECOND)
    assert (made.batch_id, made.outcome, made.cost, made.user) == ("batch_9", "answered", None, "alice")
    assert made.parameters["failed"] == 1


def test_a_batch_that_penstock_gathered_has_a_trace_of_its_own_and_nobodys_labels(tmp_path: Path) -> None:
    made = records(tmp_path).of_batch(batch(kind="provider", status="expired", completed_ns=0, expired_ns=START + 9))
    assert made.trace_id != CONTEXT.trace_id
    assert (made.parent_span_id, made.user, made.tags) == ("", "", {})
    assert (made.outcome, made.error_type, made.end_ns) == ("cut", "expired", START + 9)


def test_ids_begin_with_their_time_and_are_hexadecimal() -> None:
    made = ids_of("x", START)
    assert int(made.request_id[:12], 16) == START // 1_000_000
    assert [len(text) for text in made] == [32, 32, 16]
    assert all(int(text, 16) for text in made)
