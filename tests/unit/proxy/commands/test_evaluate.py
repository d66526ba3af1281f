"""`penstock evaluate`: what is refused before anything is asked, what is asked about, and the table."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from finetune.evaluation.result import Evaluation, Measured, Places
from finetune.evaluation.statistics import Comparison
from finetune.run import Run, RunFile, Trained
from proxy.cli import app
from proxy.commands.evaluate_view import print_evaluation
from proxy.commands.failure import CommandFailed
from tests.unit.finetune.evaluation.cases import dataset, line


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ODD_KEY", "schlüssel")
    data = dataset(tmp_path / "penstock-datasets" / "gates", [line(n, "open") for n in range(4)])
    dataset(tmp_path / "penstock-datasets" / "one", [line(1, "open")])
    for name in ("first", "second"):
        trained = Trained(name="gates", folder=str(data.folder.resolve()), sha256=data.sha256)
        Run.create(
            tmp_path / "penstock-runs", RunFile(name=name, method="lora", dataset=trained, base="b", arguments={})
        )


def refused(*arguments: str) -> str:
    done = CliRunner().invoke(app, ["evaluate", *arguments])
    assert isinstance(done.exception, CommandFailed), done.output
    text = str(done.exception)
    assert "\n" not in text
    return text


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["gates"], "Name one model or more, each once: --models base,tuned."),
        (["gates", "--models", "a,a"], "Name one model or more"),
        (["--models", "a"], "Name a dataset: penstock evaluate DATASET"),
        (["fences", "--models", "a"], "fences is no dataset"),
        (["gates", "--models", "a", "--few-shot", "a"], "--few-shot a: say which model is shown which prompt"),
        (["gates", "--models", "a,b", "--tuned", "c"], "--tuned c is none of the models: a, b."),
        (["gates", "--models", "a", "--metrics", "bleu"], "There is no metric bleu. There are label_accuracy"),
        (["gates", "--models", "a", "--primary", "bleu"], "There is no metric bleu."),
        (["gates", "--models", "a", "--primary", "tool_calls"], "--primary tool_calls cannot be taken"),
        (["gates", "--models", "a", "--metrics", "tool_calls"], "tool_calls cannot be taken: no example has tools."),
        (["gates", "--models", "a", "--split", "dev"], "--split takes train, validation, test."),
        (["gates", "--models", "a", "--split", "train"], "has no examples in train"),
        (["gates", "--models", "a", "--out", "x.png"], "--out takes a name that ends in .json"),
        (["gates", "--models", "a", "--schema", "none.json"], "none.json cannot be read"),
        (["gates", "--models", "a", "--run", "none"], "There is no run none"),
        (["gates", "--models", "a", "--url", "http://[::1"], "'http://[::1' is no address of an API. Such as"),
        (["gates", "--models", "a", "--url", "http://h:99999/v1"], "is no address of an API"),
        (["gates", "--models", "a", "--url", "localhost:4100/v1"], "is no address of an API"),
        (["gates", "--models", "a", "--api-key", "env:ODD_KEY"], "characters that cannot be sent in a header"),
        (["one", "--models", "a"], "test has one example, which proves nothing"),
        (["--models", "first,other", "--run", "first"], "first is named first, which is the baseline"),
        (["--models", "a,b,c", "--run", "first", "--tuned", "a"], "a is named first, which is the baseline"),
        (["gates", "--models", "a", "--labels", "yes,no"], "is one of the labels yes, no."),
        (["gates", "--models", "a", "--api-key", "env:NOT_SET_AT_ALL"], "--api-key"),
        (["--models", "a,b,c", "--run", "first"], "Say which of the models is that of first: --tuned NAME."),
    ],
)
def test_what_cannot_be_done_is_one_line(arguments: list[str], says: str) -> None:
    assert says in refused(*arguments)


def test_what_costs_more_than_a_little_is_asked_about(tmp_path: Path) -> None:
    long = line(1, "open")
    long["messages"][0]["content"] = "word " * 1_000_000
    folder = dataset(tmp_path / "long", [long, long]).folder
    done = CliRunner().invoke(app, ["evaluate", str(folder), "--models", "gpt-4o,unheard-of"], input="n\n")
    assert done.exit_code == 1
    assert "2 examples, 2 models: about $6.25, and what unheard-of costs is not known." in done.stderr
    assert not (tmp_path / "penstock-evaluations").exists()


def evaluation(**more: Any) -> Evaluation:
    interval = {"mean": 0.5, "low": 0.4, "high": 0.6, "n": 40}
    facts = {"tokens": {"input": 19.0, "output": None}, "errors": 0, "cut": 0, "cost_usd": {"n": 0}}
    facts["latency_s"] = {"p50": 0.5, "p95": 1.25, "mean": 0.6, "n": 40}
    better = Comparison(difference=0.2, low=0.1, high=0.3, p=0.0004, n=40)
    chance = Comparison(difference=-0.02, low=-0.1, high=0.06, p=1.0, n=40)
    given: dict[str, Any] = {
        "dataset": Measured(name="gates", folder="/gates", sha256="0"),
        "split": "test",
        "examples": 40,
        "baseline": "base",
        "models": {
            "base": {"exact_match": interval, "perplexity": interval, **facts},
            "tuned": {"exact_match": interval | {"mean": 0.7}, "perplexity": interval, **facts, "errors": 2},
        },
        "compared": {"tuned": {"exact_match": better, "perplexity": chance}},
        "higher_is_better": {"exact_match": True, "perplexity": False},
        "primary": "exact_match",
        "most_worse": {"tuned": ["test:7"]},
        "most_better": {"tuned": []},
        "notes": ["Perplexity was guessed."],
    }
    return Evaluation(**(given | more))


def shown(made: Evaluation) -> str:
    out = io.StringIO()
    print_evaluation(Console(file=out, width=160, highlight=False), made, Places(Path("e.json")))
    return out.getvalue()


def test_the_table_says_what_differs_and_how_sure_that_is() -> None:
    text = shown(evaluation())
    assert "gates, test: 40 examples. 95 % intervals." in text
    assert "0.700 (0.400 to 0.600) ▲ n=40" in text
    assert "▲ tuned is better than base in exact_match: +0.2 (+0.1 to +0.3), p < 0.001, n = 40" in text
    assert "in perplexity" not in text
    assert "most worse on test:7" in text
    assert "most better" not in text
    assert "0.50 / 1.25 s" in text
    assert "not answered" in text
    assert "USD" not in text
    assert "Perplexity was guessed." in text
    assert "Written: e.json, e.details.jsonl, e.png" in text
    assert "ClickHouse" not in text


def test_names_are_shown_as_they_are() -> None:
    made = evaluation(notes=["[/red] x"])
    made.models = {"base": made.models["base"], "a[/b]:smile:": made.models["tuned"]}
    made.compared = {"a[/b]:smile:": made.compared["tuned"]}
    text = shown(made)
    assert "▲ a[/b]:smile: is better than base" in text
    assert "base (baseline)" in text
    assert "[/red] x" in text


def test_less_is_better_where_it_is() -> None:
    less = Comparison(difference=-2.0, low=-3.0, high=-1.0, p=0.01, n=40)
    text = shown(evaluation(compared={"tuned": {"perplexity": less}}, recorded=80, id="e1"))
    assert "▲ tuned is better than base in perplexity: -2" in text
    assert "80 scores are in ClickHouse: SELECT * FROM evaluations WHERE run = 'e1'" in text
    same = Comparison(difference=0.0, low=0.0, high=0.0, p=1.0, n=40)
    assert "tuned: no difference from base that could not be chance." in shown(
        evaluation(compared={"tuned": {"perplexity": same}})
    )
