"""`penstock finetune lora` as a process: killed in the middle, signalled, started twice at once, as many as there are
devices."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import tiny_llama, training_set
from tests.e2e.standing import Standing

ROOT = Path(__file__).resolve().parents[3]
READY_WITHIN_S = 100.0
STEPS = 20


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A folder with a model and a dataset."""
    tiny_llama.build(tmp_path / "base")
    training_set.small(tmp_path / "penstock-datasets" / "pirates")
    return tmp_path


@pytest.fixture
def started(here: Path) -> Iterator[Any]:
    """Starts the command; what still runs at the end is killed."""
    processes: list[subprocess.Popen[str]] = []

    def start(*words: str, launcher: tuple[str, ...] = ("-m", "proxy"), **environment: str) -> subprocess.Popen[str]:
        processes.append(
            subprocess.Popen(
                [sys.executable, *launcher, "finetune", "lora", *words],
                cwd=here,
                env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **environment},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
        )
        return processes[-1]

    yield start
    for process in processes:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=30)


def begun(**changed: Any) -> tuple[str, ...]:
    options = {
        "base": "base",
        "max-steps": STEPS,
        "batch-size": 4,
        "accumulation": 1,
        "learning-rate": 0.01,
        "save-steps": 5,
        **changed,
    }
    return ("pirates", *(word for name, value in options.items() for word in (f"--{name}", str(value))))


def curve(run: Path) -> list[tuple[int, float | None, float | None]]:
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [(line["step"], line.get("loss"), line.get("eval_loss")) for line in lines]


@pytest.mark.timeout(400)
def test_a_run_that_is_killed_in_the_middle_goes_on_to_the_same_curve(here: Path, started: Any) -> None:
    standing = Standing(here, "log.jsonl", 8)
    killed = started(*begun(run="killed"), launcher=standing.program)
    standing.wait(killed)
    killed.send_signal(signal.SIGKILL)
    killed.communicate(timeout=30)
    file = json.loads((here / "penstock-runs" / "killed" / "run.json").read_text())
    assert file["state"] == "running"  # it had no time to say otherwise

    again = started("--resume", "killed", "--json")
    out, err = again.communicate(timeout=READY_WITHIN_S)
    assert again.returncode == 0, err
    found = json.loads(out)
    assert (found["state"], found["steps"]) == ("finished", STEPS)

    import torch

    from finetune import lora
    from finetune.training.options import LoraOptions

    torch.set_num_threads(1)
    options = LoraOptions.of({**found["arguments"], "run": "unbroken"})
    unbroken = lora.train(options, root=here / "penstock-runs")
    assert curve(here / "penstock-runs" / "killed") == curve(unbroken.folder)


@pytest.mark.timeout(300)
def test_a_signal_ends_it_with_a_checkpoint_and_the_command_to_go_on(here: Path, started: Any) -> None:
    standing = Standing(here, "log.jsonl", 3)
    process = started(*begun(run="told"), launcher=standing.program)
    standing.wait(process)
    process.send_signal(signal.SIGINT)
    standing.go_on()
    _, err = process.communicate(timeout=READY_WITHIN_S)
    assert process.returncode == 1
    last = err.strip().splitlines()[-1]
    assert last.startswith("penstock: Interrupted at step ")
    assert last.endswith("Go on: penstock finetune lora --resume told")


@pytest.mark.timeout(300)
def test_two_processes_train_one_adapter_and_one_of_them_writes(here: Path, started: Any) -> None:
    # What `accelerate launch --multi_gpu` runs, which does not do so for CPUs.
    launcher = ("-m", "torch.distributed.run", "--nproc_per_node", "2", "--standalone", "-m", "proxy")
    process = started(*begun(**{"max-steps": 6, "batch-size": 2, "device": "cpu"}), launcher=launcher)
    _, err = process.communicate(timeout=200)
    assert process.returncode == 0, err
    run = here / "penstock-runs" / "pirates-lora"
    file = json.loads((run / "run.json").read_text())
    assert (file["state"], file["device"][:3]) == ("finished", "2 ×")
    assert [step for step, loss, _ in curve(run) if loss is not None] == [1, 2, 3, 4, 5, 6]
    assert err.count("6 of 4 examples") == 1
    assert len((here / "penstock-datasets" / "pirates" / "trained.jsonl").read_text().splitlines()) == 1


@pytest.mark.timeout(200)
@pytest.mark.parametrize(
    ("key", "said"), [("short", "API key"), ("a" * 40, "WANDB_MODE=offline")], ids=["wrong key", "no network"]
)
def test_a_tracker_that_cannot_be_reached_is_said_in_a_line(here: Path, started: Any, key: str, said: str) -> None:
    process = started(
        *begun(track="wandb"), WANDB_API_KEY=key, WANDB_BASE_URL="http://127.0.0.1:9", WANDB_INIT_TIMEOUT="1"
    )
    _, err = process.communicate(timeout=READY_WITHIN_S)
    last = err.strip().splitlines()[-1]
    assert last.startswith("penstock: Weights & Biases: "), err
    assert said in last
    assert key not in last
    assert not (here / "penstock-runs" / "pirates-lora").exists()
