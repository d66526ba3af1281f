"""The datasets of a folder: which there are, what was trained on them, and how two of them differ."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from ..building.splitting import SPLITS
from ..errors import DatasetError
from ..flags import flat
from ..index import digest
from .contents import origins
from .manifest import MANIFEST, TRAINED, Manifest, read


class Difference(msgspec.Struct, kw_only=True):
    """Of two datasets, the first's value first."""

    options: dict[str, tuple[Any, Any]]
    """Those that differ, by path."""
    counts: dict[str, tuple[int, int]]
    """selected, dropped by reason, written, tokens, splits."""
    only_in_first: int
    only_in_second: int
    in_both: int
    moved: int
    """Examples of both that are in different splits."""
    first_ids: list[str]
    """Request ids of examples that only the first has."""
    second_ids: list[str]
    moved_ids: list[str]


def datasets(root: Path) -> list[Path]:
    """Their folders, by name."""
    if not root.is_dir():
        return []
    return sorted(path.parent for path in root.glob(f"*/{MANIFEST}") if not path.parent.name.startswith("."))


def runs(folder: Path) -> list[dict[str, Any]]:
    """What trainers noted in `trained.jsonl`, oldest first. Raises `DatasetError`."""
    try:
        lines = (folder / TRAINED).read_bytes().splitlines()
        return [msgspec.json.decode(line, type=dict[str, Any]) for line in lines if line.strip()]
    except FileNotFoundError:
        return []
    except (OSError, msgspec.DecodeError) as error:
        raise DatasetError(f"{folder / TRAINED} cannot be read: {error}.") from error


def difference(first: Path, second: Path, ids_max: int = 100) -> Difference:
    """Names at most `ids_max` calls of each kind. Raises `DatasetError`. Holds nine bytes an example of each."""
    ours, theirs = read(first), read(second)
    before, after = flat(ours.options), flat(theirs.options)
    counts, others = _counts(ours), _counts(theirs)
    ids, splits = _index(first)
    other_ids, other_splits = _index(second)
    common, here, there = np.intersect1d(ids, other_ids, assume_unique=True, return_indices=True)
    moved = common[splits[here] != other_splits[there]]
    gone, new = (np.setdiff1d(*pair, assume_unique=True) for pair in ((ids, common), (other_ids, common)))
    return Difference(
        options={name: (before[name], after[name]) for name in before if before[name] != after[name]},
        counts={
            name: (counts.get(name, 0), others.get(name, 0))
            for name in [*counts, *(name for name in others if name not in counts)]
        },
        only_in_first=len(gone),
        only_in_second=len(new),
        in_both=len(common),
        moved=len(moved),
        first_ids=[*_named(first, gone, ids_max)],
        second_ids=[*_named(second, new, ids_max)],
        moved_ids=[*_named(first, moved, ids_max)],
    )


def _counts(manifest: Manifest) -> dict[str, int]:
    found = {"selected": manifest.selected}
    found |= {name.replace("_", " "): count for name, count in manifest.dropped.items()}
    found |= {"written": manifest.written, "tokens": manifest.tokens.total}
    return found | {name: split.examples for name, split in manifest.splits.items()}


def _index(folder: Path) -> tuple[NDArray[np.uint64], NDArray[np.uint8]]:
    """Digests of the request ids, sorted, and the splits that they are in."""
    pairs = np.fromiter(
        ((digest(origin.request_id), SPLITS.index(origin.split)) for origin in origins(folder)),
        dtype=[("id", "u8"), ("split", "u1")],
    )
    pairs.sort(order="id")
    return pairs["id"], pairs["split"]


def _named(folder: Path, wanted: NDArray[np.uint64], most: int) -> Iterator[str]:
    if not len(wanted):
        return
    left = min(len(wanted), most)
    for origin in origins(folder):
        place = np.searchsorted(wanted, np.uint64(digest(origin.request_id)))
        if place < len(wanted) and wanted[place] == digest(origin.request_id):
            yield origin.request_id
            left -= 1
            if not left:
                return
