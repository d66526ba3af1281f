"""A training run as a folder: what it was made with, how far it is, what came of it.

`run.json` is written anew, whole or not at all, whenever something changes, so that a killed run can be gone on with
and a finished one made again: arguments, the dataset's hash, the commit, versions and seed are all in it.
"""

from __future__ import annotations

import fcntl
import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from .errors import FinetuneError

RUNS: Final = Path("penstock-runs")
"""Where runs are unless somebody says otherwise."""
RUN: Final = "run.json"
VERSION: Final = 1

State = Literal["running", "interrupted", "finished", "failed", "cancelled"]
Method = Literal["lora", "qlora", "hosted"]
Objective = Literal["sft", "dpo"]

_names = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}").fullmatch


class Interval(msgspec.Struct, kw_only=True):
    """A mean with what it may be: a percentile bootstrap over examples, 95 %."""

    mean: float
    low: float
    high: float
    n: int
    """Examples."""


class Trained(msgspec.Struct, kw_only=True):
    """The dataset of a run, as it was then."""

    name: str
    folder: str
    """Absolute."""
    sha256: str
    """Of its manifest."""
    examples: dict[str, int] = {}
    """By split."""


class RunFile(msgspec.Struct, kw_only=True):
    """`run.json`. Times are ISO 8601 in UTC; "" means not yet."""

    version: int = VERSION
    name: str
    method: Method
    objective: Objective = "sft"
    state: State = "running"
    dataset: Trained
    base: str
    """Folder, file or name of the model that it began with."""
    arguments: dict[str, Any]
    """Every argument of the command, defaults included: the same ones make the same run."""
    seed: int = 0
    device: str = ""
    dtype: str = ""
    parameters: int = 0
    trainable_parameters: int = 0
    git_commit: str = ""
    versions: dict[str, str] = {}
    began: str = ""
    ended: str = ""
    steps: int = 0
    """Of the optimizer, done."""
    tokens_per_second: float = 0.0
    memory_bytes_peak: int = 0
    loss: dict[str, float] = {}
    """The last `train` and the best `validation` loss."""
    perplexity: dict[str, Interval] = {}
    """Of `base` and `tuned`, on the validation split."""
    prune: tuple[str, ...] = ()
    """Texts that instructions of the training data began with and that are cut off: serving may cut the same."""
    prune_user: tuple[str, ...] = ()
    """Likewise of the user's turn."""
    model: str = ""
    """What to ask a provider for, when one trained it."""
    error: str = ""
    """Why it failed, one line."""


class Run:
    """A run's folder and the names of what is in it."""

    def __init__(self, folder: Path, file: RunFile) -> None:
        self.folder = folder
        self.file = file

    @property
    def name(self) -> str:
        return self.file.name

    @property
    def log(self) -> Path:
        """A line for each step that was logged: `step`, `epoch`, `loss`, `eval_loss`, `learning_rate`, ...; whichever
        there were. What the loss is drawn from."""
        return self.folder / "log.jsonl"

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints"

    @property
    def adapter(self) -> Path:
        """The adapter as peft saves it, with the tokenizer beside it."""
        return self.folder / "adapter"

    @property
    def merged(self) -> Path:
        """Base and adapter in one, as transformers saves it."""
        return self.folder / "merged"

    @property
    def gguf_adapter(self) -> Path:
        return self.folder / "adapter.gguf"

    @property
    def plot(self) -> Path:
        return self.folder / "loss.png"

    @property
    def card(self) -> Path:
        return self.folder / "README.md"

    @property
    def evaluation(self) -> Path:
        """What `penstock evaluate --run` found: promotion looks at it."""
        return self.folder / "evaluation.json"

    @classmethod
    def create(cls, root: Path, file: RunFile) -> Run:
        """A new folder below `root`. Raises `FinetuneError`: the name is taken or none, or it cannot be written."""
        check_name(file.name)
        folder = root / file.name
        try:
            folder.mkdir(parents=True)
        except FileExistsError as error:
            raise FinetuneError(
                f"There is a run {file.name} in {root}. Take another name, or go on with --resume."
            ) from error
        except OSError as error:
            raise FinetuneError(f"{folder} cannot be made: {error.strerror}.") from error
        run = cls(folder, file)
        try:
            run.save()
        except FinetuneError:
            folder.rmdir()  # else the name were taken by a run that is none
            raise
        return run

    @classmethod
    def open(cls, folder: Path) -> Run:
        """Raises `FinetuneError` when there is none or it cannot be read."""
        try:
            return cls(folder, msgspec.json.decode((folder / RUN).read_bytes(), type=RunFile))
        except (FileNotFoundError, NotADirectoryError) as error:
            raise FinetuneError(
                f"{folder} is no run: it has no {RUN}. Those that are there: penstock finetune runs"
            ) from error
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            raise FinetuneError(f"{folder / RUN} cannot be read: {error}.") from error

    def save(self) -> None:
        """Raises `FinetuneError` when it cannot be written; what was there before is there still."""
        path, aside = self.folder / RUN, self.folder / f".{RUN}.{os.getpid()}"
        try:
            aside.write_bytes(msgspec.json.format(msgspec.json.encode(self.file), indent=2) + b"\n")
            aside.replace(path)
        except OSError as error:
            aside.unlink(missing_ok=True)
            raise FinetuneError(f"{path} cannot be written: {error.strerror}.") from error

    @contextmanager
    def held(self) -> Iterator[None]:
        """Nobody else works on this run meanwhile. Ends with the process.

        Raises `FinetuneError` when somebody does, or when the folder is not to be written.
        """
        path = self.folder / ".lock"
        try:
            opened = path.open("ab")
        except OSError as error:
            raise FinetuneError(f"{path} cannot be written: {error.strerror}.") from error
        with opened as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise FinetuneError(f"Another process works on the run {self.name}. Wait for it, or end it.") from error
            yield


def check_name(name: str) -> None:
    """Raises `FinetuneError` when no run can be called so."""
    if not _names(name):
        raise FinetuneError(f"{name!r} is no name of a run: letters, digits, dots, dashes, at most 100.")


def runs(root: Path) -> list[Run]:
    """All runs below `root`, by name; folders without a readable `run.json` are none."""
    found = []
    for path in sorted(root.glob(f"*/{RUN}")):
        try:
            found.append(Run.open(path.parent))
        except FinetuneError:
            continue
    return found


def folder_of(name: str, root: Path) -> Path:
    """That of the run `name` in `root`, or the folder that `name` is the path of. Raises `FinetuneError`."""
    for folder in (root / name, Path(name)):
        if (folder / RUN).is_file():
            return folder
    raise FinetuneError(f"There is no run {name} in {root}. Those that are there: penstock finetune runs")


def installed(packages: Sequence[str]) -> dict[str, str]:
    """The version of each that is installed."""
    found = {}
    for package in packages:
        try:
            found[package] = version_of(package)
        except PackageNotFoundError:
            continue
    return found


def git_commit(folder: Path) -> str:
    """Of the work tree that `folder` is in, with `-dirty` when it is changed; "" where there is none."""
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return found.stdout.strip() if found.returncode == 0 else ""
