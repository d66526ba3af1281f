"""What ends a run at a bad moment: in its last step, after it, with a full disk; and what could not have ended well."""

from __future__ import annotations

import os
import resource
import signal
from pathlib import Path
from typing import Any

import pytest

from finetune import lora
from finetune.errors import FinetuneError
from finetune.run import Run
from finetune.training.options import LoraOptions
from tests import tiny_llama

from .test_lora import Watching, curve, options_of


@pytest.fixture
def begin(tiny_base: Path, small_set: Path, tmp_path: Path) -> Any:
    """Train ten steps, which end in the middle of an epoch."""

    def begun(watch: Any = None, **changed: Any) -> Run:
        options = options_of(small_set, tiny_base, **{"run": "x", "max_steps": 10, **changed})
        return lora.train(options, root=tmp_path, watch=watch)

    return begun


def test_a_signal_in_the_last_step_costs_no_step_and_adds_none(begin: Any, tmp_path: Path) -> None:
    unbroken = begin(run="unbroken")
    with pytest.raises(FinetuneError, match="Interrupted at step 10"):
        begin(Watching(10, lambda: os.kill(os.getpid(), signal.SIGTERM)))
    run = lora.go_on(Run.open(tmp_path / "x"))
    assert (run.file.state, curve(run)) == ("finished", curve(unbroken))
    assert run.file.perplexity == unbroken.file.perplexity


@pytest.mark.parametrize(
    "changed",
    [{}, {"learning_rate": 1.0, "save_steps": 1, "patience": 1, "schedule": "constant"}],
    ids=["all steps", "early"],
)
def test_a_run_that_was_killed_right_after_its_last_checkpoint_is_not_trained_further(
    begin: Any, tmp_path: Path, changed: Any
) -> None:
    run = begin(**changed)
    log, perplexity = run.log.read_bytes(), run.file.perplexity
    (run.checkpoints / "over").unlink()
    run.file.state, run.file.perplexity = "running", {}
    run.save()
    moved = run.folder.rename(tmp_path / "moved")  # checkpoints name each other by their paths
    run = lora.go_on(Run.open(moved))
    assert (run.file.state, run.log.read_bytes()) == ("finished", log)
    assert run.file.perplexity == perplexity


@pytest.mark.parametrize(("size_max", "said"), [(100_000, "Weights cannot be written"), (200_000, "disk is full")])
def test_a_checkpoint_that_does_not_fit_is_said_in_a_line_and_the_run_goes_on_when_there_is_room(
    begin: Any, tmp_path: Path, size_max: int, said: str
) -> None:
    """First the adapter, then the optimizer's state are larger than a file may be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    full = Watching(5, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size_max, hard)))
    try:
        with pytest.raises(FinetuneError, match=said) as caught:
            begin(full)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    run = Run.open(tmp_path / "x")
    assert (run.file.state, run.file.error) == ("failed", str(caught.value))
    assert lora.go_on(run).file.state == "finished"


def test_a_validation_that_is_no_number_ends_it_in_a_line(begin: Any, tmp_path: Path) -> None:
    with pytest.raises(FinetuneError, match=r"no number any more at step 1\. .* lower --learning-rate"):
        begin(learning_rate=1e30, schedule="constant", warmup=0.0, save_steps=1)
    assert not (tmp_path / "x").exists()


def test_a_dataset_that_cannot_bear_the_note_of_a_run_is_refused_before_it_is_trained_on(
    begin: Any, tmp_path: Path, small_set: Path
) -> None:
    (small_set / "trained.jsonl").mkdir()
    with pytest.raises(FinetuneError, match=r"trained\.jsonl cannot be written"):
        begin()
    assert not (tmp_path / "x").exists()


def test_a_gguf_that_cannot_be_written_is_refused_before_training(small_set: Path, tmp_path: Path) -> None:
    with pytest.raises(FinetuneError, match="--dora and --gguf do not go together"):
        LoraOptions(dataset="x", base="y", dora=True, gguf=True)
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

    base = tmp_path / "neox"
    GPTNeoXForCausalLM(
        GPTNeoXConfig(
            vocab_size=384, hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2,
            max_position_embeddings=256,
        )
    ).save_pretrained(base)  # fmt: skip
    tiny_llama.tokenizer().save_pretrained(base)
    with pytest.raises(FinetuneError, match="Adapters of gpt_neox are not written as GGUF"):
        lora.train(options_of(small_set, base, run="x", gguf=True), root=tmp_path)
    assert not (tmp_path / "x").exists()
    assert lora.estimate(options_of(small_set, base)).memory_bytes > 0  # of other layers than Llama's too


def test_a_run_whose_file_cannot_be_written_leaves_its_name_free(begin: Any, tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        with pytest.raises(FinetuneError, match="cannot be written"):
            begin()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not (tmp_path / "x").exists()
