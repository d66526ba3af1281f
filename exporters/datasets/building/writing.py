"""What was chosen, written in the order of the source; and for each line where it came from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final

import numpy as np
import zstandard
from numpy.typing import NDArray

from ..formats import Writer, writers
from ..index import digest
from ..options import Options
from ..progress import Progress
from ..provenance import LEFT_OUT, SOURCES, excuse_line, source_line
from ..reasons import Reason
from .choosing import Choice
from .scanning import Parts, Scanned
from .spill import Waiting, read_spill
from .splitting import SPLITS

_BUFFER_BYTES: Final = 1 << 20


@dataclass(slots=True)
class Tally:
    """How much was written, by split. All else that the manifest says is read from the files."""

    examples: Counter[str] = field(default_factory=Counter)
    preferences: Counter[str] = field(default_factory=Counter)


def write(
    options: Options, scanned: Sequence[Scanned], choice: Choice, parts: Path, folder: Path, progress: Progress
) -> Tally:
    """Make the dataset's files in `folder`. `parts` holds the spills. Raises `OSError`."""
    with (
        (folder / SOURCES).open("wb", buffering=_BUFFER_BYTES) as sources,
        (folder / LEFT_OUT).open("xb") as left_out_file,
        zstandard.ZstdCompressor(level=3).stream_writer(left_out_file) as left_out,
    ):
        files = _Files(writers(options.write, folder), sources)
        clusters = _ClusterNames(scanned, choice, parts)
        begin = 0
        for part in scanned:
            for rows in read_spill(Parts.of(parts, part.number).spill):
                end = begin + len(rows)
                reasons, splits = choice.reason[begin:end].tolist(), choice.split[begin:end].tolist()
                chosen = zip(rows, reasons, splits, clusters.names(begin, end), strict=True)
                left_out.write(b"".join([files.put(*row) for row in chosen]))
                begin = end
            progress.advance(part.kept)
        files.close()
    return files.tally


class _Files:
    def __init__(self, made: Sequence[Writer], sources: BinaryIO) -> None:
        self.tally = Tally()
        self._writers = made
        self._sources = sources

    def put(self, row: Waiting, reason: int, place: int, cluster: str) -> bytes:
        """Write the row, if it was chosen; its excuse, if not."""
        if reason != Reason.KEPT:
            return excuse_line(row.pieces, reason, cluster)
        split, tally = SPLITS[place], self.tally
        for writer, encoded in zip(self._writers, row.encoded, strict=True):
            if encoded:
                writer.add(split, encoded)
        tally.examples[split] += 1
        tally.preferences[split] += row.is_pair
        pair = tally.preferences[split] if row.is_pair else 0
        self._sources.write(source_line(row.pieces, split, tally.examples[split], pair, cluster))
        return b""

    def close(self) -> None:
        for writer in self._writers:
            writer.close()


class _ClusterNames:
    """The names of clusters: of the request id that stands for each; "" for a row that is alone."""

    def __init__(self, scanned: Sequence[Scanned], choice: Choice, parts: Path) -> None:
        alone = np.arange(len(choice.cluster)) == choice.cluster
        alone[choice.cluster[~alone]] = False
        self._cluster: NDArray[np.int64] = choice.cluster
        self._alone = alone
        orders = [np.load(Parts.of(parts, part.number).rows, mmap_mode="r")["order"] for part in scanned]
        self._order = np.concatenate(orders) if orders else np.zeros(0, np.uint64)

    def names(self, begin: int, end: int) -> list[str]:
        """Of the rows from `begin` to before `end`."""
        found = [""] * (end - begin)
        for place in np.flatnonzero(~self._alone[begin:end]).tolist():
            found[place] = f"{digest('cluster', str(self._order[self._cluster[begin + place]])):016x}"
        return found
