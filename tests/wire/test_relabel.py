"""Relabelling against a model on a real socket: what it is asked, what becomes of each answer, and what is never paid
for twice: after a kill, after the money is spent, after the model went away."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from exporters.datasets.changing.relabeling import Result, estimate
from exporters.datasets.changing.rewriting import read_back
from exporters.datasets.describing import manifest as manifests
from exporters.datasets.describing.contents import origins
from exporters.datasets.errors import DatasetError
from tests.ports import held_port
from tests.unit.exporters.datasets.made import everything, made, options, row
from tests.unit.exporters.test_jsonl import files_no_larger_than
from tests.wire.relabel_process import ask, task
from tests.wire.scripted import Conn, Request, ScriptedUpstream, json_reply

ROWS = 30
CORRECTED = {"req-0003", "req-0009"}
CORRECTION = json.dumps([{"role": "assistant", "content": "Better."}])


@pytest.fixture(autouse=True)
def _without_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """They take a second each, and nothing here looks at them."""
    monkeypatch.setattr(manifests, "draw", lambda *_: [])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rows = [row(n, correction=CORRECTION if f"req-{n:04d}" in CORRECTED else "") for n in range(ROWS)]
    tools = [{"type": "function", "name": "plan", "parameters": {"type": "object"}}]
    rows[5].tool_definitions = json.dumps(tools)
    rows[5].parameters = json.dumps({"parallel_tool_calls": False, "response_format": {"type": "json_object"}})
    write = options().write.__class__(formats=("openai",))
    return made(tmp_path, rows, options(write=write))[0]


def completion(text: str | None, finish: str = "stop", **message: Any) -> dict[str, Any]:
    said = {"role": "assistant", "content": text, "refusal": None, "annotations": []} | message
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "strong-1-2026",
        "choices": [{"index": 0, "message": said, "finish_reason": finish}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150},
    }


def day_of(request: Request) -> int:
    return int(json.loads(request.body)["messages"][-1]["content"].split("day ")[1].rstrip("?"))


class Model:
    """Says something new of each day. `odd` has other replies for some of them: status, body, headers."""

    def __init__(self, odd: Callable[[int], tuple[int, Any, dict[str, str]] | None] = lambda day: None) -> None:
        self.odd = odd
        self.answered: Counter[int] = Counter()
        self.requests: list[Request] = []

    async def __call__(self, request: Request, conn: Conn) -> None:
        self.requests.append(request)
        day = day_of(request)
        status, body, headers = self.odd(day) or (200, completion(f"Of day {day} I know better."), {})
        if status == 200:
            self.answered[day] += 1
        await json_reply(body, status, {"x-penstock-cost-usd": "0.5"} | headers)(request, conn)


async def relabeled(folder: Path, asked: Model, **changes: Any) -> Result:
    async with ScriptedUpstream(asked) as upstream:
        waiting = changes.pop("waiting", "off")
        return await asyncio.to_thread(ask, task(folder, **changes), f"{upstream.url}/v1", 4, waiting)


def answers(folder: Path) -> dict[str, tuple[Any, list[Any]]]:
    return {o.request_id: (e.messages[-1]["content"], [m["content"] for m in e.rejected]) for o, e in read_back(folder)}


def error(code: str = "", param: str = "") -> dict[str, Any]:
    return {"error": {"message": "no", "type": "x", "code": code or None, "param": param or None}}


async def test_new_answers_are_preferred_and_old_ones_rejected(folder: Path) -> None:
    model = Model()
    result = await relabeled(folder, model)
    before, after = answers(folder), answers(folder.parent / "new")
    assert before.keys() == after.keys()
    for request_id, (said, rejected) in after.items():
        if request_id in CORRECTED:
            assert (said, rejected) == before[request_id]
        else:
            assert (said, rejected) == (f"Of day {int(request_id[4:])} I know better.", [before[request_id][0]])
    corrected = len(CORRECTED & before.keys())
    assert (result.relabeled, result.corrected, result.unpriced) == (len(before) - corrected, corrected, 0)
    assert result.usd == pytest.approx(0.5 * result.relabeled)
    assert result.manifest.lineage[-1] | {"usd": 0, "failures": {}} == {
        "action": "relabel", "of": "plans", "model": "strong-1", "splits": ["train", "validation", "test"], "usd": 0,
        "relabeled": result.relabeled, "unchanged": 0, "corrected": corrected, "unpriced": 0, "failures": {},
        "failed": "kept",
    }  # fmt: skip
    assert not [path for path in folder.parent.iterdir() if path.name.startswith(".")]


async def test_splits_and_lines_stay(folder: Path) -> None:
    await relabeled(folder, Model())
    where = [(o.request_id, o.split, o.line, o.person) for o in origins(folder)]
    assert [(o.request_id, o.split, o.line, o.person) for o in origins(folder.parent / "new")] == where
    assert {o.model for o in origins(folder.parent / "new") if o.request_id not in CORRECTED} == {"strong-1-2026"}
    assert {o.tokens for o in origins(folder.parent / "new") if o.request_id not in CORRECTED} == {150}


async def test_what_is_asked_and_how(folder: Path) -> None:
    model = Model()
    await relabeled(folder, model, waiting="hold")
    bodies = {day_of(request): json.loads(request.body) for request in model.requests}
    assert bodies[4] == {"model": "strong-1", "messages": [{"role": "user", "content": "What is the plan for day 4?"}]}
    assert bodies[5].pop("tools")[0]["function"]["name"] == "plan"
    assert (bodies[5]["parallel_tool_calls"], bodies[5]["response_format"]) == (False, {"type": "json_object"})
    headers = [{name.decode().lower(): value.decode() for name, value in request.headers} for request in model.requests]
    for name, value in {"batch": "hold", "cache": "on", "tags": "dataset=plans"}.items():
        assert {one[f"x-penstock-{name}"] for one in headers} == {value}
    assert len({one["idempotency-key"] for one in headers}) == len(headers)


BROKEN_CALL = {"id": "1", "type": "function", "function": {"name": "plan", "arguments": "{"}}


def odd_answer(day: int) -> tuple[int, Any, dict[str, str]] | None:
    return {
        0: (400, error("context_length_exceeded"), {}),
        1: (200, completion(""), {}),
        2: (200, completion("I'm sorry, but I can't help with that."), {}),
        4: (200, completion("Half of", "length"), {}),
        5: (200, completion(None, tool_calls=[BROKEN_CALL]), {}),
        6: (200, {"choices": []}, {}),
        7: (200, completion("On day 7 we count to 49."), {}),
        8: (200, completion("Write to jane.doe@example.com."), {}),
    }.get(day)  # fmt: skip


@pytest.mark.parametrize("drop", [False, True])
async def test_what_becomes_of_answers_that_cannot_be_kept(folder: Path, drop: bool) -> None:
    before = answers(folder)
    result = await relabeled(folder, Model(odd_answer), drop_failed=drop)
    after = answers(folder.parent / "new")
    failed = {f"req-000{day}" for day in (0, 1, 2, 4, 5, 6)} & before.keys()
    reasons = {"http_400": 0, "empty_answer": 1, "refused": 2, "incomplete": 4, "broken_tools": 5, "unreadable": 6}
    assert result.failures == {reason: 1 for reason, day in reasons.items() if f"req-000{day}" in before}
    assert result.unchanged == ("req-0007" in before)
    assert {request_id for request_id in before if after.get(request_id) == before[request_id]} == (
        (set() if drop else failed) | (before.keys() & {"req-0007", *CORRECTED})
    )
    assert result.manifest.dropped.get("not_relabeled", 0) == (len(failed) if drop else 0)
    assert result.manifest.selected == result.manifest.written + sum(result.manifest.dropped.values())
    assert after["req-0008"][0].startswith("Write to [EMAIL")
    assert not any(b"jane.doe" in data for data in everything(folder.parent / "new").values())


@pytest.mark.parametrize("message", [{"tool_calls": 5}, {"content": 5}, {"content": [{"type": [], "text": "a"}]}])
async def test_an_answer_of_a_shape_that_there_is_not_ends_nothing(folder: Path, message: dict[str, Any]) -> None:
    result = await relabeled(folder, Model(lambda day: (200, completion("a") | shaped(message), {})))
    assert result.failures == {"unreadable": len(answers(folder)) - result.corrected}


def shaped(message: dict[str, Any]) -> dict[str, Any]:
    return {"choices": [{"message": {"role": "assistant", "content": "a"} | message}]}


async def test_private_text_is_not_in_the_answers_that_wait_either(folder: Path) -> None:
    with pytest.raises(DatasetError, match="answers 403"):
        await relabeled(folder, Model(lambda day: odd_answer(8) if day < 20 else (403, error("no_such_key"), {})))
    kept = (folder.parent / ".new.relabeling.jsonl").read_text()
    assert "[EMAIL" in kept
    assert "jane.doe" not in kept


async def test_a_model_that_is_away_leaves_what_there_is_to_the_next_run(folder: Path) -> None:
    model = Model(lambda day: (401, error("invalid_api_key"), {}) if day == 20 else None)
    with pytest.raises(DatasetError, match=r"answers 401 \(invalid_api_key\).*the same command goes on") as caught:
        await relabeled(folder, model)
    assert "plan for" not in str(caught.value)
    assert not (folder.parent / "new").exists()
    model.odd = lambda day: None
    result = await relabeled(folder, model)
    assert set(model.answered.values()) == {1}
    assert sum(model.answered.values()) == result.relabeled
    assert result.usd == pytest.approx(0.5 * result.relabeled)


async def test_busy_models_are_asked_again(folder: Path) -> None:
    seen: Counter[int] = Counter()

    def busy_once(day: int) -> tuple[int, Any, dict[str, str]] | None:
        seen[day] += 1
        return (429, error("rate_limit_exceeded"), {"retry-after-ms": "5"}) if seen[day] == 1 else None

    result = await relabeled(folder, Model(busy_once))
    assert result.failures == {}
    assert set(seen.values()) == {2}


async def test_the_money_is_not_exceeded_and_the_rest_is_asked_when_there_is_more(folder: Path) -> None:
    model = Model()
    with pytest.raises(DatasetError, match="more than --max-usd 5"):
        await relabeled(folder, model, usd_max=5.0)
    spent = 0.5 * sum(model.answered.values())
    assert 3 < spent <= 5.0, "though each was eight times as dear as was expected"
    before = estimate(task(folder))
    assert (before.answered, before.spent_usd) == (sum(model.answered.values()), pytest.approx(spent))
    await relabeled(folder, model, usd_max=50.0)
    assert set(model.answered.values()) == {1}


async def test_a_price_that_is_not_known_cannot_be_held(folder: Path) -> None:
    with pytest.raises(DatasetError, match="price of strong-1 is not known"):
        await relabeled(folder, model := Model(), usd_max=5.0, price=lambda sent, received: None)
    assert model.requests == []


async def test_replies_without_a_price_cost_what_their_usage_says(folder: Path) -> None:
    result = await relabeled(folder, Model(lambda day: (200, completion(f"{day}"), {"x-penstock-cost-usd": ""})))
    assert result.usd == pytest.approx(result.relabeled * (100 * 0.001 + 50 * 0.01))


async def test_replies_without_usage_count_as_they_were_expected_to_cost(folder: Path) -> None:
    def silent(day: int) -> tuple[int, Any, dict[str, str]]:
        body = completion(f"{day}")
        del body["usage"]
        return 200, body, {"x-penstock-cost-usd": ""}

    before = estimate(task(folder))
    with pytest.raises(DatasetError, match=r"more than --max-usd 0\.5"):
        await relabeled(folder, Model(silent), usd_max=0.5)
    found = estimate(task(folder))
    assert 0 < found.spent_usd <= 0.5
    assert before.usd is not None
    assert found.usd == pytest.approx(before.usd - found.spent_usd)


async def test_cached_replies_cost_nothing(folder: Path) -> None:
    result = await relabeled(folder, Model(lambda day: (200, completion(f"{day}"), {"x-penstock-cache": "hit"})))
    assert result.usd == 0


async def test_refused_from_the_first_is_not_paid_for_to_the_last(folder: Path) -> None:
    model = Model(lambda day: (400, error("unknown_parameter"), {}))
    with pytest.raises(DatasetError, match=r"first 20 questions were refused \(http_400\)"):
        await relabeled(folder, model)
    assert len(model.requests) < 25


async def test_a_header_that_is_refused_ends_it_at_once(folder: Path) -> None:
    model = Model(lambda day: (400, error("not_batchable", "x-penstock-batch"), {}))
    with pytest.raises(DatasetError, match="not_batchable"):
        await relabeled(folder, model, waiting="hold")
    assert len(model.requests) <= 4


async def test_a_disk_that_is_full_ends_it_and_what_was_kept_is_kept(folder: Path) -> None:
    model = Model()
    with files_no_larger_than(2000), pytest.raises(DatasetError, match="The answers cannot be kept: File too large"):
        await relabeled(folder, model)
    asked = sum(model.answered.values())
    kept = estimate(task(folder)).answered
    assert 3 < kept < asked <= kept + 4
    await relabeled(folder, model)
    assert sum(model.answered.values()) == len(answers(folder)) - len(CORRECTED & answers(folder).keys()) + asked - kept


async def test_nobody_there(folder: Path) -> None:
    from exporters.datasets.changing import asking

    tries, asking._TRIES = asking._TRIES, 0  # type: ignore[misc]
    try:
        with held_port() as port, pytest.raises(DatasetError, match="cannot be reached"):
            await asyncio.to_thread(ask, task(folder), f"http://127.0.0.1:{port}/v1")
    finally:
        asking._TRIES = tries  # type: ignore[misc]


async def test_tickets_are_looked_after_until_the_reply_is_there(folder: Path) -> None:
    tickets: dict[str, int] = {}
    looks: Counter[str] = Counter()

    async def deferring(request: Request, conn: Conn) -> None:
        if request.method == "POST":
            number = str(day_of(request))
            tickets[number] = day_of(request)
            await json_reply({"id": number}, 202, {"Location": f"/penstock/deferred/{number}"})(request, conn)
            return
        number = request.target.rpartition("/")[2]
        looks[number] += 1
        if looks[number] < 3:
            await json_reply({"status": "queued"}, 202)(request, conn)
        elif number == "12":
            await json_reply(error("batch_expired"), 400)(request, conn)
        else:
            await json_reply(completion(f"Later {number}."), 200, {"x-penstock-cost-usd": "0.25"})(request, conn)

    async with ScriptedUpstream(deferring) as upstream:
        result = await asyncio.to_thread(ask, task(folder), f"{upstream.url}/v1", 4, "async")
    assert result.failures == {"http_400": 1}
    assert result.usd == pytest.approx(0.25 * result.relabeled)
    assert answers(folder.parent / "new")["req-0004"][0] == "Later 4."


async def test_only_the_splits_that_were_named(folder: Path) -> None:
    model = Model()
    await relabeled(folder, model, splits=("train",))
    train = {o.request_id for o in origins(folder) if o.split == "train"}
    assert {f"req-{day:04d}" for day in model.answered} == train - CORRECTED
    before, after = answers(folder), answers(folder.parent / "new")
    assert all(after[request_id] == before[request_id] for request_id in before.keys() - train)


async def test_killed_it_asks_nothing_twice_that_was_answered(folder: Path) -> None:
    held = asyncio.Event()
    model = Model()

    async def slow(request: Request, conn: Conn) -> None:
        if sum(model.answered.values()) >= 10 and not held.is_set():
            await conn.peer_closed.wait()
            return
        await model(request, conn)

    async with ScriptedUpstream(slow) as upstream:
        command = [sys.executable, "-m", "tests.wire.relabel_process", str(folder), f"{upstream.url}/v1", "3"]
        child = await asyncio.create_subprocess_exec(*command, cwd=Path(__file__).parents[2])
        try:
            kept = folder.parent / ".new.relabeling.jsonl"
            deadline = time.monotonic() + 60
            while not (kept.exists() and kept.read_bytes().count(b"\n") == 11) and time.monotonic() < deadline:
                await asyncio.sleep(0.02)
        finally:
            child.kill()
            await child.wait()
        assert not (folder.parent / "new").exists()
        with kept.open("ab") as file:
            file.write(b'{"request_id":"torn')
        held.set()
        result = await asyncio.to_thread(ask, task(folder), f"{upstream.url}/v1")
    assert set(model.answered.values()) == {1}
    assert sum(model.answered.values()) == result.relabeled
    assert not kept.exists()


async def test_answers_of_other_questions_are_not_gone_on_with(folder: Path) -> None:
    model = Model(lambda day: (401, error(), {}) if day > 10 else None)
    with pytest.raises(DatasetError):
        await relabeled(folder, model)
    with pytest.raises(DatasetError, match="holds answers for the model strong-1"):
        await relabeled(folder, model, model="other")
    (folder / "manifest.json").write_bytes((folder / "manifest.json").read_bytes() + b"\n")
    with pytest.raises(DatasetError, match="holds answers for the dataset as it was before"):
        await relabeled(folder, model)


async def test_a_name_that_is_taken_is_said_before_anything_is_asked(folder: Path) -> None:
    with pytest.raises(DatasetError, match="There is a dataset plans"):
        await relabeled(folder, model := Model(), name="plans")
    assert model.requests == []


def test_what_it_will_cost(folder: Path) -> None:
    found = estimate(task(folder))
    sizes = [o.tokens for o in origins(folder) if o.request_id not in CORRECTED]
    assert (found.questions, found.corrected) == (len(sizes), len(CORRECTED & {o.request_id for o in origins(folder)}))
    assert (found.input_tokens, found.output_tokens) == (sum(sizes) - 5 * len(sizes), 5 * len(sizes))
    assert found.usd == pytest.approx(found.input_tokens * 0.001 + found.output_tokens * 0.01)
    assert estimate(task(folder, price=lambda sent, received: None)).usd is None
