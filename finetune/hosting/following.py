"""Follow a job until it is over: its state, its events, its progress. All of it can be asked for again."""

from __future__ import annotations

from typing import Final

from openai.types.fine_tuning import FineTuningJob, FineTuningJobEvent

from ..errors import FinetuneError
from . import results
from .pace import Shown
from .provider import Provider
from .replies import one_line
from .state import Hosted, State

OVER: Final = frozenset({"succeeded", "failed", "cancelled"})
NO_MODEL: Final = frozenset({"failed", "cancelled"})
_SLOWER: Final = 1.3
_YEAR_10000: Final = 253_402_300_800.0


def follow(state: State, log: results.Log, provider: Provider, shown: Shown) -> None:
    """Until the job is over and what it made is known. Raises `FinetuneError`: it takes too long, or nobody answers.

    The file is saved whenever something changes.
    """
    job = state.hosted.job
    wait_s, began, over_since, paused = provider.pace.poll_s, provider.clock(), 0.0, False
    while True:
        changed = look(state, log, provider, shown)
        now = provider.clock()
        if job.status == "paused" and not paused:  # Also when it was so before: nothing happens until somebody acts.
            shown.say(f"It is paused, and goes on with: penstock finetune resume {state.folder.name}")
        paused = job.status == "paused"
        if job.status in OVER:
            over_since = over_since or now
            if _is_complete(state.hosted) or now - over_since >= provider.pace.settle_s:
                return
        elif now - began >= provider.pace.watch_max_s:
            raise FinetuneError(f"{job.id} is {job.status} and is not waited for any longer. It goes on by itself.")
        wait_s = provider.pace.poll_s if changed else min(wait_s * _SLOWER, provider.pace.poll_max_s)
        provider.sleep(wait_s)


def look(state: State, log: results.Log, provider: Provider, shown: Shown) -> bool:
    """Once: what is new is said, logged and saved. Returns whether there was anything."""
    job = state.hosted.job
    found = provider.job(job.id)
    events = provider.events(job.id, job.last_event)
    changed = _take_job(state.hosted, found, shown)
    lines = []
    for event in events:
        line, total = results.of_event(event.message, event.data)
        job.steps_total = total or job.steps_total
        if line:
            job.steps = max(job.steps, line["step"])
            at = _moment(event.created_at)
            lines.append(line | ({"at_s": round(max(0.0, at - job.created), 3)} if at and job.created else {}))
        elif event.level != "info" or event.type == "message" or event.type is None:
            shown.say(_said(event))
    log.add(lines, epochs=state.hosted.epochs or 1, total=job.steps_total)
    if events:
        job.last_event = events[-1].id
    if changed or events:
        state.save()
    loss = log.last("loss")
    note = job.status if loss is None else f"{job.status}, loss {loss:.4f}"
    shown.progress("training", job.steps, job.steps_total or None, note)
    return changed or bool(events)


def _take_job(hosted: Hosted, found: FineTuningJob, shown: Shown) -> bool:
    """What the provider says of the job; whether it is news."""
    job = hosted.job
    before = (job.status, job.fine_tuned_model, len(job.result_files), job.trained_tokens, job.estimated_finish)
    if found.status != job.status:
        shown.say(f"{job.id} is {one_line(found.status)}.")
    job.status = found.status
    job.created = _moment(found.created_at)
    job.finished = _moment(found.finished_at)
    job.estimated_finish = _moment(found.estimated_finish)
    job.seed = _whole(found.seed)
    job.trained_tokens = _whole(found.trained_tokens) or 0
    job.fine_tuned_model = found.fine_tuned_model if isinstance(found.fine_tuned_model, str) else ""
    files = found.result_files if isinstance(found.result_files, list) else []
    job.result_files = [one for one in files if isinstance(one, str)]
    if found.status == "failed":
        told = [getattr(found.error, name, None) for name in ("message", "code")]
        job.error = one_line(next(filter(None, told), "")) or "the provider does not say why"
    hosted.epochs = _epochs(found) or hosted.epochs
    after = (job.status, job.fine_tuned_model, len(job.result_files), job.trained_tokens, job.estimated_finish)
    return after != before


def _moment(value: object) -> float:
    """Unix seconds; 0 where it is no time. The SDK passes on what a provider says, whatever it is."""
    found = results.number(value) or 0.0
    return found if 0.0 < found < _YEAR_10000 else 0.0


def _whole(value: object) -> int | None:
    """A number that the state can keep; None where it is none."""
    return value if type(value) is int and 0 <= value < 2**63 else None


def _epochs(found: FineTuningJob) -> int:
    """0 while the provider has not chosen."""
    method = found.method
    holders = [getattr(method, name, None) for name in ("supervised", "dpo")]
    told = [found.hyperparameters, *(getattr(holder, "hyperparameters", None) for holder in holders)]
    numbers = (_whole(getattr(one, "n_epochs", None)) for one in told)
    return next((number for number in numbers if number), 0)


def _is_complete(hosted: Hosted) -> bool:
    """Some providers name the model or the results a moment after they say that it succeeded."""
    return hosted.job.status != "succeeded" or bool(hosted.job.fine_tuned_model and hosted.job.result_files)


def _said(event: FineTuningJobEvent) -> str:
    return one_line(event.message) if event.level == "info" else f"{event.level}: {one_line(event.message)}"
