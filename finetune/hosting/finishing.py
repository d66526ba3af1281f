"""What is done when the model is there: its losses are fetched, and who it is is noted. Each may be done again."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from ..dataset import MANIFEST, Dataset
from ..errors import FinetuneError
from ..run import Run
from . import results
from .pace import Shown
from .provider import Provider, Refused
from .state import State


def read_results(state: State, log: results.Log, provider: Provider, shown: Shown) -> None:
    """Result files know every step; events may have left some out."""
    job = state.hosted.job
    for file_id in job.result_files:
        try:
            lines = results.of_file(provider.content(file_id))
        except (results.Unreadable, Refused) as error:
            shown.say(f"The result file {file_id} cannot be read ({error}); the loss is drawn from the job's events.")
            continue
        log.add(lines, epochs=state.hosted.epochs or 1, total=job.steps_total)
    job.steps = max([job.steps, *(line["step"] for line in log.lines)])
    job.results_read = True
    state.save()


def note(run: Run, state: State, log: results.Log) -> None:
    """Who the model is, and how it learnt."""
    job, file = state.hosted.job, run.file
    found = {"train": log.last("loss"), "validation": log.least("eval_loss")}
    file.loss = {name: value for name, value in found.items() if value is not None}
    file.steps, file.model, file.error = job.steps, job.fine_tuned_model, ""
    file.ended, file.seed = job.ended(), file.seed if job.seed is None else job.seed
    file.state = "finished"
    run.save()


def draw(run: Run, shown: Shown) -> None:
    """The loss as a picture, and the model card."""
    try:
        from ..card import write_card
        from ..curves import draw as draw_curve
        from ..curves import read_log

        write_card(run)
        draw_curve(read_log(run.log), run.plot, f"{run.name}: loss")
    except ModuleNotFoundError as error:
        shown.say(f"{error.name} is not installed, so the loss is not drawn: pip install 'penstock[train]'")


def note_trained(run: Run, adapter: str) -> None:
    """Who has learnt of the dataset, in the dataset: `adapter` is the model, or a job that ended on its way to one.

    Raises `FinetuneError`: it cannot be written there.
    """
    file = run.file
    folder = Path(file.dataset.folder)
    if not (folder / MANIFEST).is_file():
        return  # Datasets may be gone by then, and who was in them with them.
    try:
        at = datetime.fromisoformat(file.ended)
        Dataset.open(folder).note_trained(run=run.name, base=file.base, adapter=adapter, at=at)
    except FinetuneError as error:
        raise FinetuneError(f"{adapter} is there, but not noted in its dataset: {error}") from error
