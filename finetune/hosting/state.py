"""`hosted.json`: what was asked of the provider and what it answered, written before and after every step.

What is asked is noted before it is sent, so that whoever goes on after a kill knows that it may have been done and
looks for it there before asking again. The API key is in it as the place it comes from, never itself.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

import msgspec

from ..errors import FinetuneError

STATE: Final = "hosted.json"
VERSION: Final = 1

Role = Literal["training", "validation"]


class Asked(msgspec.Struct, kw_only=True):
    """Something that is made there once."""

    id: str = ""
    """The provider's; "" means not known yet."""
    asked: float = 0.0
    """When it was asked for or the answer was lost, in Unix seconds, and no answer is known; 0: it was not."""


class Upload(Asked, kw_only=True):
    """A file of the dataset."""

    path: str
    """Absolute, here."""
    name: str
    """There: unique to the run and to its content."""
    sha256: str
    bytes: int
    deleted: bool = False


class Job(Asked, kw_only=True):
    """One try at training."""

    attempt: int = 1
    status: str = ""
    created: float = 0.0
    finished: float = 0.0
    estimated_finish: float = 0.0
    steps: int = 0
    """Done, as far as events say."""
    steps_total: int = 0
    trained_tokens: int = 0
    fine_tuned_model: str = ""
    result_files: list[str] = []
    seed: int | None = None
    last_event: str = ""
    error: str = ""
    results_read: bool = False

    def ended(self) -> str:
        """When, in ISO 8601; now where the provider does not say."""
        when = datetime.fromtimestamp(self.finished, UTC) if self.finished else datetime.now(UTC)
        return when.isoformat(timespec="seconds")


class Hosted(msgspec.Struct, kw_only=True):
    """The file."""

    version: int = VERSION
    base_url: str
    api_key: str = ""
    """`env:NAME` or `file:PATH`; "" for OPENAI_API_KEY."""
    key: str
    """Random, in the names of what the run makes there: by it they are found again."""
    model: str
    files: dict[Role, Upload]
    job: Job = msgspec.field(default_factory=Job)
    ended_jobs: list[str] = []
    """Of attempts before this one."""
    usd: float | None = None
    """What it was expected to cost; None: nobody knew."""
    epochs: int = 0
    """What it was expected to take; 0 where the provider chooses."""
    delete_files: bool = False
    """Wanted as soon as the model is there."""


class State:
    """The file in a run's folder, and what is in it."""

    def __init__(self, folder: Path, hosted: Hosted) -> None:
        self.folder = folder
        self.hosted = hosted

    @classmethod
    def open(cls, folder: Path) -> State:
        """Raises `FinetuneError` when there is none or it cannot be read."""
        path = folder / STATE
        try:
            return cls(folder, msgspec.json.decode(path.read_bytes(), type=Hosted))
        except (FileNotFoundError, NotADirectoryError) as error:
            raise FinetuneError(f"{folder} is no run at a provider: it has no {STATE}.") from error
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            raise FinetuneError(f"{path} cannot be read: {error}.") from error

    def save(self) -> None:
        """Whole and on disk, or as it was before. Raises `FinetuneError` when it cannot be written."""
        path, aside = self.folder / STATE, self.folder / f".{STATE}.{os.getpid()}"
        try:
            with aside.open("wb") as file:
                file.write(msgspec.json.format(msgspec.json.encode(self.hosted), indent=2) + b"\n")
                file.flush()
                os.fsync(file.fileno())
            aside.replace(path)
        except OSError as error:
            aside.unlink(missing_ok=True)
            raise FinetuneError(f"{path} cannot be written: {error.strerror}.") from error
