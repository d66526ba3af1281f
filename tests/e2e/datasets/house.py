"""`penstock dataset` as a person runs it: a process and a folder of its own, beside a store with the corpus."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import zstandard

from exporters.datasets.reasons import Reason
from tests.datasets import unfit
from tests.datasets.cases import Case
from tests.datasets.corpus import Corpus
from tests.stores import Store

ROOT = Path(__file__).parents[3]
COMMAND_WITHIN_S = 110.0


@dataclass
class House:
    """A store with the corpus, and a folder for datasets."""

    store: Store
    folder: Path
    corpus: Corpus
    environ: dict[str, str] = field(default_factory=dict)

    @property
    def root(self) -> Path:
        return self.folder / "penstock-datasets"

    @property
    def all_of_it(self) -> tuple[str, ...]:
        """The options with which every defect is found, and nothing but the corpus is read."""
        limit, held_out = str(unfit.TOKENS_MAX), str(self.folder / "held-out.jsonl")
        return ("--where", NOT_LOOSE, "--max-tokens", limit, "--language", "en", "--held-out", held_out)

    def start(self, *arguments: str, program: Sequence[str] = ("-m", "proxy"), **options: Any) -> subprocess.Popen[str]:
        """`penstock dataset ...` in the folder."""
        environ = {**os.environ, "NO_COLOR": "1", "COLUMNS": "160", "PYTHONPATH": str(ROOT), **self.environ}
        return subprocess.Popen(
            [sys.executable, *program, "dataset", *arguments],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=self.folder,
            env=environ,
            # Whoever runs the tests in the background of a shell has them ignore SIGINT, and so their children.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL), **options,
        )  # fmt: skip

    def run(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """The same, to its end."""
        process = self.start(*arguments, **options)
        try:
            out, said = process.communicate(timeout=COMMAND_WITHIN_S)
        finally:
            process.kill()
            process.wait()
        return subprocess.CompletedProcess(process.args, process.returncode, out, said)

    def build(self, name: str, *arguments: str) -> Dataset:
        """A build that must succeed."""
        done = self.run("build", name, *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return Dataset(self.root / name)

    def unfinished(self) -> list[str]:
        """Hidden folders of builds."""
        return sorted(path.name for path in self.root.glob(".*")) if self.root.exists() else []


NOT_LOOSE = "NOT has(mapValues(tags), 'loose') AND NOT has(mapValues(tags), 'later')"


@dataclass(frozen=True)
class Dataset:
    folder: Path

    @property
    def manifest(self) -> Any:
        return json.loads((self.folder / "manifest.json").read_bytes())

    @property
    def sources(self) -> list[dict[str, Any]]:
        return _lines((self.folder / "sources.jsonl").read_bytes())

    @property
    def left_out(self) -> list[dict[str, Any]]:
        return _lines(unpacked(self.folder / "left-out.jsonl.zst"))

    @property
    def splits(self) -> dict[str, str]:
        """Of each request id."""
        return {line["request_id"]: line["split"] for line in self.sources}

    @property
    def fates(self) -> dict[str, Reason]:
        """Of each request id that reached the choice."""
        found = {line["request_id"]: Reason[line["reason"].upper()] for line in self.left_out}
        return found | dict.fromkeys(self.splits, Reason.KEPT)

    @property
    def bytes(self) -> dict[str, bytes]:
        """Every file, by its path."""
        return {str(p.relative_to(self.folder)): p.read_bytes() for p in self.folder.rglob("*") if p.is_file()}

    def messages(self, split: str = "train") -> list[dict[str, Any]]:
        return _lines((self.folder / f"{split}.jsonl").read_bytes())


def unpacked(path: Path) -> bytes:
    """What a file of several frames holds."""
    with path.open("rb") as file, zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True) as plain:
        return bytes(plain.read())


def wrong(cases: Sequence[Case], fates: dict[str, Reason]) -> list[str]:
    """Names of cases that became something else than they must, with what they became."""
    return [f"{case.name}: {told}" for case in cases if (told := _differs(case, fates))]


def _differs(case: Case, fates: dict[str, Reason]) -> str:
    # What was dropped before the choice is in no file, only counted.
    got = [fates.get(call.request_id) for call in case.calls]
    expected = [reason if reason is Reason.KEPT or reason >= Reason.PREFIX else None for reason in case.expected]
    if case.may_cross:
        got = [Reason.KEPT if reason is Reason.CROSSES_SPLITS else reason for reason in got]
    if not case.in_order:
        got.sort(key=str)
        expected.sort(key=str)
    return "" if got == expected else ", ".join(reason.name if reason is not None else "dropped" for reason in got)


def _lines(data: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in data.splitlines()]
