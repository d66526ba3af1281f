"""Fine-tuning at OpenAI, or at anybody with its API: from a dataset's files to the name of a model, as a story.

    penstock finetune openai support-v1 --model gpt-4.1-nano-2025-04-14

    plan      check the files, count tokens, ask for the price and whether the model will live; nothing is sent
    begin     a run's folder, in which all that happens is kept
    go_on     upload ▸ create ▸ follow ▸ read the results ▸ name the model ▸ delete the files, whichever is not done

`go_on` may be killed anywhere and called again: what was done is not done twice (`hosting.once`). Everything that goes
wrong is one line, and leaves a run that can be gone on with.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

from .dataset import Dataset
from .errors import FinetuneError
from .hosting import asking, eligibility, finishing, results
from .hosting.checking import EXAMPLE_TOKENS_MAX, EXAMPLES_MIN, Checked, Count, check
from .hosting.following import NO_MODEL, OVER, follow, look
from .hosting.once import once
from .hosting.options import HostedOptions, create, existing, unchanged
from .hosting.pace import Shown
from .hosting.pricing import Price, Rate, price
from .hosting.provider import Provider
from .hosting.state import Job, Role, State
from .run import Run

__all__ = ["HostedOptions", "Plan", "begin", "delete_files", "existing", "go_on", "plan", "watch"]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What would be done."""

    options: HostedOptions
    files: dict[Role, Checked]
    price: Price
    objection: str
    """Why it has no point, and what to do instead; "" when it has."""


def plan(
    options: HostedOptions, provider: Provider, shown: Shown, *, count: Count, rate: Rate | None, today: date
) -> Plan:
    """Look at everything before anything is sent. `today` is a date in UTC.

    Raises `FinetuneError`: a file breaks OpenAI's rules, or the provider does not answer.
    """
    dataset = Dataset.open(options.dataset)
    dpo = options.objective == "dpo"
    paths: dict[Role, Path] = {"training": dataset.path("train", preferences=dpo)}
    validation = dataset.path("validation", preferences=dpo)
    if options.validation and validation.is_file() and validation.stat().st_size:
        paths["validation"] = validation
    if not paths["training"].is_file():
        what = "preferences" if dpo else "conversations"
        raise FinetuneError(f"{options.dataset} has no {what} to train on: {paths['training'].name} is not there.")
    tokens_max = EXAMPLE_TOKENS_MAX if eligibility.is_openai(options.model, provider.host) else None
    files: dict[Role, Checked] = {}
    for role, path in paths.items():
        dataset.verify(path)
        files[role] = check(
            path,
            options.objective,
            count,
            examples_min=EXAMPLES_MIN if role == "training" else 1,
            tokens_max=tokens_max,
            shown=lambda done, total: shown.progress("checking", done, total),
        )
    why = eligibility.objection(options.model, provider.models(), today, provider.host)
    return Plan(
        options=options,
        files=files,
        price=price(files["training"].tokens, options.n_epochs, rate),
        objection=f"{why} {eligibility.alternative(dataset.name)}" if why else "",
    )


def begin(wanted: Plan, runs: Path, provider: Provider, *, api_key: str, at: datetime) -> Run:
    """The run, with nothing sent yet. `api_key`: the place that it comes from. Raises `FinetuneError`."""
    return create(wanted.options, wanted.files, wanted.price, runs, provider.base_url, api_key, at)


def go_on(
    run: Run,
    provider: Provider,
    shown: Shown,
    *,
    api_key: str = "",
    again: bool = False,
    detach: bool = False,
    delete: bool = False,
) -> Run:
    """Do what is not done, to the end, and return the run as it then is.

    `api_key`: the place that the key comes from, where it is another one than before. `again`: make another job after
    one that failed or was cancelled. `detach`: leave when there is a job. `delete`: remove the uploaded files when the
    model is there. Raises `FinetuneError`, and the run can be gone on with.
    """
    with run.held():
        run.file, state = Run.open(run.folder).file, State.open(run.folder)
        hosted = state.hosted
        hosted.base_url, hosted.api_key = provider.base_url, api_key or hosted.api_key
        hosted.delete_files = hosted.delete_files or delete
        if run.file.state != "finished":
            run.file.state = "running"
            run.save()
        with _told(run, state):
            if again and hosted.job.status in NO_MODEL:
                hosted.ended_jobs.append(hosted.job.id)
                hosted.job = Job(attempt=hosted.job.attempt + 1)
                run.log.unlink(missing_ok=True)
            for role in hosted.files if not hosted.job.id else ():
                _upload(state, role, provider, shown)
            _create(run, state, provider, shown)
            if not (detach and hosted.job.status not in OVER):
                _to_the_end(run, state, provider, shown)
    return run


def ended_without_model(run: Run) -> bool:
    """Whether `again` makes another job, which costs as the first one did."""
    return State.open(run.folder).hosted.job.status in NO_MODEL


def watch(run: Run, provider: Provider, shown: Shown, *, api_key: str = "") -> Run:
    """Follow a job that there is. Raises `FinetuneError`: there is none, or as `go_on` does."""
    job_of(run)
    return go_on(run, provider, shown, api_key=api_key)


def job_of(run: Run) -> Job:
    """The run's job. Raises `FinetuneError` when there is none yet."""
    job = State.open(run.folder).hosted.job
    if not job.id:
        raise FinetuneError(f"The run {run.name} has no job yet. Go on with the command that began it.")
    return job


def delete_files(run: Run, provider: Provider) -> int:
    """Remove what was uploaded; how many there were. Raises `FinetuneError`, also while they are needed."""
    with run.held():
        state = State.open(run.folder)
        job = state.hosted.job
        if job.id and job.status not in OVER and provider.job(job.id).status not in OVER:
            raise FinetuneError(f"{job.id} is not over and needs its files. First: penstock finetune cancel {run.name}")
        if job.asked and not job.id:
            raise FinetuneError("There may be a job that needs them. Go on with the command that began the run.")
        return _delete(state, provider)


def refresh(run: Run, provider: Provider, shown: Shown) -> State:
    """What is known of the run now. Where another process follows the job, that one keeps what is new."""
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(run.held())
        except FinetuneError:
            state = State.open(run.folder)
            if state.hosted.job.id:
                state.hosted.job.status = provider.job(state.hosted.job.id).status
            return state
        state = State.open(run.folder)
        job = state.hosted.job
        if job.id and job.status not in OVER:
            look(state, results.Log(run.log), provider, shown)
            run.file = Run.open(run.folder).file
            if job.status in NO_MODEL:
                _note_end(run, job)
        return state


def _upload(state: State, role: Role, provider: Provider, shown: Shown) -> None:
    upload = state.hosted.files[role]
    if upload.id and not upload.deleted:
        return
    upload.id, upload.deleted = "", False
    unchanged(upload)
    shown.say(f"Sending the {role} file, {upload.bytes:,} bytes.")
    once(
        upload,
        provider,
        find=lambda: provider.find_file(upload.name, upload.bytes),
        make=lambda: provider.upload(Path(upload.path), upload.name),
        save=state.save,
    )


def _create(run: Run, state: State, provider: Provider, shown: Shown) -> None:
    hosted, job = state.hosted, state.hosted.job
    files = {role: upload.id for role, upload in hosted.files.items()}
    told = {asking.METADATA_RUN: run.name, asking.METADATA_KEY: f"{hosted.key}-{job.attempt}"}
    asked = asking.body(run.file.arguments, run.file.objective, files["training"], files.get("validation", ""), told)
    if not job.id:
        once(
            job,
            provider,
            find=lambda: provider.find_job(files["training"], told, hosted.ended_jobs),
            make=lambda: asking.create(provider, asked, shown.say).id,
            save=state.save,
        )
        shown.say(f"The job is {job.id}.")


def _to_the_end(run: Run, state: State, provider: Provider, shown: Shown) -> None:
    hosted, job = state.hosted, state.hosted.job
    log = results.Log(run.log)
    if not job.results_read and job.status not in NO_MODEL:
        follow(state, log, provider, shown)
    if job.status in NO_MODEL:
        _ended(run, state)
    if not job.fine_tuned_model:
        raise FinetuneError(f"{job.id} succeeded, but the provider does not say what the model is called. Look again.")
    if not job.results_read:
        finishing.read_results(state, log, provider, shown)
    finishing.note(run, state, log)
    finishing.draw(run, shown)
    if hosted.delete_files:
        shown.say(f"{_delete(state, provider)} uploaded files deleted.")
    finishing.note_trained(run, run.file.model)


def _ended(run: Run, state: State) -> None:
    """A job ended that made no model: keep and say it. Raises `FinetuneError`."""
    job = state.hosted.job
    _note_end(run, job)
    how = f"failed: {job.error}" if job.status == "failed" else "was cancelled."
    raise FinetuneError(f"{job.id} {how} Another one with the same files: the same command with --again")


def _note_end(run: Run, job: Job) -> None:
    run.file.state = "failed" if job.status == "failed" else "cancelled"
    run.file.ended = job.ended()
    run.file.error = job.error
    run.save()
    if job.steps:  # The provider has checkpoints of it, which have learnt what the model would have.
        finishing.note_trained(run, job.id)


def _delete(state: State, provider: Provider) -> int:
    count = 0
    for upload in state.hosted.files.values():
        if upload.asked and not upload.id and (found := provider.find_file(upload.name, upload.bytes)):
            upload.id, upload.asked = found, 0.0
        if upload.id and not upload.deleted:
            provider.delete(upload.id)
            upload.deleted = True
            state.save()
            count += 1
    return count


@contextlib.contextmanager
def _told(run: Run, state: State) -> Iterator[None]:
    """Whatever ends the work, the run says so, and what was asked is kept."""
    try:
        yield
    except BaseException as error:
        if run.file.state == "running":
            run.file.state = "interrupted"
        run.file.error = str(error) if isinstance(error, FinetuneError) else type(error).__name__
        raise
    finally:
        state.save()
        run.save()
