"""`penstock finetune openai`, and what can be done with a run at a provider: watch, status, cancel and others."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import typer

from .dataset_run import ROOT, NameArgument, RootOption, folder_of
from .failure import CommandFailed
from .finetune_run import RUNS, RunArgument, RunsOption, told
from .options import ConfigOption, DataDirOption, JsonOption, config_path, print_json, stdout_console

if TYPE_CHECKING:
    from finetune.hosted import Plan
    from finetune.hosting.pricing import Rate
    from finetune.hosting.provider import Provider
    from finetune.run import Run

OPENAI: Final = "https://api.openai.com/v1"

ModelOption = Annotated[str, typer.Option("--model", help="The model to train, as the provider calls it.")]
NewRunOption = Annotated[str, typer.Option("--run", help="The name of the run.", show_default="NAME-MODEL")]
DpoOption = Annotated[bool, typer.Option("--dpo", help="Train on the dataset's preference pairs.")]
EpochsOption = Annotated[int | None, typer.Option("--epochs", min=1, max=50, help="The provider chooses if not said.")]
BatchSizeOption = Annotated[int | None, typer.Option("--batch-size", min=1, max=256, help="Likewise.")]
RateOption = Annotated[
    float | None, typer.Option("--learning-rate-multiplier", min=0.0001, max=10_000, help="Likewise.")
]
BetaOption = Annotated[float | None, typer.Option("--beta", min=0, max=2, help="Of --dpo: likewise.")]
SuffixOption = Annotated[str, typer.Option("--suffix", help="Becomes part of the model's name.")]
SeedOption = Annotated[int | None, typer.Option("--seed", min=0, help="The provider makes one if not said.")]
NoValidationOption = Annotated[bool, typer.Option("--no-validation", help="Do not send the validation split.")]
ProjectOption = Annotated[str, typer.Option("--wandb-project", help="Have the provider tell Weights & Biases.")]
EntityOption = Annotated[str, typer.Option("--wandb-entity", help="Whose project it is there.")]
WandbNameOption = Annotated[str, typer.Option("--wandb-name", help="What the run is called there.")]
BaseUrlOption = Annotated[
    str, typer.Option("--base-url", help="Any API like OpenAI's.", show_default="OPENAI_BASE_URL, else OpenAI")
]
KeyOption = Annotated[
    str, typer.Option("--api-key", help="As env:NAME or file:PATH.", show_default="env:OPENAI_API_KEY")
]
PriceOption = Annotated[float | None, typer.Option("--price", min=0, help="USD per million tokens of training.")]
MaxUsdOption = Annotated[float | None, typer.Option("--max-usd", min=0, help="Refuse what is expected to cost more.")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
ForceOption = Annotated[bool, typer.Option("--force", help="Train a model that will soon be gone, or is not known.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Check and say the price; send nothing.")]
AgainOption = Annotated[bool, typer.Option("--again", help="Another job after one that failed or was cancelled.")]
DetachOption = Annotated[bool, typer.Option("--detach", help="Leave when there is a job.")]
DeleteOption = Annotated[
    bool, typer.Option("--delete-files", help="Remove the uploaded files when the model is there.")
]


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
        with _provider(found, base_url, api_key) as provider:
            if found is None or again:
                with shown_on_stderr() as shown:
                    rate = _rate(model, provider.host, price)
                    count = _counter(config, data_dir, model)
                    now = datetime.now(UTC)
                    wanted = hosted.plan(options, provider, shown, count=count, rate=rate, today=now.date())
                if dry_run:
                    _print_plan(wanted, as_json=as_json)
                    return
                _agree(wanted, max_usd=max_usd, force=force, yes=yes)
                found = found or hosted.begin(wanted, runs, provider, api_key=api_key, at=now)
            with _kept(found), shown_on_stderr(provider) as shown:
                hosted.go_on(found, provider, shown, again=again, detach=detach, delete=delete_files)
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
        with _provider(run, base_url, api_key) as provider, _kept(run), shown_on_stderr(provider) as shown:
            hosted.watch(run, provider, shown)
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
        with _provider(run, base_url, api_key) as provider:
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
        with _provider(run, base_url, api_key) as provider:
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
        with _provider(run, base_url, api_key) as provider:
            count = hosted.delete_files(run, provider)
    typer.echo(f"{count} {'file' if count == 1 else 'files'} deleted.")


def _change(name: str, runs: Path, base_url: str, api_key: str, what: Literal["cancel", "pause", "resume"]) -> None:
    with told():
        from finetune import hosted
        from finetune.hosting.pace import Silent

        run = _run(name, runs)
        job = hosted.job_of(run)
        with _provider(run, base_url, api_key) as provider:
            change = {"cancel": provider.cancel, "pause": provider.pause, "resume": provider.resume}[what]
            change(job.id)
            state = hosted.refresh(run, provider, Silent())
    typer.echo(f"{job.id} is {state.hosted.job.status}.")


def _run(name: str, runs: Path) -> Run:
    from finetune.run import Run, folder_of

    return Run.open(folder_of(name, runs))


@contextlib.contextmanager
def _provider(run: Run | None, base_url: str, api_key: str) -> Iterator[Provider]:
    """Where a run is, unless somebody says otherwise. Raises `CommandFailed`: there is no key."""
    from finetune.hosting.pace import Pace
    from finetune.hosting.provider import Provider
    from finetune.hosting.state import State

    before = State.open(run.folder).hosted if run is not None else None
    address = base_url or (before.base_url if before else "") or os.environ.get("OPENAI_BASE_URL", "") or OPENAI
    key = _key(api_key or (before.api_key if before else ""), address)
    provider = Provider(address, key, Pace(), note=lambda line: typer.echo(line, err=True))
    try:
        yield provider
    finally:
        provider.close()


def _key(reference: str, address: str) -> str:
    """A proxy that has upstream keys of its own needs none. Raises `CommandFailed`."""
    from ..credentials import SecretMissing, resolve_secret

    if not reference and not os.environ.get("OPENAI_API_KEY") and address != OPENAI:
        return "none"
    try:
        return resolve_secret(reference or "env:OPENAI_API_KEY", os.environ)
    except SecretMissing as error:
        raise CommandFailed(f"--api-key: {error}") from error


def _rate(model: str, host: str, said: float | None) -> Rate | None:
    """What a million tokens cost there; None where nobody knows."""
    from exporters.datasets.training_prices import PRICES
    from finetune.hosting.eligibility import base_of, is_openai
    from finetune.hosting.pricing import Rate

    if said is not None:
        return Rate(usd_a_million=said, as_of="")
    known = (one for one in PRICES if one.provider == "OpenAI" and one.model == base_of(model))
    listed = next(known, None) if is_openai(model, host) else None
    return None if listed is None else Rate(usd_a_million=listed.usd_a_million, as_of=listed.as_of)


def _counter(config: Path | None, data_dir: str | None, model: str) -> Any:
    import functools

    from ..metering.tokenizer import Tokenizer
    from .store import settings_of

    settings = settings_of(config_path(config), data_dir)
    return functools.partial(Tokenizer(Path(settings.server.data_dir, "tokenizer")).count, model)


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
        raise CommandFailed(f"A job that began goes on there. Look again: penstock finetune watch {run.name}") from None


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
