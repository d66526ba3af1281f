"""Checkpoints that a killed run can be gone on with.

A checkpoint is a folder of several files; it counts once it bears a mark, which is written last. What a run that was
killed left half written is swept away. A run whose training is over says so, and with which checkpoint: what comes
after it (perplexity, merging) may be interrupted too.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, Final

from transformers import TrainerCallback, TrainerState

from .tracking import spent

MARK: Final = "whole"
OVER: Final = "over"


def step_of(checkpoint: Path) -> int:
    return int(checkpoint.name.rpartition("-")[2])


def newest(folder: Path) -> Path | None:
    """The last whole one."""
    whole = [path.parent for path in folder.glob(f"checkpoint-*/{MARK}")]
    return max(whole, key=step_of, default=None)


def sweep(folder: Path) -> None:
    """Remove those that are not whole."""
    for path in folder.glob("checkpoint-*"):
        if not (path / MARK).exists():
            shutil.rmtree(path, ignore_errors=True)


def over(folder: Path) -> Path | None:
    """The checkpoint whose adapter is the run's, once training is over."""
    try:
        path = folder / (folder / OVER).read_text()
    except FileNotFoundError:
        return None
    return path if (path / MARK).exists() else None


def ended(checkpoint: Path, steps: int, patience: int) -> bool:
    """Whether training was over with it: all steps were done, or `patience` was spent, if there is any."""
    state = _state(checkpoint)
    return state.global_step >= steps or bool(patience and spent(state.log_history, patience))


def best_by(checkpoint: Path) -> Path:
    """The one with the best validation loss as far as `checkpoint` goes; itself where nothing was validated."""
    named = _state(checkpoint).best_model_checkpoint
    best = checkpoint.with_name(Path(named).name) if named else checkpoint  # the run may have been moved
    return best if (best / MARK).exists() else checkpoint


def _state(checkpoint: Path) -> TrainerState:
    return TrainerState.load_from_json(str(checkpoint / "trainer_state.json"))


def set_over(folder: Path, checkpoint: Path) -> None:
    """Training is over, and this is what came of it."""
    (folder / OVER).write_text(checkpoint.name)


class Marking(TrainerCallback):  # type: ignore[misc]  # transformers is not typed for us
    """Marks each checkpoint when all of it is written."""

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.is_world_process_zero:
            (Path(args.output_dir) / f"checkpoint-{state.global_step}" / MARK).touch()
