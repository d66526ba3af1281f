"""A dataset is there whole or not at all, whatever ends the build."""

from __future__ import annotations

import random
from pathlib import Path

import msgspec
import pytest
import zstandard

from exporters.datasets.building import build as building
from exporters.datasets.building import scanning
from exporters.datasets.building.build import Outcome, build
from exporters.datasets.building.spill import read_spill
from exporters.datasets.describing.manifest import finish
from exporters.datasets.errors import DatasetError
from exporters.datasets.example import Row
from exporters.datasets.options import Arrange, Deduplicate, Options, Scrub
from exporters.datasets.reasons import Reason
from exporters.datasets.selecting.loading import FileSource
from tests.datasets.rows import RowSource

from ..made import everything, options, row

WORDS = [
    "parcel",
    "refund",
    "address",
    "invoice",
    "screen",
    "battery",
    "delivery",
    "account",
    "coupon",
    "voucher",
    "exchange",
    "colour",
    "warranty",
]


def talk(number: int, **fields: object) -> dict[str, object]:
    topic = f"{WORDS[number % len(WORDS)]} {WORDS[number * 7 % 11]} {number * 7919}"
    messages = [
        {"role": "user", "content": f"What about my {topic} from number {number}?"},
        {"role": "assistant", "content": f"The {topic} is on its way to you, as order {number * 104729} says."},
    ]
    return {"id": f"r{number}", "messages": messages, **fields}


def source(tmp_path: Path, options: Options, lines: list[dict[str, object]]) -> FileSource:
    path = tmp_path / "talks.jsonl"
    path.write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
    return FileSource((path,), options)


def made(tmp_path: Path, options: Options, lines: list[dict[str, object]], **how: bool) -> Outcome:
    return build(options, source(tmp_path, options, lines), tmp_path / "datasets", _nothing, **how)


def _nothing(outcome: Outcome, folder: Path) -> None:
    (folder / "finished").touch()


OPTIONS = Options(name="d", arrange=Arrange(validation=0.2, test=0.2))


def test_each_row_is_written_or_counted(tmp_path: Path) -> None:
    lines = [talk(number) for number in range(60)]
    lines += [talk(1), {"id": "empty", "messages": [lines[0]["messages"][0]]}, {"what": "is this"}]  # type: ignore[index]
    outcome = made(tmp_path, OPTIONS, lines)
    assert outcome.selected == 63 == outcome.written + sum(outcome.dropped.values())
    assert outcome.dropped[Reason.EXACT_DUPLICATE] == 1
    folder = tmp_path / "datasets" / "d"
    assert (folder / "finished").exists()
    written = [
        line
        for split in ("train", "validation", "test")
        for line in (folder / f"{split}.jsonl").read_text().splitlines()
    ]
    assert len(written) == outcome.written == len((folder / "sources.jsonl").read_text().splitlines())
    left_out = zstandard.ZstdDecompressor().stream_reader((folder / "left-out.jsonl.zst").read_bytes()).read()
    assert [msgspec.json.decode(line)["reason"] for line in left_out.splitlines()] == ["exact_duplicate"]
    assert [path.name for path in (tmp_path / "datasets").iterdir()] == ["d"]


@pytest.mark.parametrize("held", [1, 2, 7])
def test_how_many_rows_are_held_together_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held: int
) -> None:
    talks = [(number, length) for number in range(30) for length in (1, 2, 3)]
    rows = [
        row(number, *[f"Turn {number % 9} {turn}" for turn in range(2 * length)], request_id=f"{number}-{length}")
        for number, length in talks
    ]
    random.Random(held).shuffle(rows)
    chosen = options(deduplicate=Deduplicate(exact=True, near=0.85))
    whole, found = everything_made(tmp_path / "one", rows, chosen)
    assert found.dropped[Reason.PREFIX] == 60
    assert found.dropped[Reason.EXACT_DUPLICATE] + found.dropped[Reason.NEAR_DUPLICATE] == 21
    monkeypatch.setattr(scanning, "HELD_ROWS_MAX", held)
    assert everything_made(tmp_path / "other", rows, chosen)[0] == whole


def everything_made(root: Path, rows: list[Row], chosen: Options) -> tuple[dict[str, bytes], Outcome]:
    outcome = build(chosen, RowSource(rows, 31), root, finish)
    return everything(root / chosen.name), outcome


def test_a_name_is_taken_once(tmp_path: Path) -> None:
    made(tmp_path, OPTIONS, [talk(number) for number in range(20)])
    with pytest.raises(DatasetError, match="There is a dataset d"):
        made(tmp_path, OPTIONS, [talk(number) for number in range(30)])
    assert made(tmp_path, OPTIONS, [talk(number) for number in range(30)], replace=True).written == 30


def test_a_build_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    made(tmp_path, OPTIONS, [talk(number) for number in range(20)])
    before = (tmp_path / "datasets" / "d" / "train.jsonl").read_bytes()

    def fails(outcome: Outcome, folder: Path) -> None:
        raise OSError(28, "No space left on device")

    lines = [talk(number) for number in range(30)]
    with pytest.raises(DatasetError, match="is full"):
        build(OPTIONS, source(tmp_path, OPTIONS, lines), tmp_path / "datasets", fails, replace=True)
    assert (tmp_path / "datasets" / "d" / "train.jsonl").read_bytes() == before
    assert [path.name for path in (tmp_path / "datasets").iterdir()] == ["d"]


def test_a_dataset_that_was_being_replaced_comes_back_when_the_build_was_killed(tmp_path: Path) -> None:
    root = tmp_path / "datasets"
    (root / ".old.building-1" / "replaced").mkdir(parents=True)
    (root / ".old.building-1" / "replaced" / "train.jsonl").touch()
    (root / ".gone.building-2" / "parts").mkdir(parents=True)
    made(tmp_path, OPTIONS, [talk(number) for number in range(20)])
    assert sorted(path.name for path in root.iterdir()) == ["d", "old"]
    assert (root / "old" / "train.jsonl").exists()


def test_the_folder_of_a_build_that_is_alive_is_left_alone(tmp_path: Path) -> None:
    with building.building(tmp_path, "one") as folder, building.building(tmp_path, "two"):
        assert folder.exists()
    assert [*tmp_path.iterdir()] == []


def test_nothing_left_says_why_for_each_row(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"Nothing is left of 1 rows:\n +1  the answer is empty"):
        made(tmp_path, OPTIONS, [{"messages": [{"role": "user", "content": "Hello?"}]}])


def test_private_text_can_stop_a_build(tmp_path: Path) -> None:
    options = msgspec.structs.replace(OPTIONS, scrub=Scrub(fail=True))
    line = talk(1)
    line["messages"][0]["content"] += " Write to ann@example.org."  # type: ignore[index]
    with pytest.raises(DatasetError, match=r"1 examples \(1 EMAIL\)"):
        made(tmp_path, options, [line])


def test_neither_private_text_nor_a_name_waits_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    line = talk(1, user="ann@example.org")
    line["messages"][0]["content"] += " Write to ann@example.org."  # type: ignore[index]
    seen: list[bytes] = []

    def looked(*given: object) -> object:
        for spill in (tmp_path / "datasets").rglob("*.spill"):
            seen.append(msgspec.msgpack.encode([*read_spill(spill)]))
        return write(*given)  # type: ignore[arg-type]

    write = building.writing.write
    monkeypatch.setattr(building.writing, "write", looked)
    made(tmp_path, OPTIONS, [line])
    assert len(seen) == 1
    assert b"ann@" not in seen[0]
    assert b"Write to [USER]." in seen[0]
