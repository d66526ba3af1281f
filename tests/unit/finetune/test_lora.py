"""Whole runs with a tiny model: what they leave, what ends them, and that they go on as if nothing had been."""

from __future__ import annotations

import json
import math
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from finetune import lora
from finetune.errors import FinetuneError
from finetune.run import Run
from finetune.training.options import LoraOptions
from tests import training_set

Make = Callable[..., LoraOptions]


@pytest.fixture
def make(tiny_base: Path, small_set: Path) -> Make:
    """Options of a run of twelve steps."""

    return lambda **changed: options_of(small_set, tiny_base, **changed)


def options_of(dataset: Path, base: Path, **changed: Any) -> LoraOptions:
    given = {"max_steps": 12, "batch_size": 4, "accumulation": 1, "learning_rate": 1e-2, "save_steps": 4, **changed}
    return LoraOptions(dataset=str(dataset), base=str(base), **given)


class Watching:
    """Does something when so many steps are done; keeps what is said."""

    def __init__(self, at: int = 0, do: Callable[[], Any] = lambda: None) -> None:
        self.said: list[str] = []
        self._at = at
        self._do = do

    def say(self, text: str) -> None:
        self.said.append(text)

    @contextmanager
    def bar(self, what: str, total: int, done: int = 0) -> Iterator[Callable[[int, str], None]]:
        steps = done

        def move(count: int, note: str) -> None:
            nonlocal steps
            steps += count
            if what == "training" and count and steps == self._at:
                self._do()

        yield move


def curve(run: Run) -> list[tuple[int, float | None, float | None]]:
    lines = [json.loads(line) for line in run.log.read_text().splitlines()]
    return [(line["step"], line.get("loss"), line.get("eval_loss")) for line in lines]


def noted(run: Run) -> list[str]:
    """The adapters of `run` that its dataset knows of."""
    lines = (Path(run.file.dataset.folder) / "trained.jsonl").read_text().splitlines()
    return [told["adapter"] for line in lines if (told := json.loads(line))["run"] == run.name]


@pytest.fixture(scope="module")
def unbroken(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """What a run comes to that nothing ends; nobody writes to it."""
    folder = tmp_path_factory.mktemp("unbroken")
    return lora.train(options_of(training_set.small(folder / "pirates"), tiny_base), root=folder)


def test_a_run_leaves_everything_that_it_found_and_made(make: Make, tmp_path: Path, small_set: Path) -> None:
    watch = Watching()
    run = lora.train(make(), root=tmp_path / "runs", watch=watch)
    file = Run.open(run.folder).file
    assert (file.name, file.state, file.method, file.objective, file.steps) == (
        *("pirates-lora", "finished", "lora", "sft"),
        12,
    )
    assert LoraOptions.of(file.arguments) == make()
    assert file.dataset.examples == {"train": 24, "validation": 8}
    assert (file.device[:3], file.dtype) == ("CPU", "float32")
    assert 0 < file.trainable_parameters < file.parameters
    assert file.tokens_per_second > 0
    assert file.memory_bytes_peak > 0
    assert {"torch", "transformers", "trl", "peft"} <= file.versions.keys()
    assert file.perplexity["tuned"].high < file.perplexity["base"].low
    assert file.perplexity["tuned"].n == 8
    losses = curve(run)
    assert [step for step, loss, _ in losses if loss is not None] == list(range(1, 13))
    assert [step for step, _, loss in losses if loss is not None] == [4, 8, 12]
    assert file.loss["validation"] == min(loss for _, _, loss in losses if loss is not None)
    for path in (run.adapter / "adapter_model.safetensors", run.adapter / "chat_template.jinja", run.plot, run.card):
        assert path.stat().st_size > 0
    trained = json.loads((small_set / "trained.jsonl").read_text())
    assert (trained["run"], trained["adapter"]) == ("pirates-lora", str(run.adapter))
    said = "\n".join(watch.said)
    for word in ("device", "12 of 4 examples: 2 epochs", "memory", "time", "validation", "perplexity", "finished"):
        assert word in said


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # peft asks transformers so
def test_the_saved_adapter_is_the_tuned_model(make: Make, tmp_path: Path, tiny_base: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from finetune.dataset import Dataset
    from finetune.training.conversations import Counted, Encoder
    from finetune.training.perplexity import surprises

    run = lora.train(make(), root=tmp_path / "runs")
    tuned = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny_base), run.adapter)
    encoder = Encoder(AutoTokenizer.from_pretrained(run.adapter), mask="assistant", max_length=512)
    examples = encoder.examples(Dataset.open(Path(make().dataset)).conversations("validation"), Counted())
    found = surprises(tuned, examples, 3)
    mean = sum(one.nll for one in found) / sum(one.tokens for one in found)
    assert math.exp(mean) == pytest.approx(run.file.perplexity["tuned"].mean, rel=1e-4)


def test_the_same_options_make_the_same_curve_and_another_seed_another(
    make: Make, tmp_path: Path, unbroken: Run
) -> None:
    again = lora.train(make(run="again"), root=tmp_path)
    other = lora.train(make(run="other", seed=1, max_steps=4), root=tmp_path)
    assert curve(again) == curve(unbroken)
    assert curve(other)[:4] != curve(unbroken)[:4]


def test_a_signal_leaves_a_checkpoint_that_goes_on_to_the_same_curve(make: Make, tmp_path: Path, unbroken: Run) -> None:
    watch = Watching(6, lambda: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(FinetuneError, match=r"^Interrupted at step 6\. Go on: penstock finetune lora --resume x"):
        lora.train(make(run="x"), root=tmp_path, watch=watch)
    run = Run.open(tmp_path / "x")
    assert (run.file.state, run.file.steps) == ("interrupted", 6)
    assert noted(run) == [str(run.adapter)], "its checkpoints have learnt of whoever is in the dataset"
    # What a killed process may have left besides: lines after the checkpoint, half of one, half of a checkpoint.
    with run.log.open("a") as log:
        log.write('{"step": 7, "loss": 1.0}\n{"step": 8, "lo')
    (run.checkpoints / "checkpoint-7").mkdir()
    run = lora.go_on(run)
    assert run.file.state == "finished"
    assert curve(run) == curve(unbroken)
    assert run.file.perplexity == unbroken.file.perplexity
    assert noted(run) == [str(run.adapter)]


def test_what_comes_after_training_can_be_interrupted_and_is_done_without_training_again(
    make: Make, tmp_path: Path
) -> None:
    class Ending(Watching):
        def say(self, text: str) -> None:
            if text.startswith("perplexity") and "base" in text:
                os.kill(os.getpid(), signal.SIGINT)

    # In the middle of an epoch: trl would go on with it.
    with pytest.raises(FinetuneError, match="Interrupted at step 10"):
        lora.train(make(run="x", max_steps=10), root=tmp_path, watch=Ending())
    run = Run.open(tmp_path / "x")
    log = run.log.read_bytes()
    run = lora.go_on(run)
    assert run.log.read_bytes() == log
    assert (run.file.state, run.file.steps) == ("finished", 10)
    assert run.file.perplexity["tuned"].high < run.file.perplexity["base"].low


def test_without_memory_a_line_says_what_to_try_and_the_run_goes_on_with_smaller_batches(
    make: Make, tmp_path: Path
) -> None:
    import torch

    watch = Watching(5, lambda: torch.empty(1 << 60))
    with pytest.raises(FinetuneError) as caught:
        lora.train(make(run="x"), root=tmp_path, watch=watch)
    assert str(caught.value) == (
        "There is not enough memory. Go on with --resume and --batch-size 2 or --gradient-checkpointing; or begin "
        "anew with --max-length 1024 or --qlora."
    )
    run = Run.open(tmp_path / "x")
    assert (run.file.state, run.file.error) == ("failed", str(caught.value))
    run = lora.go_on(run, batch_size=2, gradient_checkpointing=True)
    assert (run.file.state, run.file.steps, run.file.error) == ("finished", 12, "")
    assert (run.file.arguments["batch_size"], run.file.arguments["accumulation"]) == (2, 2)


def test_what_is_part_of_a_run_cannot_be_changed_when_it_goes_on(make: Make, unbroken: Run, small_set: Path) -> None:
    run = Run.open(unbroken.folder)
    with pytest.raises(FinetuneError, match="is finished"):
        lora.go_on(run)
    run.file.state = "interrupted"
    with pytest.raises(FinetuneError, match="--rank is part of the run"):
        lora.go_on(run, rank=4)
    with pytest.raises(FinetuneError, match="A step has 4 examples"):
        lora.go_on(run, batch_size=3)
    run.file.arguments = make().asdict()
    (small_set / "manifest.json").write_text((small_set / "manifest.json").read_text() + "\n")
    with pytest.raises(FinetuneError, match="is not what pirates-lora was begun with"):
        lora.go_on(run)


def test_a_run_that_could_not_begin_leaves_no_folder(make: Make, tmp_path: Path) -> None:
    with pytest.raises(FinetuneError, match=r"--targets q_prod cannot be trained; the base has down_proj, .*v_proj"):
        lora.train(make(run="x", targets=("q_prod",)), root=tmp_path)
    assert not (tmp_path / "x").exists()
    lora.train(make(run="x", max_steps=1), root=tmp_path)
    with pytest.raises(FinetuneError, match="There is a run x"):
        lora.train(make(run="x"), root=tmp_path)


def test_it_ends_early_when_validation_gets_no_better(make: Make, tmp_path: Path) -> None:
    run = lora.train(make(learning_rate=1.0, save_steps=1, patience=1, schedule="constant"), root=tmp_path)
    found = [loss for _, _, loss in curve(run) if loss is not None]
    assert len(found) < 12
    assert found.index(min(found)) == len(found) - 2
    assert math.log(run.file.perplexity["tuned"].mean) == pytest.approx(min(found), rel=0.01)  # not the last one


def test_a_loss_that_is_no_number_ends_it_in_a_line(make: Make, tmp_path: Path) -> None:
    with pytest.raises(FinetuneError, match="lower --learning-rate"):
        lora.train(make(learning_rate=1e30, schedule="constant", warmup=0.0), root=tmp_path)


def test_without_a_validation_split_there_is_no_comparison_and_no_early_end(
    make: Make, tmp_path: Path, tiny_base: Path
) -> None:
    folder = training_set.write(tmp_path / "bare", {"train": [training_set.talk(n) for n in range(8)]})
    options = LoraOptions(dataset=str(folder), base=str(tiny_base), max_steps=2, batch_size=4, accumulation=1)
    run = lora.train(options, root=tmp_path)
    assert (run.file.state, run.file.perplexity, run.file.loss.keys()) == ("finished", {}, {"train"})
    with pytest.raises(FinetuneError, match="--patience needs examples to validate with"):
        lora.train(LoraOptions(dataset=str(folder), base=str(tiny_base), patience=1, run="y"), root=tmp_path)
    with pytest.raises(FinetuneError, match="--patience needs examples to validate with"):
        lora.train(make(patience=1, validation_examples=0, run="y"), root=tmp_path)


def test_a_run_that_ended_before_its_first_step_has_no_loss(make: Make, tmp_path: Path) -> None:
    class Ending(Watching):
        def say(self, text: str) -> None:
            if text.startswith("time"):
                os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(FinetuneError) as caught:
        lora.train(make(run="x"), root=tmp_path / "with blanks", watch=Ending())
    assert str(caught.value).endswith(f"--resume x --runs '{tmp_path}/with blanks'")
    file = Run.open(tmp_path / "with blanks" / "x").file
    assert (file.state, file.steps, file.loss) == ("interrupted", 0, {})


def test_a_line_that_cannot_be_written_is_named(tmp_path: Path, tiny_base: Path) -> None:
    broken = {"messages": [{"role": "user", "content": [5]}, {"role": "assistant", "content": "x"}]}
    for number, wrong in enumerate((broken, {"messages": [{"content": "x"}, *broken["messages"][1:]]})):
        folder = training_set.write(tmp_path / f"broken-{number}", {"train": [training_set.talk(1), wrong]})
        with pytest.raises(FinetuneError, match=r"train\.jsonl:2: the chat template cannot write this conversation: "):
            lora.estimate(LoraOptions(dataset=str(folder), base=str(tiny_base)))


def test_a_dataset_with_nothing_in_it_is_said(tmp_path: Path, tiny_base: Path) -> None:
    folder = training_set.write(tmp_path / "empty", {"train": []})
    with pytest.raises(FinetuneError, match=r"There is nothing to train on in .*: train.jsonl is empty"):
        lora.train(LoraOptions(dataset=str(folder), base=str(tiny_base)), root=tmp_path)


def test_a_dry_run_tells_the_plan_and_leaves_nothing(make: Make, small_set: Path) -> None:
    before = sorted(small_set.parent.rglob("*"))
    plan = lora.estimate(make(max_steps=0, epochs=2, accumulation=2))
    assert (plan.examples, plan.validation_examples, plan.steps, plan.step_examples) == (24, 8, 6, 8)
    assert (plan.epochs, plan.rows, plan.answers_by) == (2, 24, "prefixes")
    assert plan.learnt_tokens < plan.tokens
    assert plan.memory_bytes > plan.weights_bytes
    # What is kept for the adapters' inputs, which are their own once some of them are dropped.
    assert lora.estimate(make(max_steps=0, epochs=2, accumulation=2, dropout=0.0)).memory_bytes < plan.memory_bytes
    assert plan.seconds > 0
    assert sorted(small_set.parent.rglob("*")) == before
