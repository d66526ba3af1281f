"""Every worker learns of every purge, whoever dies while writing it down."""

from __future__ import annotations

from pathlib import Path

import pytest

from cache.purge import Purges, Selection
from tests.unit.cache.entries import entry, key

EVERYTHING = Selection()


@pytest.mark.parametrize(
    ("selection", "fits"),
    [
        (Selection(), True),
        (Selection(key=key(1)), True),
        (Selection(key=key(2)), False),
        (Selection(namespace="team"), True),
        (Selection(namespace=""), False),
        (Selection(model="gpt-*"), True),
        (Selection(model="gpt"), False),
        (Selection(model="GPT-*"), False),
        (Selection(until_ns=1000), True),
        (Selection(until_ns=999), False),
        (Selection(model="gpt-*", namespace="other"), False),
    ],
)
def test_what_a_selection_fits(selection: Selection, fits: bool) -> None:
    assert selection.fits(key(1), entry(1, model="gpt-5", namespace="team", now_ns=1000)) is fits


def test_only_the_empty_selection_is_everything() -> None:
    assert Selection().everything
    others = [Selection(key="a"), Selection(namespace=""), Selection(model="*"), Selection(until_ns=1)]
    assert [one.everything for one in others] == [False] * 4


def test_each_reader_is_told_once_of_what_came_after_it(tmp_path: Path) -> None:
    writer, early = Purges(tmp_path), Purges(tmp_path)
    assert early.fresh() == []
    writer.append(Selection(model="a"))
    late = Purges(tmp_path)
    writer.append(Selection(namespace=""))
    assert early.fresh() == [Selection(model="a"), Selection(namespace="")]
    assert late.fresh() == [Selection(namespace="")]
    assert early.fresh() == late.fresh() == []


def test_a_line_that_was_torn_spoils_no_other(tmp_path: Path) -> None:
    reader = Purges(tmp_path)
    for length in range(1, 15):
        with (tmp_path / "purges").open("ab") as file:
            file.write(b'\n{"model":"abc"}'[:length])
        assert reader.fresh() in ([], [EVERYTHING])
        Purges(tmp_path).append(Selection(model="whole"))
        assert reader.fresh()[-1] == Selection(model="whole")


def test_a_line_is_not_read_before_it_is_whole(tmp_path: Path) -> None:
    reader = Purges(tmp_path)
    with (tmp_path / "purges").open("ab", buffering=0) as file:
        for byte in b'\n{"model":"abc"}':
            file.write(bytes([byte]))
            assert reader.fresh() == []
        file.write(b"\n")
    assert reader.fresh() == [Selection(model="abc")]


@pytest.mark.parametrize("line", [b"\x00\x01", b'{"model": 7}', b"[]"])
def test_what_cannot_be_read_is_everything(tmp_path: Path, line: bytes) -> None:
    reader = Purges(tmp_path)
    (tmp_path / "purges").write_bytes(line + b"\n")
    assert reader.fresh() == [EVERYTHING]


def test_a_file_that_was_replaced_or_taken_away_is_everything(tmp_path: Path) -> None:
    writer = Purges(tmp_path)
    writer.append(Selection(model="a"))
    reader = Purges(tmp_path)
    (tmp_path / "new").write_bytes(b"\n" * 500)
    (tmp_path / "new").replace(tmp_path / "purges")
    assert reader.fresh() == [EVERYTHING]
    assert reader.fresh() == []
    (tmp_path / "purges").unlink()
    assert reader.fresh() == [EVERYTHING]
    writer.append(Selection(model="b"))
    assert reader.fresh()[-1] in (EVERYTHING, Selection(model="b"))


def test_the_file_stays_small(tmp_path: Path) -> None:
    writer, reader = Purges(tmp_path), Purges(tmp_path)
    writer.append(Selection(model="a"))
    with (tmp_path / "purges").open("ab") as file:
        file.write(b"\n" * 1_100_000)
    assert reader.fresh() == [Selection(model="a")]
    writer.append(Selection(model="b"))
    assert (tmp_path / "purges").stat().st_size < 100
    assert reader.fresh() == [EVERYTHING]
