"""An evaluation as a file: `evaluation.json`, what stands beside it, and the lines about single examples."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from ..errors import FinetuneError
from .statistics import Comparison

VERSION: Final = 1
SIGNIFICANT: Final = 0.05


class Measured(msgspec.Struct, kw_only=True):
    """The dataset of an evaluation, as it was then."""

    name: str
    folder: str
    """Absolute."""
    sha256: str
    """Of its manifest."""


class Evaluation(msgspec.Struct, kw_only=True):
    """`evaluation.json`."""

    version: int = VERSION
    dataset: Measured
    split: str
    examples: int
    baseline: str
    """The model that all others are compared with: the first one."""
    models: dict[str, dict[str, Any]]
    """By model, by metric: `mean`, `low`, `high`, `n`. Also `latency_s` (p50, p95, mean, n), `cost_usd` (mean, low,
    high, n, total; n is 0 when no price is known), `tokens` (input, output: means), `errors` (questions refused),
    `cut` (answers that stopped at the limit of tokens), `without` (parameters that the model does not take)."""
    compared: dict[str, dict[str, Comparison]]
    """By model but the baseline, by metric."""
    higher_is_better: dict[str, bool]
    primary: str
    """The metric that decides."""
    tuned: str = ""
    """The model that is the run's, when it is the evaluation of one."""
    id: str = ""
    """Of the rows in ClickHouse: `run` in the view `evaluations`."""
    began: str = ""
    url: str = ""
    arguments: dict[str, Any] = {}
    labels: list[str] = []
    notes: list[str] = []
    """What could not be measured, and why."""
    most_worse: dict[str, list[str]] = {}
    """By model but the baseline: examples where it lost most, by the primary metric, the worst first."""
    most_better: dict[str, list[str]] = {}
    recorded: int = 0
    """Scores that the proxy took for ClickHouse."""

    def verdict(self, model: str, metric: str) -> str:
        """better, worse, or "" when the difference may be chance."""
        found = self.compared.get(model, {}).get(metric)
        if found is None or found.p >= SIGNIFICANT or not found.difference:
            return ""
        return "better" if (found.difference > 0) == self.higher_is_better[metric] else "worse"


class Places(msgspec.Struct, frozen=True):
    """The files of an evaluation, by that of its result."""

    result: Path
    picture: Path | None = None

    @property
    def answers(self) -> Path:
        """Only there until the evaluation is done."""
        return self.result.with_suffix(".answers.jsonl")

    @property
    def details(self) -> Path:
        """A line for each example: answers and scores of every model, the most different first."""
        return self.result.with_suffix(".details.jsonl")

    @property
    def plot(self) -> Path:
        return self.picture or self.result.with_suffix(".png")


def save(evaluation: Evaluation, path: Path) -> None:
    """Whole or not at all. Raises `FinetuneError`."""
    _write(path, msgspec.json.format(msgspec.json.encode(evaluation), indent=2) + b"\n")


def save_details(lines: Sequence[dict[str, Any]], path: Path) -> None:
    """Likewise. Raises `FinetuneError`."""
    _write(path, msgspec.json.Encoder().encode_lines(lines))


def load(path: Path) -> Evaluation:
    """Raises `FinetuneError` when there is none or it cannot be read."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Evaluation)
    except OSError as error:
        raise FinetuneError(f"{path} cannot be read: {error.strerror}. Make it: penstock evaluate") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise FinetuneError(f"{path} is no evaluation: {error}.") from error


def _write(path: Path, data: bytes) -> None:
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        aside.write_bytes(data)
        aside.replace(path)
    except OSError as error:
        aside.unlink(missing_ok=True)
        raise FinetuneError(f"{path} cannot be written: {error.strerror}.") from error
