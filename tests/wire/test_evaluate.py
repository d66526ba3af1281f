"""An evaluation against models on a real socket: what they are asked, what comes of it, what is never asked twice."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from finetune.dataset import Dataset
from finetune.errors import FinetuneError
from finetune.evaluation import recording
from finetune.evaluation.evaluate import Options, evaluate
from finetune.evaluation.result import Evaluation, Places, load
from tests import tiny_llama
from tests.unit.finetune.evaluation.bigrams import Bigrams
from tests.unit.finetune.evaluation.cases import dataset, line
from tests.wire.scripted import Conn, Request, ScriptedUpstream, json_reply

ROOT = Path(__file__).parents[2]
ANSWERS = ["refund", "other", "status"]
N = 30

Odd = Callable[[dict[str, Any]], tuple[int, Any] | None]


def number_of(body: dict[str, Any]) -> int:
    return int(str(body["messages"][-1]["content"]).removeprefix("question "))


def refusal(code: str, param: str | None = None) -> dict[str, Any]:
    return {"error": {"message": "no", "type": "invalid_request_error", "param": param, "code": code}}


class House:
    """Penstock with models behind it: `base` knows every third answer only, all others know them."""

    def __init__(self, odd: Odd = lambda body: None, *, own: bool = True, sink: int = 202) -> None:
        self.odd = odd
        self.own = own
        self.sink = sink
        self.looked = 0
        self.asked: list[tuple[dict[str, Any], Request]] = []
        self.answered: Counter[tuple[str, int]] = Counter()
        self.scores: list[tuple[str, list[dict[str, Any]]]] = []
        self.bigrams = Bigrams()

    async def __call__(self, request: Request, conn: Conn) -> None:
        if request.target == "/penstock/health":
            self.looked += 1
            await json_reply(refusal("not_penstock"), 404)(request, conn)
            return
        body = json.loads(request.body)
        if request.target == "/penstock/feedback":
            self.scores.append((request.header("idempotency-key") or "", body))
            await json_reply({}, self.sink)(request, conn)
            return
        if request.target.endswith("/completions") and "prompt" in body:
            await json_reply(json.loads(await self.bigrams.complete(body) or b"{}"))(request, conn)
            return
        self.asked.append((body, request))
        status, reply = self.odd(body) or (200, self._completion(body))
        model, number = body["model"], number_of(body)
        if status == 200:
            self.answered[model, number] += 1
        cost = {"x-penstock-cost-usd": "0.001"} if model == "base" else {}
        headers = {"x-penstock-request-id": f"{model}-{number}"} | cost if self.own else {}
        await json_reply(reply, status, headers)(request, conn)

    def _completion(self, body: dict[str, Any]) -> dict[str, Any]:
        number = number_of(body)
        knows = body["model"] != "base" or number % 3 == 0
        message = {"role": "assistant", "content": ANSWERS[number % 3] if knows else "I cannot say."}
        return {
            "id": f"chat-{body['model']}-{number}",
            "object": "chat.completion",
            "created": 1,
            "model": body["model"],
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 20, "completion_tokens": 2, "total_tokens": 22},
        }


@pytest.fixture
def data(tmp_path: Path) -> Dataset:
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
    lines = [line(number, ANSWERS[number % 3], **({"tools": tools} if number == 4 else {})) for number in range(N)]
    origins = [{"split": "test", "line": 3, "request_id": "req-3", "response_format": {"type": "text"}}]
    return dataset(tmp_path / "support", lines, origins)


async def evaluated(data: Dataset, house: House, models: Sequence[str] = ("base", "tuned"), **more: Any) -> Evaluation:
    async with ScriptedUpstream(house) as upstream:
        options = Options(models=tuple(models), url=f"{upstream.url}/v1", **more)
        return await asyncio.to_thread(evaluate, data, options, "sk-key", places(data))


def places(data: Dataset) -> Places:
    return Places(data.folder.parent / "evaluation.json")


async def test_two_models_are_compared_and_every_score_is_sent_with_its_call(data: Dataset) -> None:
    house = House()
    made = await evaluated(data, house, tuned="tuned")
    assert load(places(data).result) == made
    base, tuned = made.models["base"], made.models["tuned"]
    assert (made.primary, made.baseline, made.tuned, made.examples) == ("label_accuracy", "base", "tuned", N)
    assert (base["label_accuracy"]["mean"], tuned["label_accuracy"]["mean"]) == (pytest.approx(1 / 3), 1.0)
    assert (base["label_accuracy"]["n"], tuned["errors"]) == (N, 0)
    assert made.verdict("tuned", "label_accuracy") == "better"
    assert made.compared["tuned"]["label_accuracy"].difference == pytest.approx(2 / 3)
    assert made.compared["tuned"]["label_accuracy"].p_alone == pytest.approx(2 / 2**20), "twenty won, none lost"
    assert tuned["label_accuracy"]["low"] < 0.9, "all right is not certain"
    assert 0 < made.compared["tuned"]["token_f1"].p_alone < 0.001
    assert (base["cost_usd"]["total"], tuned["cost_usd"]) == (pytest.approx(0.03), {"n": 0})
    assert base["tokens"] == {"input": 20.0, "output": 2.0}
    assert 0 < base["latency_s"]["p50"] <= base["latency_s"]["p95"]
    assert made.most_worse == {"tuned": []}
    assert made.most_better["tuned"] == ["test:2", "test:3", "test:5", "test:6", "test:8"]

    assert set(house.answered.values()) == {1}
    sent = [item for _, part in house.scores for item in part]
    per_model = N * 3 + N + 1  # labels, exact, F1, ROUGE-L, and calls where there are tools
    assert (len(sent), made.recorded) == (2 * per_model, 2 * per_model)
    assert {(one["kind"], one["run"]) for one in sent} == {("evaluation", made.id)}
    one = next(item for item in sent if item["request_id"] == "base-4" and item["name"] == "label_accuracy")
    assert (one["response_id"], one["score"], one["label"]) == ("chat-base-4", 0.0, "fail")
    assert not places(data).answers.exists()
    assert places(data).plot.read_bytes().startswith(b"\x89PNG")

    details = [json.loads(text) for text in places(data).details.read_text().splitlines()]
    assert len(details) == N
    assert details[0]["difference"] == {"tuned": 1.0}
    assert details[0]["answers"]["base"]["text"] == "I cannot say."
    assert details[-1]["difference"] == {"tuned": 0.0}


async def test_what_is_asked_is_the_example_alike_for_all_and_never_out_of_a_cache(data: Dataset) -> None:
    house = House()
    made = await evaluated(data, house)
    bodies = {(body["model"], number_of(body)): body for body, _ in house.asked}
    for number in range(N):
        one, other = (bodies[model, number] for model in ("base", "tuned"))
        assert one | {"model": ""} == other | {"model": ""}
        assert [message["role"] for message in one["messages"]] == ["system", "user"]
        assert (one["temperature"], one["max_tokens"], one["seed"]) == (0.0, 1024, 0)
    assert bodies["base", 4]["tools"]
    assert bodies["base", 2]["response_format"] == {"type": "text"}
    headers = house.asked[0][1]
    assert headers.header("x-penstock-cache") == headers.header("x-penstock-batch") == "off"
    assert headers.header("x-penstock-tags") == f"evaluation={made.id},split=test"
    assert headers.header("authorization") == "Bearer sk-key"


async def test_a_model_is_also_asked_behind_a_prompt_with_examples(data: Dataset, tmp_path: Path) -> None:
    """Which the base then knows: what is shown decides."""
    shown = [{"role": "user", "content": "Question 99?"}, {"role": "assistant", "content": ANSWERS[0]}]
    prompt = tmp_path / "p.json"
    prompt.write_text(json.dumps({"messages": [{"role": "system", "content": "unused"}, *shown]}))

    class Shown(House):
        def _completion(self, body: dict[str, Any]) -> dict[str, Any]:
            return super()._completion(body | {"model": "tuned"} if len(body["messages"]) == 4 else body)

    house = Shown()
    made = await evaluated(data, house, few_shot=(f"base={prompt}",))
    assert [*made.models] == ["base", "tuned", "base+few-shot"]
    assert [made.models[name]["exact_match"]["mean"] for name in made.models] == pytest.approx([1 / 3, 1, 1])
    assert made.verdict("base+few-shot", "label_accuracy") == "better"
    bodies = [body for body, _ in house.asked if len(body["messages"]) == 4]
    assert {body["model"] for body in bodies} == {"base"}
    assert all(body["messages"][1:3] == shown for body in bodies)
    assert {body["messages"][0]["content"] for body in bodies} != {"unused"}, "their own instructions"
    assert house.answered == {("base", n): 2 for n in range(N)} | {("tuned", n): 1 for n in range(N)}


async def test_models_that_answer_alike_do_not_differ(data: Dataset) -> None:
    made = await evaluated(data, House(), models=("one", "two"))
    assert {found.p for found in made.compared["two"].values()} == {1.0}
    assert {made.verdict("two", metric) for metric in made.higher_is_better} == {""}


def without_times(made: Evaluation) -> Any:
    models = {
        name: {metric: value for metric, value in found.items() if metric != "latency_s"}
        for name, found in made.models.items()
    }
    return made.examples, models, made.compared, made.most_better, made.recorded


async def test_what_was_answered_before_a_fault_is_not_asked_again_and_the_result_is_the_same(
    data: Dataset, tmp_path: Path
) -> None:
    whole = await evaluated(data, House())
    answered: list[int] = []

    def gone(body: dict[str, Any]) -> tuple[int, Any] | None:
        answered.append(1)
        return (404, refusal("model_not_found")) if len(answered) > 25 else None

    house = House(gone)
    with pytest.raises(FinetuneError, match=r"answers 404 \(model_not_found\) for .*run it again") as caught:
        # One at a time: an answer that is on its way when another question fails is lost, and asked for once more.
        await evaluated(data, house, concurrency=1)
    assert "\n" not in str(caught.value)
    assert places(data).answers.exists()
    house.odd = lambda body: None
    # A new port would be a new address, not a new question.
    again = await evaluated(data, house)
    assert house.answered.total() == 2 * N
    assert set(house.answered.values()) == {1}
    assert without_times(again) == without_times(whole)


async def test_an_evaluation_that_was_killed_goes_on(data: Dataset) -> None:
    house = House()
    async with ScriptedUpstream(house) as upstream:
        command = [sys.executable, "-m", "proxy", "evaluate", str(data.folder), "--models", "base,tuned", "--json"]
        command += ["--url", f"{upstream.url}/v1", "--out", str(places(data).result), "--concurrency", "1"]

        def start() -> subprocess.Popen[str]:
            return subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=data.folder.parent, env=_env()
            )

        first = start()
        deadline = time.monotonic() + 60
        while house.answered.total() < 5 and time.monotonic() < deadline and first.poll() is None:
            await asyncio.sleep(0.005)
        first.kill()
        first.communicate(timeout=30)
        before = Counter(house.answered)
        assert 5 <= before.total() < 2 * N
        out, errors = await asyncio.to_thread(start().communicate, timeout=90)
    assert errors == ""
    assert json.loads(out)["models"]["tuned"]["label_accuracy"]["mean"] == 1.0
    # An answer that was on its way when the process died is asked for once more.
    assert house.answered.total() <= 2 * N + 1
    assert set(house.answered) >= set(before)
    assert len(house.answered) == 2 * N


def _env() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "NO_COLOR": "1"}


async def test_parameters_that_a_model_does_not_take_are_left_out_and_named(data: Dataset) -> None:
    def picky(body: dict[str, Any]) -> tuple[int, Any] | None:
        if body["model"] == "tuned":
            for name in ("temperature", "max_tokens"):
                if name in body:
                    return 400, refusal("unsupported_parameter", name)
        return None

    house = House(picky)
    made = await evaluated(data, house)
    assert made.models["tuned"]["without"] == ["max_tokens", "temperature"]
    assert "without" not in made.models["base"]
    assert made.models["tuned"]["errors"] == 0
    assert house.asked[-1][0]["model"] == "base" or house.asked[-1][0]["max_completion_tokens"] == 1024


async def test_a_refused_question_is_a_wrong_answer_and_a_model_that_refuses_all_is_said(data: Dataset) -> None:
    too_long = (400, refusal("context_length_exceeded", "messages"))
    made = await evaluated(data, House(lambda body: too_long if number_of(body) < 3 else None))
    assert made.models["tuned"]["errors"] == 3
    assert made.models["tuned"]["label_accuracy"]["mean"] == pytest.approx((N - 3) / N)
    with pytest.raises(FinetuneError, match=r"tuned answered none of 30 .*http_400_context_length_exceeded"):
        await evaluated(data, House(lambda body: too_long if body["model"] == "tuned" else None))


async def test_without_penstock_there_is_a_result_and_nothing_is_sent(data: Dataset) -> None:
    house = House(own=False)
    made = await evaluated(data, house)
    assert house.scores == []
    assert (made.recorded, made.notes) == (0, ["Nothing went to ClickHouse: it was not Penstock that answered."])


async def test_scores_that_could_not_be_sent_are_sent_by_the_next_run_under_the_same_name(data: Dataset) -> None:
    house = House(sink=400)
    made = await evaluated(data, house)
    assert made.recorded == 0
    assert load(places(data).result).notes == made.notes
    assert "feedback answers 400. Run the same command again" in made.notes[0]
    house.sink = 202
    again = await evaluated(data, house)
    assert house.answered.total() == 2 * N, "nothing was asked again"
    assert house.looked == 1, "before the first question, and not where there is none"
    assert (again.id, again.notes) == (made.id, [])
    (first, items), (second, resent) = house.scores
    assert (first, items) == (second, resent)


async def test_a_busy_proxy_is_tried_again() -> None:
    tries: list[int] = []

    async def busy(request: Request, conn: Conn) -> None:
        tries.append(1)
        await json_reply({}, 503 if len(tries) < 3 else 202)(request, conn)

    items = [{"request_id": f"r{n}"} for n in range(recording.AT_ONCE + 1)]
    async with ScriptedUpstream(busy) as upstream:
        sent = await asyncio.to_thread(recording.send, f"{upstream.url}/v1", "k", "e", items, lambda state: 0)
        keys = [request.header("idempotency-key") for request in upstream.requests]
    assert sent == recording.AT_ONCE + 1
    assert keys == ["e:0", "e:0", "e:0", f"e:{recording.AT_ONCE}"]


async def test_perplexity_is_measured_with_the_chat_template_of_a_base(data: Dataset, tmp_path: Path) -> None:
    base = str(tiny_llama.build(tmp_path / "tiny"))
    house = House()
    made = await evaluated(data, house, tokenizer=base, metrics=("token_f1", "perplexity"), limit=6)
    found = made.models["base"]["perplexity"]
    assert found["n"] == 6
    assert found["low"] < found["mean"] < found["high"]
    assert (made.compared["tuned"]["perplexity"].difference, made.higher_is_better["perplexity"]) == (0.0, False)
    number = int(made.most_better["tuned"][0].removeprefix("test:")) - 1
    prompt = f"<|im_start|>system\nAnswer.<|im_end|>\n<|im_start|>user\nquestion {number}<|im_end|>\n"
    wanted = prompt + "<|im_start|>assistant\n" + ANSWERS[number % 3]
    assert wanted in [body["prompt"] for body in house.bigrams.asked]
    house.bigrams.fault = "off by one"
    refused = await evaluated(data, house, tokenizer=base, limit=6)
    assert "perplexity" not in refused.models["base"]
    assert "Perplexity of base: not available, the log probabilities" in refused.notes[0]


async def test_perplexity_behind_a_prompt_is_that_of_the_whole_and_its_server_is_checked_once(
    data: Dataset, tmp_path: Path
) -> None:
    base = str(tiny_llama.build(tmp_path / "tiny"))
    prompt = tmp_path / "p.json"
    shown = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    prompt.write_text(json.dumps({"messages": shown}))
    asked: dict[str, Any] = {"tokenizer": base, "limit": 3, "models": ("base",), "few_shot": (f"base={prompt}",)}
    house = House()
    made = await evaluated(data, house, metrics=("token_f1", "perplexity"), **asked)
    assert [found["perplexity"]["n"] for found in made.models.values()] == [3, 3]
    turns = "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\nb<|im_end|>\n<|im_start|>user\nquestion"
    assert sum(turns in body["prompt"] for body in house.bigrams.asked) == 3
    house.bigrams.fault = "off by one"
    refused = await evaluated(data, house, **asked)
    assert [note.partition(":")[0] for note in refused.notes] == ["Perplexity of base"]
