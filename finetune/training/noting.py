"""How a run ends, whatever ends it, in its `run.json`."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import FinetuneError
from ..run import RUNS, Run, State
from . import checkpoints
from .failing import Exhausted
from .interrupting import Interruption
from .machine import Machine
from .tracking import totals


@contextmanager
def noted(run: Run, machine: Machine, *, new: bool) -> Iterator[Interruption]:
    """Whatever ends it is in `run.json`. A new run of which nothing can be gone on with is taken away again."""
    interruption = Interruption(machine)
    on = f"penstock finetune lora --resume {run.name}" + _elsewhere(run)
    try:
        with interruption.heard():
            yield interruption
    except KeyboardInterrupt as error:
        last = checkpoints.newest(run.checkpoints)
        _ended(run, machine, "interrupted", "")
        at = f"at step {checkpoints.step_of(last)}" if last else "before its first checkpoint"
        raise FinetuneError(f"Interrupted {at}. Go on: {on}") from error
    except Exception as error:
        told = " ".join(str(error).split()) if isinstance(error, FinetuneError) else type(error).__name__
        nothing = not isinstance(error, Exhausted) and checkpoints.newest(run.checkpoints) is None
        if new and nothing and machine.main:
            shutil.rmtree(run.folder, ignore_errors=True)
        else:
            _ended(run, machine, "failed", told)
        raise


def _ended(run: Run, machine: Machine, state: State, error: str) -> None:
    if machine.main:
        run.file.state, run.file.error = state, error
        run.file.steps, run.file.loss = totals(run.log)
        run.save()


def _elsewhere(run: Run) -> str:
    return "" if run.folder.parent == RUNS else f" --runs {shlex.quote(str(run.folder.parent))}"
