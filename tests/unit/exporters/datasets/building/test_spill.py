"""What waits in the spill comes back as it was, in order."""

from __future__ import annotations

from pathlib import Path

import pytest

from exporters.datasets.building.spill import SpillWriter, Waiting, read_spill
from exporters.datasets.provenance import Pieces


@pytest.mark.parametrize("count", [0, 1, 255, 256, 257, 1000])
def test_rows_come_back_in_order(tmp_path: Path, count: int) -> None:
    rows = [
        Waiting(Pieces(b'"r%d"' % number, b"", number, b"}"), [b"\xc3" * number, b""], number % 2 == 0)
        for number in range(count)
    ]
    writer = SpillWriter(tmp_path / "spill")
    for row in rows:
        writer.add(row)
    writer.close()
    blocks = list(read_spill(tmp_path / "spill"))
    assert [row for block in blocks for row in block] == rows
    assert (len(blocks) > 1) == (count == 1000)


def test_a_spill_is_never_written_over(tmp_path: Path) -> None:
    SpillWriter(tmp_path / "spill").close()
    with pytest.raises(FileExistsError):
        SpillWriter(tmp_path / "spill")
