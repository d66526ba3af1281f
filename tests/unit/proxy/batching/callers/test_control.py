"""What a call wants of batching: nothing unless it asks or a rule fits, and every reason why it cannot have it."""

from __future__ import annotations

import gzip
from datetime import UTC, datetime
from typing import Any

import pytest

from proxy.batching.callers.control import Deferral, Schedules, wait_of
from proxy.errors import ClientFault
from proxy.exchange import Exchange
from proxy.openai.call import PATHS, Call
from proxy.settings import Batch, BatchRule
from tests.unit.proxy.caching.exchanges import exchange

NOW = int(datetime(2026, 11, 23, 0, 53, 20, tzinfo=UTC).timestamp()) * 10**9
HOLD = {"x_penstock_batch": "hold"}
ASYNC = {"x_penstock_batch": "async"}
HOOK = "https://hooks.example.com/penstock?x=1"


def call(body: bytes = b"{}", *, path: str = "/v1/chat/completions", query: str = "", **fields: Any) -> Exchange:
    headers = {name: fields.pop(name) for name in [*fields] if isinstance(fields[name], str) and name != "model"}
    made = exchange(path=path, call=Call(**{"model": "gpt-5", **fields}), **headers)
    made.body.data = body
    made.query = query
    made.endpoint = PATHS.get(path, "other")
    return made


def schedules(*rules: BatchRule, runner: str = "provider", **settings: Any) -> Schedules:
    return Schedules(Batch(rules=rules, **settings), lambda exchange: runner, clock=lambda: NOW)


def refused(made: Schedules, exchange: Exchange) -> ClientFault:
    with pytest.raises(ClientFault) as raised:
        made(exchange)
    return raised.value


def test_nothing_is_deferred_unasked() -> None:
    assert schedules()(call()) is None
    assert schedules()(call(x_penstock_deadline="soon")) is None
    assert schedules()(call(x_penstock_batch="off")) is None


@pytest.mark.parametrize(
    ("mode", "wait_s"), [("hold", 86_400), ("async", 86_400), ("flex", 120), (" Hold ", 86_400), ("FLEX", 120)]
)
def test_asking_is_enough(mode: str, wait_s: int) -> None:
    expected = Deferral(mode.strip().lower(), NOW + wait_s * 10**9)  # type: ignore[arg-type]
    assert schedules()(call(x_penstock_batch=mode)) == expected


def test_the_settings_say_how_long() -> None:
    made = schedules(deadline_s=60.0, flex_wait_s=5.0)
    assert made(call(**HOLD)) == Deferral("hold", NOW + 60 * 10**9)
    assert made(call(x_penstock_batch="flex")) == Deferral("flex", NOW + 5 * 10**9)


@pytest.mark.parametrize(
    ("text", "wait_s"),
    [
        ("90s", 90.0),
        ("1.5h", 5400.0),
        ("30m", 1800.0),
        (" 1d ", 86_400.0),
        ("30d", 2_592_000.0),
        ("2026-11-23T00:53:21Z", 1.0),
        ("2026-11-23t00:53:21z", 1.0),
        ("2026-11-23 00:53:21.5Z", 1.5),
        ("2026-11-23T02:53:21+02:00", 1.0),
    ],
)
def test_deadlines(text: str, wait_s: float) -> None:
    found = schedules()(call(x_penstock_deadline=text, **HOLD))
    assert found is not None
    assert found.deadline_ns - NOW == wait_s * 10**9


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("soon", "takes 90s"),
        ("", "takes 90s"),
        ("90", "takes 90s"),
        ("-1h", "takes 90s"),
        ("1w", "takes 90s"),
        ("٣h", "takes 90s"),
        ("2026-11-23T00:53:21", "takes 90s"),
        ("2026-11-23", "takes 90s"),
        ("2026-13-23T00:53:21Z", "takes 90s"),
        ("0s", "in the future"),
        ("2026-11-23T00:53:20Z", "in the future"),
        ("1970-01-01T00:00:00Z", "in the future"),
        ("1900-01-01T00:00:00Z", "in the future"),
        ("30.1d", "within 30 days"),
        ("999999999d", "within 30 days"),
        ("9999-12-31T23:59:59Z", "within 30 days"),
    ],
)
def test_deadlines_that_cannot_be_meant(text: str, says: str) -> None:
    made = exchange(x_penstock_batch="hold")
    made.fields[b"x-penstock-deadline"] = text.encode()
    error = refused(schedules(), made)
    assert (error.code, error.param, error.http_status) == ("invalid_deadline", "x-penstock-deadline", 400)
    assert says in error.message


def test_an_unknown_mode_is_refused_each_time() -> None:
    made = schedules()
    for _ in range(2):
        error = refused(made, call(x_penstock_batch="later"))
        assert (error.code, error.param, error.http_status) == ("invalid_batch_mode", "x-penstock-batch", 400)
    assert "flex, hold, async or off" in error.message


OBSTACLES: dict[str, tuple[dict[str, Any], str]] = {
    "an endpoint without batches": ({"path": "/v1/images/generations"}, "not_batchable"),
    "a query": ({"query": "api-version=1"}, "not_batchable"),
    "no model": ({"model": ""}, "missing_model"),
    "a background response": ({"path": "/v1/responses", "background": True}, "not_batchable"),
    "a long body": ({"body": b"x" * 1001}, "body_too_large"),
    "a long body, packed": ({"body": gzip.compress(b"x" * 1001), "content_encoding": "gzip"}, "body_too_large"),
}


@pytest.mark.parametrize("obstacle", OBSTACLES)
@pytest.mark.parametrize("mode", ["hold", "async"])
def test_what_cannot_wait(obstacle: str, mode: Any) -> None:
    """One that asked is told why; one that only fits a rule goes as it is."""
    fields, code = OBSTACLES[obstacle]
    error = refused(schedules(item_bytes_max=1000), call(x_penstock_batch=mode, **fields))
    status = 413 if code == "body_too_large" else 400
    assert (error.code, error.http_status) == (code, status)
    assert schedules(BatchRule(batch=mode), item_bytes_max=1000)(call(**fields)) is None
    assert schedules(BatchRule(batch=mode), item_bytes_max=1000)(call()) is not None


def test_a_body_just_as_long_as_may_be_waits() -> None:
    made = schedules(item_bytes_max=1000)
    assert made(call(b"x" * 1000, **HOLD)) is not None
    assert made(call(gzip.compress(b"x" * 1000), content_encoding="gzip", **HOLD)) is not None


def test_a_stream_can_be_held_and_not_deferred() -> None:
    assert schedules()(call(stream=True, **HOLD)) is not None
    error = refused(schedules(), call(stream=True, **ASYNC))
    assert "leave out stream, or use x-penstock-batch: hold" in error.message
    assert schedules(BatchRule(batch="async"))(call(stream=True)) is None
    assert schedules(BatchRule(batch="hold"))(call(stream=True)) is not None


def test_an_upstream_without_batches() -> None:
    error = refused(schedules(runner="none"), call(**HOLD))
    assert (error.code, error.param) == ("not_batchable", "x-penstock-batch")
    assert schedules(BatchRule(batch="hold"), runner="none")(call()) is None
    assert schedules(runner="local")(call(**HOLD)) is not None
    assert schedules(runner="none")(call(x_penstock_batch="flex")) is not None


@pytest.mark.parametrize("path", ["/v1/embeddings", "/v1/completions", "/v1/files"])
def test_only_some_endpoints_have_a_flex_tier(path: str) -> None:
    error = refused(schedules(), call(path=path, x_penstock_batch="flex"))
    assert (error.code, error.param) == ("not_batchable", "x-penstock-batch")
    assert schedules(BatchRule())(call(path=path)) is None
    assert schedules(BatchRule())(call(path="/v1/responses")) is not None


def test_the_first_rule_that_fits_decides() -> None:
    made = schedules(
        BatchRule(models=("gpt-5-*",), batch="off"),
        BatchRule(paths=("/v1/emb*",), batch="async"),
        BatchRule(keys=("ab*",), batch="hold", deadline="1h"),
        BatchRule(tags={"job": "night*"}, batch="hold", deadline="2h"),
        BatchRule(models=("gpt-5-*",), batch="async"),
    )
    assert made(call(model="gpt-5-mini")) is None
    assert made(call(path="/v1/embeddings")) == Deferral("async", NOW + 86_400 * 10**9)
    theirs = call()
    theirs.key_id = "abcd0123"
    assert made(theirs) == Deferral("hold", NOW + 3600 * 10**9)
    tagged = call()
    tagged.tags = {"job": "nightly"}
    assert made(tagged) == Deferral("hold", NOW + 7200 * 10**9)
    assert made(call()) is None


def test_a_call_says_more_than_a_rule() -> None:
    made = schedules(BatchRule(batch="hold", deadline="1h"))
    assert made(call(x_penstock_batch="off")) is None
    assert made(call(x_penstock_batch="flex")) == Deferral("flex", NOW + 120 * 10**9)
    assert made(call(x_penstock_deadline="30m")) == Deferral("hold", NOW + 1800 * 10**9)
    assert made(call(**HOLD)) == Deferral("hold", NOW + 86_400 * 10**9)
    assert refused(made, call(x_penstock_deadline="soon")).code == "invalid_deadline"


def test_a_webhook_goes_with_async() -> None:
    assert schedules()(call(x_penstock_webhook=HOOK, **ASYNC)) == Deferral("async", NOW + 86_400 * 10**9, HOOK)
    found = schedules(BatchRule(batch="async"))(call(x_penstock_webhook=HOOK))
    assert found is not None
    assert found.webhook == HOOK
    streamed = call(x_penstock_webhook=HOOK, stream=True)
    for made, one in [
        (schedules(), call(x_penstock_webhook=HOOK, **HOLD)),
        (schedules(), call(x_penstock_webhook=HOOK)),
        (schedules(), call(x_penstock_webhook=HOOK, x_penstock_batch="off")),
        (schedules(BatchRule(batch="async")), streamed),
    ]:
        error = refused(made, one)
        assert (error.code, error.param, error.http_status) == ("invalid_webhook", "x-penstock-webhook", 400)


def test_a_webhook_must_be_one_that_may_be_called() -> None:
    error = refused(schedules(), call(x_penstock_webhook="http://127.0.0.1/", **ASYNC))
    assert (error.code, error.param) == ("invalid_webhook", "x-penstock-webhook")
    allowed = schedules(webhook_hosts=("127.0.0.1",))
    assert allowed(call(x_penstock_webhook="http://127.0.0.1/", **ASYNC)) is not None


def test_what_was_understood_is_not_kept_for_ever() -> None:
    made = schedules()
    for number in range(1500):
        made(call(x_penstock_deadline=f"{number + 1}s", **HOLD))
    assert len(made._known) <= 1000


def test_waits() -> None:
    assert wait_of("90s") == 90
    assert wait_of("2026-11-23T00:53:21Z") is None
