"""What a run notes of its way: `log.jsonl` always, TensorBoard and Weights & Biases when they are asked for."""

from __future__ import annotations

import importlib.util
import math
import netrc
import os
import time
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
from transformers import TrainerCallback

from ..errors import FinetuneError

NOTED: Final = ("loss", "eval_loss", "learning_rate", "grad_norm", "mean_token_accuracy")


class Log(TrainerCallback):  # type: ignore[misc]  # transformers is not typed for us
    """Appends a line for each step that is logged and each validation: `step`, `epoch`, `at_s` since the run began, and
    whichever of `NOTED` there are. Raises `FinetuneError` when the loss is no number any more."""

    def __init__(self, path: Path, began_s: float, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._began_s = began_s
        self._clock = clock

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        logs = logs or {}
        noted: dict[str, float] = {name: float(logs[name]) for name in NOTED if name in logs}
        if not noted.keys() & {"loss", "eval_loss"}:  # the summary at the end
            return
        if not all(math.isfinite(noted.get(name, 0.0)) for name in ("loss", "eval_loss")):
            raise FinetuneError(
                f"The loss is no number any more at step {state.global_step}. Begin a new run with a lower "
                "--learning-rate."
            )
        if not state.is_world_process_zero:
            return
        line = {"step": state.global_step, "epoch": round(state.epoch or 0.0, 6), **noted}
        line["at_s"] = round(self._clock() - self._began_s, 3)
        with self._path.open("ab") as file:
            file.write(msgspec.json.encode(line) + b"\n")


def cut_log(path: Path, step: int) -> None:
    """Leave out of it what comes after `step`: it will come once more."""
    if not path.exists():
        return
    kept = []
    for line in path.read_bytes().splitlines(keepends=True):
        try:
            if line.endswith(b"\n") and msgspec.json.decode(line)["step"] <= step:
                kept.append(line)
        except (msgspec.DecodeError, KeyError, TypeError):
            continue  # half written when the run was killed
    aside = path.with_suffix(".cut")
    aside.write_bytes(b"".join(kept))
    aside.replace(path)


class EarlyStopping(TrainerCallback):  # type: ignore[misc]  # transformers is not typed for us
    """Ends training when the last `patience` validations were not better than the best before them.

    It reads the history that checkpoints carry, so that a run that is gone on with ends where it would have ended.
    """

    def __init__(self, patience: int) -> None:
        self._patience = patience

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if spent(state.log_history, self._patience):
            control.should_training_stop = True


def spent(history: Sequence[Mapping[str, Any]], patience: int) -> bool:
    """Whether the last `patience` validations were not better than the best before them."""
    losses = [entry["eval_loss"] for entry in history if "eval_loss" in entry]
    return bool(losses) and len(losses) - 1 - losses.index(min(losses)) >= patience


def report_to(
    trackers: Sequence[str], *, name: str, folder: Path, environment: MutableMapping[str, str] = os.environ
) -> list[str]:
    """What transformers calls them; where they write is said by the environment, as far as nobody said it before.

    Weights & Biases writes into the run's folder alone (`wandb sync` sends it) when there is no key for it.
    Raises `FinetuneError` when one is not installed.
    """
    wanted = [tracker for tracker in trackers if tracker != "jsonl"]
    for tracker in wanted:
        if importlib.util.find_spec(tracker) is None:
            raise FinetuneError(f"--track {tracker}: pip install {tracker}")
    if "tensorboard" in wanted:
        environment["TENSORBOARD_LOGGING_DIR"] = str(folder / "tensorboard")
    if "wandb" in wanted:
        environment["WANDB_DIR"] = str(folder)
        environment["WANDB_NAME"] = environment["WANDB_RUN_ID"] = name
        environment["WANDB_RESUME"] = "allow"
        environment.setdefault("WANDB_PROJECT", "penstock")
        environment.setdefault("WANDB_SILENT", "true")
        if not environment.get("WANDB_API_KEY") and not _logged_in():
            environment.setdefault("WANDB_MODE", "offline")
    return wanted


def _logged_in() -> bool:
    try:
        return netrc.netrc().authenticators("api.wandb.ai") is not None
    except (OSError, netrc.NetrcParseError):
        return False


def totals(path: Path) -> tuple[int, dict[str, float]]:
    """Steps that were done, the last `train` loss and the best `validation` loss, by the log; what there is of them."""
    steps, losses = 0, dict[str, float]()
    for line in path.read_bytes().splitlines() if path.exists() else ():
        try:
            found = msgspec.json.decode(line)
        except msgspec.DecodeError:
            continue  # half written when the run was killed
        steps = max(steps, found["step"])
        if "loss" in found:
            losses["train"] = found["loss"]
        if "eval_loss" in found:
            losses["validation"] = min(found["eval_loss"], losses.get("validation", math.inf))
    return steps, losses
