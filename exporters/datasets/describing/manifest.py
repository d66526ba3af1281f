"""`manifest.json`: all that is known of a dataset, in which the same rows and options give the same bytes.

It names every other file with its SHA-256, so it is written last. `trained.jsonl`, which trainers append to, is the
only file beside it that it does not name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version as version_of
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
import zstandard

from ..building.splitting import SPLITS
from ..errors import DatasetError
from ..options import Options
from ..reasons import Reason
from .card import CARD, card
from .contents import Contents, contents_of, histogram, iso
from .plots import draw
from .training_prices import Training, training

if TYPE_CHECKING:
    from ..building.build import Outcome  # with it come the libraries of scanning, which to read needs none of

MANIFEST: Final = "manifest.json"
TRAINED: Final = "trained.jsonl"
"""A line for each run that was trained on the dataset: `run`, `base`, `adapter`, `at`. Trainers append to it."""
VERSION: Final = 1
NAMES_MAX: Final = 50
"""Models, prompts and labels that are named; the rest is counted together."""
THE_REST: Final = "(others)"

_CHUNK: Final = 1 << 20
_HASHED_AT_ONCE: Final = 2


class SplitCounts(msgspec.Struct, kw_only=True):
    examples: int = 0
    preferences: int = 0
    tokens: int = 0


class NearDuplicates(msgspec.Struct, kw_only=True):
    clusters: int = 0
    ratio: float = 0.0
    """Of the rows that were compared, those that were left out."""


class TokenCounts(msgspec.Struct, kw_only=True):
    total: int = 0
    estimated_examples: int = 0
    histogram: list[tuple[int, int]] = []
    """(upper bound, examples that have at most so many and more than the bound before)."""
    p50: int = 0
    p95: int = 0
    max: int = 0


class File(msgspec.Struct, kw_only=True):
    path: str
    bytes: int
    lines: int
    """Of text, also where it is compressed; rows of Parquet; 0 for pictures."""
    sha256: str


class Manifest(msgspec.Struct, kw_only=True):
    """selected = written + the sum of `dropped`."""

    version: int = VERSION
    name: str
    penstock: str
    options: Options
    selected: int
    dropped: dict[str, int]
    """By the name of the `Reason`, in the order of the steps."""
    written: int
    splits: dict[str, SplitCounts]
    scrubbed: dict[str, int]
    """Pieces of private text that were replaced in what was read, by kind."""
    scrubbed_examples: int
    near_duplicates: NearDuplicates
    tokens: TokenCounts
    turns: dict[int, int]
    """Examples by the number of the user's turns."""
    with_tools: int
    models: dict[str, int]
    prompts: dict[str, int]
    labels: dict[str, int]
    first: str
    """When the first of its calls was, ISO 8601 in UTC; "" where none has a time."""
    last: str
    timeline: list[tuple[str, dict[str, int]]]
    """(beginning, examples of each split), in stretches of the same length."""
    files: list[File]
    training: Training
    lineage: list[dict[str, Any]] = []
    """What was done to it after it was built, or what it was made of: `{"action": "forget", ...}`, oldest first."""


def finish(outcome: Outcome, folder: Path, lineage: Sequence[dict[str, Any]] = ()) -> None:
    """Write plots, card and manifest of what was built in `folder`. Raises `OSError` and `DatasetError`."""
    dropped = {reason: outcome.dropped[reason] for reason in Reason if outcome.dropped[reason]}
    compared = outcome.selected - sum(count for reason, count in dropped.items() if reason < Reason.NEAR_DUPLICATE)
    manifest = Manifest(
        name=outcome.options.name,
        penstock=version_of("penstock"),
        options=outcome.options,
        selected=outcome.selected,
        dropped={reason.name.lower(): count for reason, count in dropped.items()},
        written=0,
        splits={},
        scrubbed=dict(sorted(outcome.scrubbed.items(), key=lambda pair: (-pair[1], pair[0]))),
        scrubbed_examples=outcome.scrubbed_rows,
        near_duplicates=NearDuplicates(
            clusters=outcome.clusters,
            ratio=round(dropped.get(Reason.NEAR_DUPLICATE, 0) / compared, 6) if compared else 0.0,
        ),
        tokens=TokenCounts(),
        turns={},
        with_tools=0,
        models={},
        prompts={},
        labels={},
        first="",
        last="",
        timeline=[],
        files=[],
        training=training(0),
        lineage=[*lineage],
    )
    complete(manifest, folder)


def complete(manifest: Manifest, folder: Path) -> None:
    """Count what `folder` holds, and write plots, card and manifest. Raises `OSError` and `DatasetError`."""
    with ThreadPoolExecutor(_HASHED_AT_ONCE) as pool:
        files = [pool.submit(_file, path, folder) for path in _paths(folder)]  # hashed while the lines are counted
        count(manifest, contents_of(folder))
        drawn = [_file(path, folder) for path in draw(manifest, folder)]
        manifest.files = sorted([*(file.result() for file in files), *drawn], key=lambda file: file.path)
    (folder / CARD).write_text(card(manifest), encoding="utf-8")
    manifest.files = sorted([*manifest.files, _file(folder / CARD, folder)], key=lambda file: file.path)
    text = msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n"
    (folder / MANIFEST).write_bytes(text)


def count(manifest: Manifest, contents: Contents) -> None:
    """Set all that is counted over the examples."""
    counts = sorted(contents.token_counts)
    manifest.written = len(counts)
    manifest.splits = {
        split: SplitCounts(
            examples=contents.examples[split],
            preferences=contents.preferences[split],
            tokens=contents.tokens[split],
        )
        for split in SPLITS
        if contents.examples[split]
    }
    manifest.tokens = TokenCounts(
        total=sum(counts),
        estimated_examples=contents.estimated,
        histogram=histogram(counts),
        p50=_quantile(counts, 0.5),
        p95=_quantile(counts, 0.95),
        max=counts[-1] if counts else 0,
    )
    manifest.turns = dict(sorted(contents.turns.items()))
    manifest.with_tools = contents.with_tools
    manifest.models = _most(contents.models)
    manifest.prompts = _most(contents.prompts)
    manifest.labels = _most(contents.labels)
    manifest.first, manifest.last = iso(contents.first_ns), iso(contents.last_ns)
    manifest.timeline = contents.timeline()
    manifest.training = training(contents.tokens["train"])


def read(folder: Path) -> Manifest:
    """Raises `DatasetError`: there is none, or it was written by something newer."""
    try:
        data = (folder / MANIFEST).read_bytes()
    except FileNotFoundError as error:
        raise DatasetError(f"{folder} is not a dataset: it has no {MANIFEST}.") from error
    except OSError as error:
        raise DatasetError(f"{folder / MANIFEST} cannot be read: {error.strerror or error}.") from error
    try:
        if (found := msgspec.json.decode(data, type=_Version).version) > VERSION:
            raise DatasetError(f"{folder} was written by a newer Penstock (manifest version {found}).")
        return msgspec.json.decode(data, type=Manifest)
    except msgspec.DecodeError as error:
        raise DatasetError(f"{folder / MANIFEST} is not a manifest: {error}.") from error


def changed(manifest: Manifest, folder: Path) -> list[str]:
    """Files that are gone, or not what they were when the manifest was written. Raises `OSError`."""
    return [
        file.path
        for file in manifest.files
        if not (folder / file.path).is_file() or _file(folder / file.path, folder).sha256 != file.sha256
    ]


class _Version(msgspec.Struct):
    version: int


def _quantile(ordered: Sequence[int], share: float) -> int:
    """The smallest value that at least `share` of them do not exceed."""
    return ordered[max(0, -int(-len(ordered) * share // 1) - 1)] if ordered else 0


def _most(counts: dict[str, int]) -> dict[str, int]:
    """The most frequent, named ones, and the others together."""
    ranked = sorted(((name, count) for name, count in counts.items() if name), key=lambda pair: (-pair[1], pair[0]))
    found = dict(ranked[:NAMES_MAX])
    if rest := sum(count for _, count in ranked[NAMES_MAX:]):
        found[THE_REST] = rest
    return found


def _paths(folder: Path) -> list[Path]:
    """What is there before card, manifest and pictures."""
    left_out = {CARD, MANIFEST, TRAINED}
    return [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name not in left_out]


def _file(path: Path, folder: Path) -> File:
    state, size, lines = hashlib.sha256(), 0, 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            state.update(chunk)
            size += len(chunk)
            lines += chunk.count(b"\n")
    if path.suffix == ".zst":
        lines = _compressed_lines(path)
    elif path.suffix == ".parquet":
        lines = _rows(path)
    elif path.suffix == ".png":
        lines = 0
    return File(path=path.relative_to(folder).as_posix(), bytes=size, lines=lines, sha256=state.hexdigest())


def _compressed_lines(path: Path) -> int:
    with path.open("rb") as file, zstandard.ZstdDecompressor().stream_reader(file) as reader:
        lines = 0
        while chunk := reader.read(_CHUNK):
            lines += chunk.count(b"\n")
        return lines


def _rows(path: Path) -> int:
    from pyarrow import parquet  # with it comes Arrow

    return int(parquet.read_metadata(path).num_rows)
