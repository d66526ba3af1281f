"""What a training at a provider is asked for, and the run that it becomes."""

from __future__ import annotations

import dataclasses
import hashlib
import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from ..dataset import Dataset
from ..errors import FinetuneError
from ..run import RUN, Objective, Run, RunFile, Trained, check_name, git_commit, installed
from .checking import Checked
from .pricing import Price
from .state import STATE, Hosted, Role, State, Upload

SUFFIX_MAX: Final = 64
SEED_MAX: Final = 2**31 - 1
_unfit = re.compile(r"[^A-Za-z0-9._-]+").sub


@dataclass(frozen=True, kw_only=True)
class HostedOptions:
    """Every choice there is; None leaves it to the provider. Raises `FinetuneError` for what makes no sense."""

    dataset: Path
    model: str
    run: str = ""
    """The run's name; "" makes one of dataset and model."""
    objective: Objective = "sft"
    n_epochs: int | None = None
    batch_size: int | None = None
    learning_rate_multiplier: float | None = None
    beta: float | None = None
    """Of DPO."""
    suffix: str = ""
    seed: int | None = None
    validation: bool = True
    """Send the validation split, where there is one."""
    wandb_project: str = ""
    wandb_entity: str = ""
    wandb_name: str = ""

    def __post_init__(self) -> None:
        if not self.model:
            raise FinetuneError("Which model? Such as --model gpt-4.1-nano-2025-04-14.")
        if self.beta is not None and self.objective != "dpo":
            raise FinetuneError("--beta is of direct preference optimization: add --dpo, or leave it out.")
        if len(self.suffix) > SUFFIX_MAX:
            raise FinetuneError(f"--suffix has {len(self.suffix)} characters, and {SUFFIX_MAX} are the most.")
        if self.seed is not None and not 0 <= self.seed <= SEED_MAX:
            raise FinetuneError(f"--seed takes 0 to {SEED_MAX}.")
        if not self.wandb_project and (self.wandb_entity or self.wandb_name):
            raise FinetuneError("--wandb-entity and --wandb-name need --wandb-project.")

    def arguments(self) -> dict[str, Any]:
        """As `run.json` keeps them: what the job depends on."""
        found = dataclasses.asdict(self)
        return found | {"dataset": str(self.dataset.absolute())}


def name_of(options: HostedOptions, dataset: Dataset) -> str:
    """Of the run. Raises `FinetuneError`: it is none, and might lead out of the folder of runs."""
    name = options.run or _unfit("-", f"{dataset.name}-{options.model}").strip("-.")[:100]
    check_name(name)
    return name


def existing(options: HostedOptions, runs: Path) -> Run | None:
    """The run that a command like this one began; None when there is none.

    Raises `FinetuneError` when there is one of its name that is about something else.
    """
    dataset = Dataset.open(options.dataset)
    folder = runs / name_of(options, dataset)
    if (folder / RUN).exists():
        run = Run.open(folder)
        if run.file.method != "hosted":
            raise FinetuneError(f"The run {run.name} is no training at a provider. Take another name: --run")
        with run.held():
            if (folder / STATE).exists():
                return _same(run, options, dataset)
            (folder / RUN).unlink()  # Killed before anything could be sent: it has not begun.
    _sweep(folder)
    if folder.exists():
        raise FinetuneError(f"{folder} is there and is no run. Take another name: --run")
    return None


def _same(run: Run, options: HostedOptions, dataset: Dataset) -> Run:
    """The run, when it is of the same choices. Raises `FinetuneError`."""
    before, now = run.file.arguments, options.arguments() | {"run": run.name}
    changed = [name for name, value in now.items() if name != "dataset" and before.get(name) != value]
    if changed:
        raise FinetuneError(f"The run {run.name} was begun with another {changed[0]}. Take another name: --run")
    if run.file.dataset.sha256 != dataset.sha256:
        raise FinetuneError(f"The dataset was changed since the run {run.name} began. Take another name: --run")
    return run


def create(
    options: HostedOptions,
    files: dict[Role, Checked],
    price: Price,
    runs: Path,
    base_url: str,
    api_key: str,
    at: datetime,
) -> Run:
    """The run's folder, with all that is known before anything is sent. Raises `FinetuneError`.

    `api_key`: the place that the key comes from.
    """
    dataset = Dataset.open(options.dataset)
    write = dataset.manifest.options.write
    splits = {"training": "train", "validation": "validation"}
    file = RunFile(
        name=name_of(options, dataset),
        method="hosted",
        objective=options.objective,
        dataset=Trained(
            name=dataset.name,
            folder=str(dataset.folder.absolute()),
            sha256=dataset.sha256,
            examples={splits[role]: checked.examples for role, checked in files.items()},
        ),
        base=options.model,
        arguments=options.arguments() | {"run": name_of(options, dataset)},
        seed=options.seed or 0,
        git_commit=git_commit(Path.cwd()),
        versions=installed(["penstock", "openai"]),
        began=at.astimezone(UTC).isoformat(timespec="seconds"),
        prune=write.prune,
        prune_user=write.prune_user,
    )
    run = Run.create(runs, file)
    with run.held():
        State(run.folder, state_of(run, files, price, base_url, api_key)).save()
    return run


def state_of(run: Run, files: dict[Role, Checked], price: Price, base_url: str, api_key: str) -> Hosted:
    """What is to be done, none of it begun."""
    key = secrets.token_hex(6)

    def upload(role: Role, checked: Checked) -> Upload:
        name = f"penstock-{run.name}-{key}-{role}-{checked.sha256[:16]}.jsonl"
        return Upload(path=checked.path, name=name, sha256=checked.sha256, bytes=checked.bytes)

    return Hosted(
        base_url=base_url,
        api_key=api_key,
        key=key,
        model=run.file.base,
        files={role: upload(role, checked) for role, checked in files.items()},
        usd=price.usd,
        epochs=price.epochs,
    )


def unchanged(upload: Upload) -> None:
    """Raises `FinetuneError` when the file here is not the one that was looked at."""
    try:
        with open(upload.path, "rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise FinetuneError(f"{upload.path} cannot be read: {error.strerror}.") from error
    if found != upload.sha256:
        raise FinetuneError(f"{upload.path} was changed since the run began. Begin another: --run NAME")


def _sweep(folder: Path) -> None:
    """Remove what a run left that was killed while its folder was made; nothing that has a `run.json`."""
    if not folder.is_dir() or (folder / RUN).exists():
        return
    for left in (*folder.glob(f".{RUN}.*"), *folder.glob(f".{STATE}.*"), folder / ".lock"):
        left.unlink(missing_ok=True)
    if not any(folder.iterdir()):
        folder.rmdir()
