"""`penstock finetune openai`, and what can be done with a run at a provider: watch, status, cancel and others."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import typer

from .dataset_run import ROOT, NameArgument, RootOption, folder_of
from .failure import CommandFailed
from .finetune_hosted_options import (
    AgainOption,
    BaseUrlOption,
    BatchSizeOption,
    BetaOption,
    DeleteOption,
    DetachOption,
    DpoOption,
    DryRunOption,
    EntityOption,
    EpochsOption,
    ForceOption,
    KeyOption,
    MaxUsdOption,
    ModelOption,
    NewRunOption,
    NoValidationOption,
    PriceOption,
    ProjectOption,
    RateOption,
    SeedOption,
    SuffixOption,
    WandbNameOption,
    YesOption,
)
from .finetune_hosted_provider import asked_at, counter_of, rate_of
from .finetune_run import RUNS, RunArgument, RunsOption, told
from .options import ConfigOption, DataDirOption, JsonOption, print_json, stdout_console

if TYPE_CHECKING:
    from finetune.hosted import Plan
    from finetune.run import Run


def openai(
    name: NameArgument,
    model: ModelOption,
    run: NewRunOption = "",
    dpo: DpoOption = False,
    epochs: EpochsOption = None,
    batch_size: BatchSizeOption = None,
    learning_rate_multiplier: RateOption = None,
    beta: BetaOption = None,
    suffix: SuffixOption = "",
    seed: SeedOption = None,
    no_validation: NoValidationOption = False,
    wandb_project: ProjectOption = "",
    wandb_entity: EntityOption = "",
    wandb_name: WandbNameOption = "",
    base_url: BaseUrlOption = "",
    api_key: KeyOption = "",
    price: PriceOption = None,
    max_usd: MaxUsdOption = None,
    yes: YesOption = False,
    force: ForceOption = False,
    dry_run: DryRunOption = False,
    again: AgainOption = False,
    detach: DetachOption = False,
    delete_files: DeleteOption = False,
    root: RootOption = ROOT,
    runs: RunsOption = RUNS,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train at OpenAI, or at a provider with its API, and follow the job to the new model's name.

    What it will cost is shown first. The same command again goes on where it was; nothing is sent or begun twice.
    """
    folder = folder_of(name, root)
    with told():
        from finetune import hosted

        from .finetune_hosted_view import shown_on_stderr

        options = hosted.HostedOptions(
            dataset=folder,
            model=model,
            run=run,
            objective="dpo" if dpo else "sft",
            n_epochs=epochs,
            batch_size=batch_size,
            learning_rate_multiplier=learning_rate_multiplier,
            beta=beta,
            suffix=suffix,
            seed=seed,
            validation=not no_validation,
            wandb_project=wandb_project,
            wandb_entity=wandb_entity,
            wandb_name=wandb_name,
        )
        found = None if dry_run else hosted.existing(options, runs)
        with asked_at(found, base_url, api_key) as provider:
            if found is None or (again and hosted.ended_without_model(found)):
                with shown_on_stderr() as shown:
                    rate = rate_of(model, provider.host, price)
                    count = counter_of(config, data_dir, model)
                    now = datetime.now(UTC)
                    wanted = hosted.plan(options, provider, shown, count=count, rate=rate, today=now.date())
                if dry_run:
                    _print_plan(wanted, as_json=as_json)
                    return
                _agree(wanted, max_usd=max_usd, force=force, yes=yes)
                found = found or hosted.begin(wanted, runs, provider, api_key=api_key, at=now)
            with _kept(found), shown_on_stderr(provider) as shown:
                hosted.go_on(found, provider, shown, api_key=api_key, again=again, detach=detach, delete=delete_files)
    _print_run(found, as_json=as_json)


def watch(
    name: RunArgument,
    runs: RunsOption = RUNS,
    base_url: BaseUrlOption = "",
    api_key: KeyOption = "",
    as_json: JsonOption = False,
) -> None:
    """Follow the job of a run to its end, and fetch its results."""
    with told():
        from finetune import hosted

        from .finetune_hosted_view import shown_on_stderr

        run = _run(name, runs)
        with asked_at(run, base_url, api_key) as provider, _kept(run), shown_on_stderr(provider) as shown:
            hosted.watch(run, provider, shown, api_key=api_key)
    _print_run(run, as_json=as_json)


def status(
    name: RunArgument,
    runs: RunsOption = RUNS,
    base_url: BaseUrlOption = "",
    api_key: KeyOption = "",
    as_json: JsonOption = False,
) -> None:
    """Ask once how far the job of a run is."""
    with told():
        from finetune import hosted
        from finetune.hosting.pace import Silent

        from .finetune_hosted_view import document, print_status

        run = _run(name, runs)
        with asked_at(run, base_url, api_key) as provider:
            state = hosted.refresh(run, provider, Silent())
    if as_json:
        print_json(document(run, state))
    else:
        print_status(stdout_console(), run, state)


def checkpoints(
    name: RunArgument,
    runs: RunsOption = RUNS,
    base_url: BaseUrlOption = "",
    api_key: KeyOption = "",
    as_json: JsonOption = False,
) -> None:
    """List the models that the job kept on its way, each of which can be asked."""
    with told():
        from finetune import hosted

        from .finetune_hosted_view import checkpoint_documents, print_checkpoints

        run = _run(name, runs)
        with asked_at(run, base_url, api_key) as provider:
            found = checkpoint_documents(provider.checkpoints(hosted.job_of(run).id))
    if as_json:
        print_json(found)
    else:
        print_checkpoints(stdout_console(), found)


def cancel(name: RunArgument, runs: RunsOption = RUNS, base_url: BaseUrlOption = "", api_key: KeyOption = "") -> None:
    """Give the job up. What was trained is paid for; checkpoints stay."""
    _change(name, runs, base_url, api_key, "cancel")


def pause(name: RunArgument, runs: RunsOption = RUNS, base_url: BaseUrlOption = "", api_key: KeyOption = "") -> None:
    """Have the provider hold the job."""
    _change(name, runs, base_url, api_key, "pause")


def resume(name: RunArgument, runs: RunsOption = RUNS, base_url: BaseUrlOption = "", api_key: KeyOption = "") -> None:
    """Have the provider go on with a job that was held."""
    _change(name, runs, base_url, api_key, "resume")


def delete_files(
    name: RunArgument, runs: RunsOption = RUNS, base_url: BaseUrlOption = "", api_key: KeyOption = ""
) -> None:
    """Remove what was uploaded from the provider. The model stays."""
    with told():
        from finetune import hosted

        run = _run(name, runs)
        with asked_at(run, base_url, api_key) as provider:
            count = hosted.delete_files(run, provider)
    typer.echo(f"{count} {'file' if count == 1 else 'files'} deleted.")


def _change(name: str, runs: Path, base_url: str, api_key: str, what: Literal["cancel", "pause", "resume"]) -> None:
    with told():
        from finetune import hosted
        from finetune.hosting.pace import Silent

        run = _run(name, runs)
        job = hosted.job_of(run)
        with asked_at(run, base_url, api_key) as provider:
            change = {"cancel": provider.cancel, "pause": provider.pause, "resume": provider.resume}[what]
            change(job.id)
            state = hosted.refresh(run, provider, Silent())
    typer.echo(f"{job.id} is {state.hosted.job.status}.")


def _run(name: str, runs: Path) -> Run:
    from finetune.run import Run, folder_of

    return Run.open(folder_of(name, runs))


def _agree(wanted: Plan, *, max_usd: float | None, force: bool, yes: bool) -> None:
    """Say what it will cost, and ask. Raises `CommandFailed`, `typer.Abort`."""
    from finetune.hosting.pricing import said

    cost, model = wanted.price, wanted.options.model
    typer.echo(f"{wanted.files['training'].examples:,} examples, {said(cost, model)}", err=True)
    if wanted.objection and not force:
        raise CommandFailed(wanted.objection)
    if max_usd is not None and (cost.usd is None or cost.usd > max_usd):
        if cost.usd is None:
            raise CommandFailed("--max-usd cannot be held: the price is not known. Say it: --price USD_PER_MILLION")
        raise CommandFailed(f"About ${cost.usd:.2f} is more than --max-usd {max_usd:g}.")
    if not yes:
        typer.confirm("Train?", abort=True, err=True)


@contextlib.contextmanager
def _kept(run: Run) -> Iterator[None]:
    """Ctrl-C leaves the job at the provider; say how to come back."""
    try:
        yield
    except KeyboardInterrupt:
        raise CommandFailed(
            f"A job that there is goes on. The same command comes back to the run {run.name}."
        ) from None


def _print_plan(wanted: Plan, *, as_json: bool) -> None:
    from .finetune_hosted_view import plan_document, print_plan

    if as_json:
        print_json(plan_document(wanted))
    else:
        print_plan(stdout_console(), wanted)


def _print_run(run: Run, *, as_json: bool) -> None:
    from finetune.hosting.state import State

    from .finetune_hosted_view import document, print_run

    state = State.open(run.folder)
    if as_json:
        print_json(document(run, state))
    else:
        print_run(stdout_console(), run, state)
