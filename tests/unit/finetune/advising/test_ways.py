"""The matrix at each of its bounds, and what each way says and costs."""

from __future__ import annotations

import shlex
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.main import get_command

from exporters.datasets.describing.training_prices import PRICES
from finetune.advising.costs import Costs, costs, hours, pays_after
from finetune.advising.doubts import doubts
from finetune.advising.machine import Machine, machine, parse
from finetune.advising.matrix import Aim, aim_of, pairs_come_after, recommended
from finetune.advising.measures import Measures, measure
from finetune.advising.rows import Rows
from finetune.advising.ways import Facts, Way, ways
from tests.unit.finetune.advising.talks import by_words, different, rows

SAMPLE = rows(*((question, answer) for _, question, answer in different(40)))
MEASURES = measure(Rows(SAMPLE, {"train": 40, "validation": 10, "test": 60}, {}, frozenset()), by_words)
TODAY = date(2026, 11, 23)
PROCESSOR = Machine(device="this machine", flops=1e11, memory=0, measured=True)
GPU = Machine(device="NVIDIA A100-SXM4-80GB", flops=312e12, memory=80e9, measured=False)


def of(distinct: int, pairs: int = 0, **changes: Any) -> Measures:
    return msgspec.structs.replace(MEASURES, distinct=distinct, preferences={"train": pairs}, **changes)


def priced(measures: Measures, usd_a_token: float | None = 1e-6, here: Machine | None = PROCESSOR) -> Costs:
    def price(model: str, input_tokens: int, output_tokens: int) -> float | None:
        return None if usd_a_token is None else (input_tokens + output_tokens) * usd_a_token

    return costs(measures, model="big", price=price, training=PRICES, few_shot_tokens=100, here=here)


def found(
    measures: Measures, aim: Aim = "style", *, today: date = TODAY, here: Machine = PROCESSOR, **prices: Any
) -> dict[str, Way]:
    facts = Facts(
        measures=measures,
        aim=aim,
        costs=priced(measures, here=here, **prices),
        dataset="support v1",
        name="support v1",
        model="big",
        today=today,
        has_gpu=not here.measured,
    )
    return {way.name: way for way in ways(facts)}


@pytest.mark.parametrize(
    ("distinct", "way"),
    [(1, "few-shot"), (99, "few-shot"), (100, "hosted"), (1_000, "hosted"), (1_001, "lora"), (10**6, "lora")],
)
@pytest.mark.parametrize("aim", ["style", "format", "classification", "cost"])
def test_the_number_of_distinct_examples_decides(distinct: int, way: str, aim: Aim) -> None:
    assert recommended(distinct, aim) == way
    first = next(iter(found(of(distinct), aim).values()))
    assert (first.name, first.verdict) == (way, "do")


@pytest.mark.parametrize("distinct", [1, 500, 5_000])
def test_knowledge_is_not_trained(distinct: int) -> None:
    assert recommended(distinct, "knowledge") == "retrieval"


@pytest.mark.parametrize(
    ("distinct", "pairs", "after"), [(100, 100, True), (99, 100, False), (100, 99, False), (0, 10**6, False)]
)
def test_preferences_need_pairs_and_examples_before_them(distinct: int, pairs: int, after: bool) -> None:
    assert pairs_come_after(distinct, pairs) is after
    assert found(of(distinct, pairs))["dpo"].verdict == ("then" if after else "not")


@pytest.mark.parametrize(
    ("share", "facts", "aim"), [(0.25, 1.0, "knowledge"), (0.24, 9.0, "style"), (0.9, 0.9, "style")]
)
def test_new_facts_are_knowledge_when_there_are_many_and_they_weigh(share: float, facts: float, aim: str) -> None:
    new = msgspec.structs.replace(MEASURES.new, share=share, numbers=facts, names=0.0)
    assert aim_of(of(10, new=new)) == aim


@pytest.mark.parametrize(("json", "tools", "aim"), [(0.8, 0, "format"), (0.4, 0.4, "format"), (0.79, 0, "style")])
def test_answers_of_one_shape_are_format(json: float, tools: float, aim: str) -> None:
    assert aim_of(of(10, json_share=json, tool_share=tools)) == aim


def test_answers_of_a_closed_set_are_classification() -> None:
    sample = rows(*[("a", "x")] * 5, *[("b", "y")] * 5)
    labelled = measure(Rows(sample, {"train": 10, "validation": 0, "test": 0}, {}, frozenset()), by_words)
    assert aim_of(labelled) == "classification"
    why = found(msgspec.structs.replace(labelled, distinct=200), "classification")["hosted"].why
    assert any("2 classes, balance 1.00; always answering 'x' is right in 50%" in text for text in why)


@pytest.mark.parametrize(
    ("distinct", "name", "said"),
    [
        (60, "few-shot", "60 distinct examples"),
        (400, "hosted", "400 distinct examples"),
        (5000, "lora", "5,000 distinct"),
    ],
)
def test_the_reason_has_the_numbers(distinct: int, name: str, said: str) -> None:
    assert said in found(of(distinct))[name].why[0]


def test_openai_closes() -> None:
    before, after = (found(of(400), today=day)["hosted"].against for day in (date(2027, 1, 5), date(2027, 1, 6)))
    assert any("from 2027-01-06 on" in text for text in before)
    assert any("any more since 2027-01-06" in text for text in after)


def test_providers_ask_for_ten_examples() -> None:
    assert found(of(9))["hosted"].verdict == "not"
    assert found(of(10))["hosted"].verdict == "could"


@pytest.mark.parametrize(("distinct", "enough"), [(9, False), (99, False), (100, True)])
def test_few_examples_are_not_said_to_be_enough(distinct: int, enough: bool) -> None:
    hosted = found(of(distinct))["hosted"]
    assert any("are enough to tune on" in text for text in hosted.why) is enough
    assert any("distinct" in text for text in hosted.against) is not enough


@pytest.mark.parametrize(("test", "validation", "split"), [(1, 1, "test"), (0, 1, "validation"), (0, 0, "train")])
def test_what_is_evaluated_on_is_there(test: int, validation: int, split: str) -> None:
    examples = {"train": 40, "validation": validation, "test": test}
    assert f"--split {split} " in found(of(40, examples=examples), "knowledge")["retrieval"].command


def test_a_large_model_is_for_a_gpu() -> None:
    assert "--base Qwen/Qwen3-8B" in found(of(5000), here=GPU)["lora"].command
    small = msgspec.structs.replace(GPU, memory=16e9)
    assert "--base Qwen/Qwen3-8B --qlora" in found(of(5000), here=small)["lora"].command
    assert "--base Qwen/Qwen3-0.6B" in found(of(5000))["lora"].command
    assert any("No GPU" in text for text in found(of(5000))["lora"].against)


def test_what_is_merged_is_what_preferences_begin_with() -> None:
    both = found(of(5000, 200))
    assert both["lora"].command.endswith("--merge")
    assert "--base 'penstock-runs/support v1-lora/merged' --dpo" in both["dpo"].command
    assert both["dpo"].verdict == "then"
    assert "finetune openai" in found(of(500, 200))["dpo"].command


def test_the_aim_of_cost_says_what_is_saved_or_that_nobody_knows() -> None:
    assert any("1,000 calls cost" in text for text in found(of(400), "cost")["hosted"].why)
    assert any("[prices]" in text for text in found(of(400), "cost", usd_a_token=None)["hosted"].against)
    assert any("dearer" in text for text in found(of(50), "cost")["few-shot"].against)


def test_every_command_has_only_options_that_there_are() -> None:
    """The whole command line, read by the command itself."""
    from proxy.cli import app

    commands = {way.command for distinct in (50, 500, 5000) for way in found(of(distinct, 200)).values()}
    names = set()
    for line in commands:
        words = shlex.split(line)
        assert words[0] == "penstock"
        command: Any = get_command(app)
        rest = words[1:]
        while hasattr(command, "commands"):
            command, rest = command.commands[rest[0]], rest[1:]
        names.add(command.name)
        options = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in rest if word.startswith("--")} <= options, line
    assert {"advise", "openai", "lora"} <= names


def test_hours_are_those_of_the_formula() -> None:
    shown = {(one.parameters, one.device): one for one in hours(1_000_000, PROCESSOR)}
    by_hand = 3 * 1e6 * 6 * 8e9 / (165e12 * 0.35) / 3600
    assert shown["8B", "RTX 4090"].hours == pytest.approx(by_hand, abs=1e-4)
    assert (shown["8B", "RTX 4090"].method, shown["32B", "RTX 4090"].method) == ("lora", "qlora")
    assert shown["1B", "this machine"].hours == pytest.approx(3 * 1e6 * 6 * 1e9 / (1e11 * 0.35) / 3600, abs=1e-3)
    assert shown["1B", "this machine"].measured


def test_what_does_not_fit_is_not_listed() -> None:
    tiny = msgspec.structs.replace(GPU, device="tiny", memory=4e9)
    assert [one.parameters for one in hours(1000, tiny) if one.device == "tiny"] == ["1B"]


def test_training_costs_epochs_times_tokens_times_price() -> None:
    measures = msgspec.structs.replace(MEASURES, tokens=msgspec.structs.replace(MEASURES.tokens, train=1_000_000))
    shown = {(one.provider, one.model): one for one in priced(measures).hosted}
    assert shown["Together", "up to 16B"].usd == 1.44
    assert all(one.as_of for one in shown.values())


def test_calls_are_priced_as_they_are_with_examples_and_tuned() -> None:
    static = msgspec.structs.replace(MEASURES.static, tokens=5.0)
    measures = msgspec.structs.replace(MEASURES, static=static)
    now, longer, tuned = priced(measures).calls
    assert (longer.input_tokens - now.input_tokens, now.input_tokens - tuned.input_tokens) == (100, 5)
    assert now.usd == pytest.approx((now.input_tokens + now.output_tokens) * 1000 * 1e-6)
    assert tuned.usd == pytest.approx((tuned.input_tokens + tuned.output_tokens) * 1000 * 0.18e-6)
    unknown = priced(measures, None)
    assert (unknown.calls[0].usd, unknown.pays_after) == (None, None)


@pytest.mark.parametrize(
    ("training", "now", "tuned", "calls"),
    [(1.0, 2.0, 1.0, 1000), (1.0, 4.0, 1.0, 334), (1.0, 1.0, 1.0, None), (1.0, None, 1.0, None), (0.0, 2.0, 1.0, 0)],
)
def test_training_is_paid_by_what_calls_save(
    training: float, now: float | None, tuned: float, calls: int | None
) -> None:
    assert pays_after(training, now, tuned) == calls


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"examples": {"train": 40, "validation": 0, "test": 60}}, "no validation split"),
        ({"examples": {"train": 40, "validation": 5, "test": 49}}, "test split has 49 examples"),
        ({"duplicates": {"exact": 2, "near": 1, "held_out": 0}}, "2 exact and 1 near duplicates in 40"),
        ({"duplicates": {"exact": 0, "near": 0, "held_out": 1}}, "1 examples of train ask"),
        ({"diversity": {"effective": 3.9, "of": 40}}, "40 examples are worth 4 different ones"),
    ],
)
def test_what_is_wrong_is_said(changes: dict[str, Any], said: str) -> None:
    plain = msgspec.to_builtins(MEASURES)
    assert doubts(MEASURES) == []
    (doubt,) = doubts(msgspec.convert(plain | changes, Measures))
    assert said in doubt


def test_what_is_wrong_with_classes_is_said() -> None:
    sample = rows(*[("a", "x")] * 50, *[("b", "y")] * 4)
    labelled = measure(Rows(sample, {"train": 54, "validation": 9, "test": 60}, {}, frozenset()), by_words)
    said = doubts(labelled)
    assert any("'y', has 4 examples" in doubt for doubt in said)
    assert any("right in 93%" in doubt for doubt in said)


def test_a_gpu_is_known_by_its_name() -> None:
    assert parse("NVIDIA H200, 143771\nNVIDIA H200, 143771\n") == Machine(
        device="NVIDIA H200", flops=989e12, memory=143771 * 2**20, measured=False
    )
    assert parse("NVIDIA GeForce 9800, 512\n") is None
    assert parse("") is None


def test_a_processor_is_measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each product takes a second by this clock."""
    monkeypatch.setenv("PATH", str(tmp_path))
    seconds = iter(range(100))
    shown = machine(lambda: float(next(seconds)))
    assert shown.measured
    assert shown.flops % (256 * 2 * 64**3) == 0
