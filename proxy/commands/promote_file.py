"""The configuration that a promotion changes, its journal, and the proxy that has it in use."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

from ..configuration import problems, read_text, understand
from ..data_dir import Serving, is_served_by, serving
from ..settings import OPENAI
from .failure import CommandFailed

RELOADED_WITHIN_S: Final = 120.0
_LOOK_S: Final = 0.1


class Refusal(NamedTuple):
    """Why a proxy does not use a new configuration; "" when it does. `undo`: it was read and refused."""

    why: str = ""
    undo: bool = False


class Proxy:
    """A running `penstock serve` that reads the configuration."""

    def __init__(self, data_dir: Path, note: Serving) -> None:
        self._data_dir = data_dir
        self._note = note

    def reload(
        self, since: float, *, sleep: Callable[[float], None] = time.sleep, within_s: float = RELOADED_WITHIN_S
    ) -> Refusal:
        """Have it load the file, and wait until it has. `since`: Unix time, seconds, after which the file was read."""
        try:
            os.kill(self._note.pid, signal.SIGHUP)
        except OSError as error:
            return Refusal(
                f"the process {self._note.pid} cannot be told to load it ({error.strerror}): send it SIGHUP."
            )
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            note = serving(self._data_dir)
            if note is None:
                return Refusal("Penstock ended meanwhile. It is used from the next start on.")
            if note.loaded >= since:
                return Refusal()
            if note.refused >= since:
                return Refusal(note.refusal, undo=True)
            sleep(_LOOK_S)
        return Refusal(f"Penstock has not loaded it within {within_s:g} s. Its log says why.")


class Configuration:
    """One file and its text. What is written to it is whole or not at all."""

    def __init__(self, path: Path, text: str) -> None:
        self.path = path
        self.text = text

    @classmethod
    def at(cls, path: Path | None) -> Self:
        """Raises `CommandFailed` and `ConfigurationError`."""
        if path is None:
            raise CommandFailed(
                "There is no configuration to change: write a penstock.toml (it may be empty), start Penstock with it, "
                "or name another with --config."
            )
        path = path.resolve()  # a link stays one
        return cls(path, read_text(path))

    @property
    def journal(self) -> Path:
        """What was promoted by changing this file."""
        return self.path.with_name(f"{self.path.name}.promotions.jsonl")

    def default_upstreams(self) -> list[dict[str, Any]]:
        """Those of a file that names none."""
        return [{"name": OPENAI.name, "base_url": OPENAI.base_url}]

    def check(self, made: str) -> None:
        """Raises `ConfigurationError` when the new text is no configuration."""
        understand(made, str(self.path))

    def warnings(self, made: str) -> list[str]:
        """What is odd about the new text and was not about the old. Raises `ConfigurationError` when it is wrong."""
        found = problems(understand(made, str(self.path)))
        try:
            known = problems(understand(self.text, str(self.path)))
        except Exception:  # noqa: BLE001 - whatever is wrong with the old one, the new one is right
            known = []
        return [line for line in found if line not in known]

    @contextmanager
    def journal_held(self) -> Iterator[None]:
        """Nobody else promotes meanwhile. Raises `CommandFailed` when somebody does."""
        try:
            file = self.journal.open("ab")
        except OSError as error:
            raise CommandFailed(f"{self.journal} cannot be written: {error.strerror}.") from error
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise CommandFailed(f"Another promotion is changing {self.path}. Wait for it.") from error
            yield

    def put(self, text: str, *, over: str) -> None:
        """Raises `CommandFailed`, also when the file does not say `over` any more; then it is as it was."""
        if read_text(self.path) != over:
            raise CommandFailed(
                f"Somebody else changed {self.path} meanwhile, so it was left alone: look, and try again."
            )
        aside = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        try:
            aside.write_text(text, encoding="utf-8", newline="")
            shutil.copymode(self.path, aside)
            if os.geteuid() == 0:  # who serves may be somebody else, and has to read it
                owner = self.path.stat()
                os.chown(aside, owner.st_uid, owner.st_gid)
            aside.replace(self.path)
        except OSError as error:
            aside.unlink(missing_ok=True)
            raise CommandFailed(f"{self.path} cannot be written: {error.strerror}.") from error

    def proxy(self, data_dir: str | None, text: str) -> Proxy | None:
        """The one that serves from the data directory, which `text` names unless it is given; None when nobody does.

        Raises `CommandFailed` when it reads another file, or is no process of this machine.
        """
        folder = Path(data_dir or understand(text, str(self.path)).server.data_dir)
        note = serving(folder)
        if note is None:
            return None
        if not note.configuration or Path(note.configuration).resolve() != self.path:
            reads = note.configuration or "no file"
            raise CommandFailed(
                f"The Penstock that serves from {folder} reads {reads}, not {self.path}: name the one it reads with "
                "--config, or change this one with --no-reload."
            )
        if not is_served_by(folder, note.pid):
            raise CommandFailed(
                f"The Penstock that serves from {folder} is not a process that can be seen here. Run this where it "
                "runs, or say --no-reload and send it SIGHUP."
            )
        return Proxy(folder, note)
