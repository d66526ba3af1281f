"""The kinds of runs: pairs of answers, 4 bits, packed rows, variants of the adapter, other files, trackers."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from finetune import lora
from finetune.errors import FinetuneError
from finetune.run import Run
from finetune.training.options import LoraOptions
from tests import tiny_llama


@pytest.fixture
def train(tiny_base: Path, small_set: Path, tmp_path: Path) -> Any:
    def trained(**changed: Any) -> Run:
        given = {"base": str(tiny_base), "max_steps": 2, "batch_size": 4, "accumulation": 1, "learning_rate": 1e-2}
        return lora.train(LoraOptions(dataset=str(small_set), **{**given, **changed}), root=tmp_path / "runs")

    return trained


def config(run: Run) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run.adapter / "adapter_config.json").read_text())
    return found


def steps(run: Run) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in run.log.read_text().splitlines()]
    return [line for line in lines if "loss" in line]


def test_pairs_of_answers_teach_to_prefer_the_better_one(train: Any) -> None:
    run = train(dpo=True, max_steps=16, save_steps=16)
    assert (run.name, run.file.objective, run.file.method) == ("pirates-dpo", "dpo", "lora")
    losses = [line["loss"] for line in steps(run)]
    assert losses[0] == pytest.approx(0.6931, abs=1e-3)  # -log(1/2): the adapter is the base still
    assert losses[-1] < 0.5
    assert run.file.perplexity["tuned"].n == 8


def test_a_base_in_4_bits_is_trained(train: Any, tiny_base: Path) -> None:
    plain, run = train(run="plain"), train(qlora=True, max_steps=12, save_steps=12)
    assert (run.name, run.file.method) == ("pirates-qlora", "qlora")
    assert run.file.parameters == plain.file.parameters
    assert run.file.perplexity["tuned"].high < run.file.perplexity["base"].low
    assert run.file.perplexity["base"].mean != pytest.approx(plain.file.perplexity["base"].mean, rel=1e-6)


@pytest.mark.parametrize("qlora", [False, True])
def test_a_gguf_is_trained_as_a_folder_is(train: Any, tmp_path: Path, qlora: bool) -> None:
    """Once it is dequantised, it is a model as any other."""
    run = train(base=str(tiny_llama.build_gguf(tmp_path / "tiny.gguf")), qlora=qlora)
    assert (run.file.state, config(run)["base_model_name_or_path"]) == ("finished", str(tmp_path / "tiny.gguf"))


def test_packing_makes_fewer_rows_that_do_not_see_each_other(
    train: Any, tiny_base: Path, small_set: Path, tmp_path: Path
) -> None:
    options = LoraOptions(dataset=str(small_set), base=str(tiny_base), packing=True, max_length=256, batch_size=8)
    assert lora.estimate(options).rows == 8  # 24 examples of about 74 tokens
    # A whole epoch in one step: were a row to see its neighbours, or learn more or less than its answers, the loss of
    # that step would be another.
    packed = train(run="packed", packing=True, max_length=256, batch_size=8, max_steps=1, dropout=0.0)
    plain = train(run="plain", batch_size=24, max_steps=1, dropout=0.0)
    assert steps(packed)[0]["loss"] == pytest.approx(steps(plain)[0]["loss"], rel=1e-4)


def test_grouping_by_length_changes_the_order(train: Any) -> None:
    grouped, plain = train(run="grouped", group_by_length=True), train(run="plain")
    assert [line["loss"] for line in steps(grouped)] != [line["loss"] for line in steps(plain)]


def test_gradient_checkpointing_changes_no_loss(train: Any) -> None:
    found, plain = train(run="less", gradient_checkpointing=True), train(run="plain")
    assert [line["loss"] for line in steps(found)] == pytest.approx([line["loss"] for line in steps(plain)], rel=1e-5)


def test_variants_of_the_adapter_are_what_was_asked_for(train: Any) -> None:
    found = config(train(rank=4, alpha=4, dropout=0.0, targets=("q_proj", "v_proj"), rslora=True, dora=True))
    assert (found["r"], found["lora_alpha"], found["lora_dropout"]) == (4, 4, 0.0)
    assert set(found["target_modules"]) == {"q_proj", "v_proj"}
    assert (found["use_rslora"], found["use_dora"]) == (True, True)
    every = config(train(run="every"))
    assert {name.rpartition(".")[2] for name in every["target_modules"]} == {
        *("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    }
    assert (every["use_rslora"], every["use_dora"]) == (False, False)


def test_the_merged_model_and_a_gguf_adapter_are_made_when_asked_for(train: Any) -> None:
    run = train(merge=True, gguf=True)
    assert (run.merged / "config.json").is_file()
    assert run.gguf_adapter.read_bytes()[:4] == b"GGUF"


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_trackers_write_into_the_folder_of_the_run(train: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    named = ("DIR", "NAME", "RUN_ID", "RESUME", "PROJECT", "SILENT")
    for name in ("TENSORBOARD_LOGGING_DIR", *(f"WANDB_{name}" for name in named)):
        monkeypatch.setenv(name, "")  # to be put back
        monkeypatch.delenv(name)
    monkeypatch.setenv("WANDB_MODE", "offline")
    run = train(track=("jsonl", "tensorboard", "wandb"))
    assert list((run.folder / "tensorboard").glob("events.*"))
    assert list((run.folder / "wandb").glob("offline-run-*/run-pirates-lora.wandb"))
    assert len(steps(run)) == 2


def test_options_that_do_not_go_together_are_refused_in_a_line() -> None:
    for wrong, said in (
        ({"packing": True, "dpo": True}, "--packing and --dpo"),
        ({"packing": True, "group_by_length": True}, "--packing and --group-by-length"),
        ({"rank": 0}, "--rank must be at least 1"),
        ({"dropout": 1.5}, "--dropout must be from 0.0 to 0.9"),
        ({"track": ("paper",)}, "--track paper is none of jsonl, tensorboard, wandb"),
        ({"epochs": 0.0}, "--epochs must be more than 0"),
        ({"epochs": math.nan}, "--epochs must be more than 0"),
        ({"epochs": math.inf}, "--epochs must be more than 0"),
        ({"learning_rate": math.nan}, "--learning-rate must be at least 0, not nan"),
        ({"weight_decay": math.inf}, "--weight-decay must be at least 0, not inf"),
        ({"targets": ()}, "--targets names nothing"),
    ):
        with pytest.raises(FinetuneError, match=said):
            LoraOptions(dataset="x", base="y", **wrong)  # type: ignore[arg-type]
