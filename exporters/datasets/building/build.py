"""Build a dataset: in a hidden folder beside its place, renamed when it is whole."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..comparing import near
from ..errors import DatasetError
from ..index import ROW, SIGNATURE
from ..options import Options
from ..progress import Progress, Silent
from ..reasons import SAYS, Reason
from ..selecting.source import Source
from . import writing
from .choosing import Choice, choose
from .scanning import Parts, Scanned, scan_all

_BUILDING: Final = ".building-"
_LOCK: Final = "lock"
_REPLACED: Final = "replaced"
MADE: Final = "made"


@dataclass(slots=True)
class Outcome:
    """All that is known of a dataset that was built; the manifest is made of it."""

    options: Options
    selected: int = 0
    """Rows that were read."""
    dropped: Counter[int] = field(default_factory=Counter)
    """By `Reason`. selected = written + the sum of these."""
    scrubbed: Counter[str] = field(default_factory=Counter)
    scrubbed_rows: int = 0
    clusters: int = 0
    """Groups of at least two rows that are nearly the same."""
    tally: writing.Tally = field(default_factory=writing.Tally)

    @property
    def written(self) -> int:
        return sum(self.tally.examples.values())


def build(
    options: Options,
    source: Source,
    root: Path,
    finish: Callable[[Outcome, Path], None],
    *,
    replace: bool = False,
    progress: Progress | None = None,
) -> Outcome:
    """Make `root/options.name`. `finish(outcome, folder)` writes manifest and card before the folder gets its name.

    Raises `DatasetError`: the name is taken and not to be replaced, nothing was selected, nothing is left, private text
    was found that must not be there, the disk is full. Whatever happens, there is the whole dataset or none, and with
    `replace` the one that was there before.
    """
    with making(root, options.name, replace=replace) as folder:
        outcome = _build(options, source, folder, progress or Silent())
        finish(outcome, folder / MADE)
        return outcome


@contextlib.contextmanager
def making(root: Path, name: str, *, replace: bool = False) -> Iterator[Path]:
    """A folder to work in; what is in its `MADE` at the end becomes `root/name`, all at once. After an error, nothing.

    Raises `DatasetError`: the name is taken and not to be replaced, the disk is full or cannot be written to.
    """
    target = root / name
    if target.exists() and not replace:
        raise DatasetError(f"There is a dataset {name} in {root} already. Choose another name, or --replace it.")
    try:
        with building(root, name) as folder:
            made = folder / MADE
            made.mkdir()
            yield folder
            into_place(made, target)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DatasetError(f"The disk of {root} is full. Free some space and try again.") from error
        raise DatasetError(f"The dataset cannot be written to {root}: {error.strerror or error}.") from error


def _build(options: Options, source: Source, folder: Path, progress: Progress) -> Outcome:
    parts, made = folder / "parts", folder / MADE
    parts.mkdir()
    slices = source.slices()
    outcome = Outcome(options)
    progress.phase("reading", sum(part.rows for part in slices))
    scanned: list[Scanned] = []
    for one in scan_all(options, source, parts, slices):
        scanned.append(one)
        outcome.selected += one.rows
        outcome.dropped.update(one.dropped)
        outcome.scrubbed.update(one.scrubbed)
        outcome.scrubbed_rows += one.scrubbed_rows
        progress.advance(one.rows)
    if options.scrub.fail and outcome.scrubbed:
        found = ", ".join(f"{count} {kind}" for kind, count in outcome.scrubbed.most_common())
        raise DatasetError(
            f"Private text was found in {outcome.scrubbed_rows} examples ({found}), and --fail-on-pii is set."
        )
    choice = _choose(options, scanned, parts, progress)
    outcome.dropped.update(choice.dropped())
    outcome.clusters = len(np.unique(choice.cluster[choice.cluster != np.arange(len(choice.cluster))]))
    if not np.any(choice.reason == Reason.KEPT):
        raise DatasetError(_nothing_left(outcome))
    progress.phase("writing", sum(one.kept for one in scanned))
    outcome.tally = writing.write(options, scanned, choice, parts, made, progress)
    return outcome


def _choose(options: Options, scanned: Sequence[Scanned], parts: Path, progress: Progress) -> Choice:
    files = [Parts.of(parts, one.number) for one in scanned]
    rows = _joined([file.rows for file in files], ROW)
    prefixes = _joined([file.prefixes for file in files], np.dtype(np.uint64))

    def clusters(here: NDArray[np.int64]) -> NDArray[np.int64]:
        progress.phase("finding near duplicates", len(here))
        signatures = _Signatures(files, rows)
        found: NDArray[np.int64] = near.clusters(signatures.of, here, options.deduplicate.near, progress)
        return found

    return choose(rows, prefixes, options, clusters if options.deduplicate.near else None)


class _Signatures:
    """The signatures of all parts, which together need not fit into memory."""

    def __init__(self, files: Sequence[Parts], rows: NDArray[Any]) -> None:
        self._paths = [file.signatures for file in files]
        self._begins = np.cumsum([0, *(len(np.load(path, mmap_mode="r")) for path in self._paths)])
        # Beginnings of other conversations have none.
        self._places = np.cumsum(rows["text"] != 0, dtype=np.int32) - 1

    def of(self, rows: NDArray[np.int64]) -> NDArray[np.uint32]:
        """Those of `rows`, in that order: an array of (rows, SIGNATURE)."""
        found = np.empty((len(rows), SIGNATURE), np.uint32)
        places = self._places[rows]
        where = np.searchsorted(self._begins, places, side="right") - 1
        for number in np.unique(where):
            here = where == number
            # Mapped for the moment: what stayed mapped would count as this process's memory, a gigabyte of it.
            found[here] = np.load(self._paths[number], mmap_mode="r")[places[here] - self._begins[number]]
        return found


def _joined(paths: Sequence[Path], kind: np.dtype[Any]) -> NDArray[Any]:
    """What the files hold, one after the other. Mapped, so that it is in memory once."""
    pieces = [np.load(path, mmap_mode="r") for path in paths]
    found: NDArray[Any] = np.concatenate(pieces) if pieces else np.zeros(0, kind)
    return found


def _nothing_left(outcome: Outcome) -> str:
    lines = [f"Nothing is left of {outcome.selected:,} rows:"]
    lines += [f"  {count:>9,}  {SAYS[Reason(reason)]}" for reason, count in outcome.dropped.most_common()]
    return "\n".join(lines)


@contextlib.contextmanager
def building(root: Path, name: str) -> Iterator[Path]:
    """A folder of this build's own, gone at the end; those of builds that were killed go first."""
    root.mkdir(parents=True, exist_ok=True)
    clear(root)
    folder = root / f".{name}{_BUILDING}{os.getpid()}"
    hidden = folder.with_name(f".{name}.new-{os.getpid()}")  # not seen by another build before it is locked
    hidden.mkdir(mode=0o700)
    lock = os.open(hidden / _LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        hidden.rename(folder)
        yield folder
    finally:
        os.close(lock)
        shutil.rmtree(folder, ignore_errors=True)


def clear(root: Path) -> None:
    """Remove what killed builds left in `root`, and put back what one had just moved away. Raises `OSError`."""
    for old in root.glob(f".*{_BUILDING}*"):
        if not _is_alive(old):
            _clear(old)


def _clear(folder: Path) -> None:
    """Remove what a killed build left, but not a dataset that it had just moved out of the way for its own."""
    replaced = folder / _REPLACED
    target = folder.with_name(folder.name[1:].rpartition(_BUILDING)[0])
    if replaced.exists() and not target.exists():
        replaced.rename(target)
    shutil.rmtree(folder, ignore_errors=True)


def _is_alive(folder: Path) -> bool:
    try:
        lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(lock)
    return False


def into_place(made: Path, target: Path) -> None:
    """Rename, when every byte is on the disk. What was there before goes when the new one has its name.

    A build that is killed between the two renames has left the old one in its folder: the next puts it back.
    """
    for path in [*made.rglob("*"), made]:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    if target.exists():
        old = made.parent / _REPLACED
        target.rename(old)
        try:
            made.rename(target)
        except OSError:
            old.rename(target)
            raise
    else:
        made.rename(target)
