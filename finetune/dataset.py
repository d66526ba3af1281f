"""A dataset as trainers see it: a folder with `manifest.json`, JSONL in OpenAI's formats, and `trained.jsonl`.

Read with open eyes: a file that is not the one the manifest names, or a line that is no example, is said with its
place, because what a model learns of it cannot be taken back.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal, TypeVar

import msgspec

from .errors import FinetuneError

MANIFEST: Final = "manifest.json"
TRAINED: Final = "trained.jsonl"
"""A line for each run that learnt of it: `run`, `base`, `adapter`, `at`. The only file that trainers write."""

Split = Literal["train", "validation", "test"]
SPLITS: Final[tuple[Split, ...]] = ("train", "validation", "test")
Message = dict[str, Any]
"""Of OpenAI's chat format; an assistant's may have `weight` 0: it is read, not learnt."""
INSTRUCTIONS: Final = frozenset({"system", "developer"})
"""Roles of messages that say how to answer."""


class Conversation(msgspec.Struct, kw_only=True):
    """A line of `train.jsonl` and its like. The last message is the assistant's."""

    messages: list[Message]
    tools: list[dict[str, Any]] = []
    parallel_tool_calls: bool | None = None


class Asked(msgspec.Struct, kw_only=True):
    """What both answers of a preference answer."""

    messages: list[Message]
    tools: list[dict[str, Any]] = []
    parallel_tool_calls: bool | None = None


class Preference(msgspec.Struct, kw_only=True):
    """A line of `preferences.train.jsonl` and its like."""

    input: Asked
    preferred_output: list[Message]
    non_preferred_output: list[Message]


class SplitCounts(msgspec.Struct, kw_only=True):
    examples: int = 0
    preferences: int = 0
    tokens: int = 0


class File(msgspec.Struct, kw_only=True):
    path: str
    sha256: str
    lines: int = 0


class Write(msgspec.Struct, kw_only=True):
    mask: Literal["last", "assistant", "all"] = "assistant"
    prune: tuple[str, ...] = ()
    prune_user: tuple[str, ...] = ()


class Options(msgspec.Struct, kw_only=True):
    write: Write = msgspec.field(default_factory=Write)


class Manifest(msgspec.Struct, kw_only=True):
    """The part of `manifest.json` that training depends on."""

    name: str
    splits: dict[str, SplitCounts]
    files: list[File]
    options: Options = msgspec.field(default_factory=Options)
    labels: dict[str, int] = {}
    models: dict[str, int] = {}


_Line = TypeVar("_Line", bound=msgspec.Struct)


class Dataset:
    """One folder. `sha256` is that of its manifest, which names every other file with its own."""

    def __init__(self, folder: Path, manifest: Manifest, sha256: str) -> None:
        self.folder = folder
        self.manifest = manifest
        self.sha256 = sha256

    @property
    def name(self) -> str:
        return self.manifest.name

    @property
    def mask(self) -> Literal["last", "assistant", "all"]:
        """Which turns are learnt. "last" is also said by the `weight` of each message."""
        return self.manifest.options.write.mask

    @classmethod
    def open(cls, folder: Path) -> Dataset:
        """Raises `FinetuneError` when there is none, or its manifest cannot be read."""
        path = folder / MANIFEST
        try:
            data = path.read_bytes()
        except (FileNotFoundError, NotADirectoryError) as error:
            raise FinetuneError(
                f"{folder} is no dataset: it has no {MANIFEST}. Make one: penstock dataset build"
            ) from error
        except OSError as error:
            raise FinetuneError(f"{path} cannot be read: {error.strerror}.") from error
        try:
            manifest = msgspec.json.decode(data, type=Manifest)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise FinetuneError(f"{path} is damaged: {error}. Make it again: penstock dataset rebuild") from error
        return cls(folder, manifest, hashlib.sha256(data).hexdigest())

    def conversations(self, split: Split) -> Iterator[Conversation]:
        """Those of one split, in the order of the file; none when there is no such file. Raises `FinetuneError`."""
        return self._lines(f"{split}.jsonl", Conversation)

    def preferences(self, split: Split) -> Iterator[Preference]:
        """Likewise its pairs of answers."""
        return self._lines(f"preferences.{split}.jsonl", Preference)

    def path(self, split: Split, *, preferences: bool = False) -> Path:
        """The file of a split; it need not be there."""
        return self.folder / f"{'preferences.' if preferences else ''}{split}.jsonl"

    def verify(self, path: Path) -> None:
        """Raises `FinetuneError` when `path`, a file of this dataset, is not the one that the manifest names."""
        named = {file.path: file.sha256 for file in self.manifest.files}.get(path.name)
        if named is None:
            return
        try:
            with path.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise FinetuneError(f"{path} cannot be read: {error.strerror}.") from error
        if found != named:
            raise FinetuneError(f"{path} was changed after it was made. Make it again: penstock dataset rebuild")

    def check_noted(self) -> None:
        """Raises `FinetuneError` when `note_trained` could not write, before a run is begun that could not end."""
        self._note(b"")

    def note_trained(self, *, run: str, base: str, adapter: str, at: datetime) -> None:
        """Append to `trained.jsonl`, by which whoever is taken out of the dataset learns where else he is.

        Once for each adapter of a run, however often it is said. Raises `FinetuneError`: nothing of it was written.
        """
        if (run, adapter) not in self._noted():
            line = {"run": run, "base": base, "adapter": adapter, "at": at.isoformat(timespec="seconds")}
            self._note(msgspec.json.encode(line) + b"\n")

    def _noted(self) -> Iterator[tuple[object, object]]:
        """Run and adapter of each line that can be read."""
        try:
            lines = (self.folder / TRAINED).read_bytes().splitlines()
        except OSError:
            return  # What cannot be read cannot be written either, which says more.
        for line in lines:
            with suppress(msgspec.DecodeError, UnicodeDecodeError):
                told = msgspec.json.decode(line, type=dict[str, Any])
                yield told.get("run"), told.get("adapter")

    def _note(self, line: bytes) -> None:
        try:
            with (self.folder / TRAINED).open("a+b", buffering=0) as file:
                end = file.seek(0, os.SEEK_END)
                if line and end and not _ends_a_line(file):
                    line = b"\n" + line  # Behind what a crash left half written.
                if file.write(line) != len(line):
                    file.truncate(end)
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            raise FinetuneError(f"{self.folder / TRAINED} cannot be written: {error.strerror}.") from error

    def _lines(self, name: str, kind: type[_Line]) -> Iterator[_Line]:
        path = self.folder / name
        decoder = msgspec.json.Decoder(kind)
        if not path.is_file():
            return
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                try:
                    yield decoder.decode(line)
                except (msgspec.DecodeError, UnicodeDecodeError) as error:
                    raise FinetuneError(
                        f"{path}:{number} is no example: {error}. Look: penstock dataset validate {path}"
                    ) from error


def _ends_a_line(file: BinaryIO) -> bool:
    file.seek(-1, os.SEEK_END)
    return file.read(1) == b"\n"
