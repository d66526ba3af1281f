"""`penstock finetune runs` and `show`, as programs and as people read them."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from finetune.run import Interval, Run, RunFile, Trained
from proxy.cli import app
from proxy.commands.finetune_runs_view import age

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def made(root: Path, name: str, **changed: Any) -> Run:
    told: dict[str, Any] = {
        "method": "qlora",
        "state": "finished",
        "dataset": Trained(name="support-v1", folder="/data/support-v1", sha256="ab" * 32, examples={"train": 1200}),
        "base": "/models/smol.gguf",
        "arguments": {"rank": 16, "targets": ["q_proj", "v_proj"]},
        "steps": 1500,
        "parameters": 1000,
        "trainable_parameters": 10,
        "loss": {"train": 1.5, "validation": 1.625},
        "perplexity": {
            "base": Interval(mean=14.5, low=13.0, high=16.0, n=80),
            "tuned": Interval(mean=6.75, low=6.0, high=7.5, n=80),
        },
        "began": (datetime.now(UTC) - timedelta(hours=3, minutes=5)).isoformat(),
        "prune": ("You are",),
    }
    return Run.create(root, RunFile(name=name, **told | changed))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    run = made(tmp_path, "tuned")
    run.log.write_text(
        "".join(json.dumps({"step": step, "loss": 3.0 / step}) + "\n" for step in range(1, 6))
        + json.dumps({"step": 4, "eval_loss": 1.625})
        + "\n"
    )
    run.adapter.mkdir()
    made(tmp_path, "at-openai", method="hosted", objective="dpo", state="running", perplexity={}, loss={}, steps=0)
    return tmp_path


def said(*words: str) -> str:
    result = CliRunner().invoke(app, ["finetune", *words])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_runs_are_listed_with_what_came_of_them(root: Path) -> None:
    head, hosted, tuned = said("runs", "--runs", str(root)).splitlines()
    assert head.split() == ["name", "method", "dataset", "base", "state", "steps", "loss", "perplexity", "age"]
    assert hosted.split() == ["at-openai", "hosted", "dpo", "support-v1", "smol.gguf", "running", "-", "-", "-", "3h"]
    assert " ".join(tuned.split()) == "tuned qlora support-v1 smol.gguf finished 1,500 1.625 14.50 → 6.75 3h"


def test_on_a_narrow_terminal_names_are_whole(root: Path) -> None:
    from finetune.run import runs
    from proxy.commands.finetune_runs_view import print_runs

    file = io.StringIO()
    print_runs(Console(file=file, width=60), runs(root), root, NOW)
    lines = file.getvalue().splitlines()
    assert [line.split()[0] for line in lines if line[0] != " "] == ["name", "at-openai", "tuned"]


def test_runs_are_listed_for_programs(root: Path) -> None:
    hosted, tuned = json.loads(said("runs", "--runs", str(root), "--json"))
    assert (tuned["name"], tuned["state"], tuned["validation_loss"]) == ("tuned", "finished", 1.625)
    assert tuned["perplexity"] == {"base": 14.5, "tuned": 6.75}
    assert (hosted["method"], hosted["objective"], hosted["validation_loss"]) == ("hosted", "dpo", None)
    assert json.loads(said("runs", "--runs", str(root / "none"), "--json")) == []


def test_one_run_is_shown_with_its_curve(root: Path) -> None:
    shown = said("show", "tuned", "--runs", str(root))
    for part in (
        *("support-v1 (1,200 train), abababababab", "/models/smol.gguf", "10 trained of 1,000", "1,500"),
        *("rank=16  targets=q_proj,v_proj", "base 14.500 [13.000, 16.000], 80 examples", "best: 1.625 at step 4"),
        *("loss          train 1.5000\n", "loss          validation 1.6250\n"),
        *("1 beginnings of prompts", f"{root}/tuned/adapter", "penstock finetune serve tuned"),
    ):
        assert part in shown, part
    hosted = said("show", "at-openai", "--runs", str(root))
    assert "serve" not in hosted
    assert "best" not in hosted


def test_one_run_is_shown_for_programs(root: Path) -> None:
    (root / "tuned" / "evaluation.json").write_text('{"primary": "rouge_l"}')
    shown = json.loads(said("show", str(root / "tuned"), "--json"))
    assert shown["curve"]["train"][-1] == [5, 0.6]
    assert shown["curve"]["validation"] == [[4, 1.625]]
    assert shown["curve"]["best"] == [4, 1.625]
    assert shown["evaluation"] == {"primary": "rouge_l"}
    assert shown["arguments"]["rank"] == 16
    assert set(shown["files"]) == {"adapter", "evaluation", "log"}


def test_what_a_name_holds_does_not_reach_the_terminal(root: Path) -> None:
    made(root, "odd", base="/models/\x1b[2Jbase", error="went \x1b]0;wrong")
    assert "\x1b" not in said("runs", "--runs", str(root)) + said("show", "odd", "--runs", str(root))


def test_a_run_that_is_not_there_is_said_in_a_line(root: Path) -> None:
    from proxy.commands.failure import CommandFailed

    result = CliRunner().invoke(app, ["finetune", "show", "other", "--runs", str(root)])
    assert isinstance(result.exception, CommandFailed)
    assert "penstock finetune runs" in str(result.exception)


@pytest.mark.parametrize(
    ("since", "says"),
    [
        (timedelta(0), "0s"),
        (timedelta(seconds=59), "59s"),
        (timedelta(minutes=61), "1h"),
        (timedelta(days=12, hours=3), "12d"),
        (timedelta(seconds=-5), "0s"),
    ],
)
def test_ages_are_in_their_largest_unit(since: timedelta, says: str) -> None:
    assert age((NOW - since).isoformat(), NOW) == says


def test_an_age_that_is_not_known_is_none() -> None:
    assert age("", NOW) == age("2026-11-23T10:00:00", NOW) == "-"
