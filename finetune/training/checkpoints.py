"""Checkpoints that a killed run can be gone on with.

A checkpoint is a folder of several files; it counts once it bears a mark, which is written last. What a run that was
killed left half written is swept away. A run whose training is over says so, and with which checkpoint: what comes
after it (perplexity, merging) may be interrupted too.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, Final

from transformers import TrainerCallback

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


def set_over(folder: Path, checkpoint: Path) -> None:
    """Training is over, and this is what came of it."""
    (folder / OVER).write_text(checkpoint.name)


class Marking(TrainerCallback):  # type: ignore[misc]  # transformers is not typed for us
    """Marks each checkpoint when all of it is written."""

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.is_world_process_zero:
            (Path(args.output_dir) / f"checkpoint-{state.global_step}" / MARK).touch()
