"""The model card says what `run.json` says, for people and for the hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from finetune.card import card, rank_of, write_card
from finetune.errors import FinetuneError
from finetune.run import Interval, Run, RunFile, Trained


def run_file(**changed: Any) -> RunFile:
    told: dict[str, Any] = {
        "name": "support-v1-lora",
        "method": "lora",
        "state": "finished",
        "dataset": Trained(
            name="support-v1", folder="/home/me/private/support-v1", sha256="ab" * 32, examples={"train": 1234}
        ),
        "base": "HuggingFaceTB/SmolLM2-135M-Instruct",
        "arguments": {"rank": 24, "targets": ["all-linear"], "dataset": "/home/me/private/support-v1", "seed": 7},
        "seed": 7,
        "device": "cpu",
        "dtype": "float32",
        "parameters": 134_515_008,
        "trainable_parameters": 921_600,
        "git_commit": "c0ffee-dirty",
        "versions": {"peft": "0.21.2"},
        "began": "2026-11-23T10:00:00+00:00",
        "ended": "2026-11-23T11:00:00+00:00",
        "steps": 200,
        "tokens_per_second": 1234.5,
        "memory_bytes_peak": 2_500_000_000,
        "loss": {"train": 1.81, "validation": 1.92},
        "perplexity": {
            "base": Interval(mean=14.5, low=13.1, high=16.2, n=80),
            "tuned": Interval(mean=6.8, low=6.1, high=7.7, n=80),
        },
    }
    return RunFile(**told | changed)


EVALUATION: dict[str, Any] = {
    "dataset": {"name": "support-v1", "sha256": "ab" * 32},
    "split": "test",
    "examples": 60,
    "baseline": "base",
    "primary": "token_f1",
    "models": {
        "base": {"token_f1": {"mean": 0.2, "low": 0.15, "high": 0.25, "n": 60}, "errors": 0},
        "tuned": {"token_f1": {"mean": 0.6, "low": 0.5, "high": 0.7, "n": 60}, "latency_s": {"mean": 0.4}, "errors": 0},
    },
    "compared": {"tuned": {"token_f1": {"difference": 0.4, "low": 0.3, "high": 0.5, "p": 0.0001, "n": 60}}},
    "higher_is_better": {"token_f1": True, "perplexity": False},
}


def front_matter(text: str) -> Any:
    before, matter, _ = text.split("---\n", 2)
    assert before == ""
    return yaml.safe_load(matter)


def test_the_hub_can_read_its_front_matter() -> None:
    assert front_matter(card(run_file())) == {
        "base_model": "HuggingFaceTB/SmolLM2-135M-Instruct",
        "library_name": "peft",
        "pipeline_tag": "text-generation",
        "tags": ["penstock", "base_model:adapter", "lora", "sft"],
        "datasets": ["support-v1"],
    }


def test_everything_that_the_run_is_made_with_is_in_it() -> None:
    text = card(run_file())
    for said in (
        *("support-v1", "ab" * 32, "1,234", "`rank`", "`24`", '`["all-linear"]`', "peft 0.21.2", "c0ffee-dirty", "cpu"),
        *("float32", "134,515,008", "921,600 (0.69%)", "200", "1.8100", "1.9200", "14.500", "13.100 to 16.200", "80 "),
        *("2026-11-23T10:00:00+00:00 to 2026-11-23T11:00:00+00:00", "2.5 GB", "changes that are in no commit"),
        *("--max-lora-rank 32", "PeftModel", "llama-server", "penstock promote support-v1-lora", "not evaluated"),
    ):
        assert said in text, said
    assert text == card(run_file())
    assert "overlap" not in text
    assert "cut off" not in text


def test_paths_of_this_machine_stay_here() -> None:
    text = card(run_file(base="/home/me/private/models/base.gguf"))
    assert "/home/me" not in text
    assert "base.gguf" in text
    assert "base_model" not in front_matter(text)
    assert 'gguf_file="base.gguf"' in text
    assert "vllm" not in text  # does not load adapters of it


def test_a_gain_that_may_be_chance_is_said_to_be_none() -> None:
    near = {
        "base": Interval(mean=7.5, low=6.9, high=8.2, n=9),
        "tuned": Interval(mean=6.8, low=6.1, high=7.7, n=9),
    }
    assert "intervals of base and tuned overlap" in card(run_file(perplexity=near))
    assert "No perplexity was measured" in card(run_file(perplexity={}, loss={}))


def test_a_run_that_is_not_finished_says_so() -> None:
    assert "it is failed. Out of memory." in card(run_file(state="failed", error="Out of memory."))
    assert "it is interrupted." in card(run_file(state="interrupted"))


def test_a_run_of_a_provider_names_its_model() -> None:
    text = card(run_file(method="hosted", base="gpt-4.1-mini", model="ft:gpt-4.1-mini:acme::abc"))
    assert "`ft:gpt-4.1-mini:acme::abc`" in text
    assert "PeftModel" not in text
    assert "library_name" not in front_matter(text)
    assert "base_model" not in front_matter(text)


def test_what_prompts_began_with_is_shown_and_cannot_end_its_block() -> None:
    text = card(run_file(prune=("You are a bot.\n```\n# Not a heading",), prune_user=("Dear bot,",)))
    assert "````\nYou are a bot.\n```\n# Not a heading\n````" in text
    assert "Dear bot," in text


def test_names_cannot_break_a_table() -> None:
    text = card(run_file(arguments={"chat|template": "a`b|c\nd"}))
    assert "| `chat\\|template` | ``a`b\\|c d`` |" in text


def test_the_evaluation_is_in_it_when_there_is_one(tmp_path: Path) -> None:
    run = Run.create(tmp_path, run_file())
    write_card(run)
    assert "not evaluated" in run.card.read_text()
    run.evaluation.write_bytes(msgspec.json.encode(EVALUATION))
    write_card(run)
    text = run.card.read_text()
    assert "| **token_f1** | `tuned` | 0.6 | 0.5 to 0.7 | +0.4 (+0.3 to +0.5) | 0.0001 |" in text
    assert "| **token_f1** | `base` | 0.2 | 0.15 to 0.25 |  |  |" in text
    assert "latency" not in text
    assert "Lower is better: perplexity." in text
    assert "not evaluated" not in text
    assert "not the dataset as it was trained on" not in text
    run.evaluation.write_bytes(msgspec.json.encode(EVALUATION | {"dataset": {"name": "other", "sha256": "cd"}}))
    write_card(run)
    assert "not the dataset as it was trained on" in run.card.read_text()


def test_a_damaged_evaluation_is_said_in_a_line(tmp_path: Path) -> None:
    run = Run.create(tmp_path, run_file())
    run.evaluation.write_text("{")
    with pytest.raises(FinetuneError, match="penstock evaluate"):
        write_card(run)


@pytest.mark.parametrize(("rank", "wanted"), [(4, 8), (8, 8), (9, 16), (33, 64), (512, 512), (600, 600)])
def test_vllm_gets_a_rank_that_it_has(rank: int, wanted: int) -> None:
    assert rank_of(run_file(arguments={"rank": rank})) == wanted
