"""A dataset made of another one: the same examples in the same splits, changed or left out as it was said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zstandard

from exporters.datasets.changing.rewriting import read_back, rewrite
from exporters.datasets.describing import manifest as manifests
from exporters.datasets.describing.contents import origins
from exporters.datasets.describing.manifest import read
from exporters.datasets.errors import DatasetError
from exporters.datasets.example import Example
from exporters.datasets.options import Write
from exporters.datasets.progress import Silent
from exporters.datasets.provenance import Origin
from exporters.datasets.reasons import Reason
from tests.unit.exporters.datasets.made import everything, made, options, row

CORRECTION = json.dumps([{"role": "assistant", "content": "Better."}])


@pytest.fixture(autouse=True)
def _without_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """They take a second each, and nothing here looks at them."""
    monkeypatch.setattr(manifests, "draw", lambda *_: [])


def rows() -> list[Any]:
    found = [row(number, correction=CORRECTION if number % 7 == 0 else "") for number in range(40)]
    return [*found, row(90, "what is the plan for  DAY 1?", "On day 1 we count to 7.")]


def as_it_was(origin: Origin, example: Example) -> Example | Reason:
    return example


def deed() -> dict[str, Any]:
    return {"action": "nothing"}


def test_nothing_changed_gives_the_same_bytes(tmp_path: Path) -> None:
    folder, before = made(tmp_path, rows(), options(write=Write(formats=("openai", "sharegpt"), mask="last")))
    after = rewrite(folder, tmp_path, "copy", as_it_was, deed, Silent())
    one, other = everything(folder), everything(tmp_path / "copy")
    for said in ("manifest.json", "README.md"):
        del one[said], other[said]
    left_out = [
        zstandard.ZstdDecompressor().decompressobj().decompress(f.pop("left-out.jsonl.zst")) for f in (one, other)
    ]
    assert one == other
    assert left_out[0] == left_out[1] != b""
    assert (after.splits, after.dropped, after.selected) == (before.splits, before.dropped, before.selected)
    assert after.lineage == [{"action": "nothing"}]
    assert after == read(tmp_path / "copy")


def test_what_is_read_back_is_what_was_written(tmp_path: Path) -> None:
    folder, _ = made(tmp_path, rows())
    found = {origin.request_id: example for origin, example in read_back(folder)}
    assert found["req-0007"].messages[-1]["content"] == "Better."
    assert found["req-0007"].rejected[-1]["content"] == "On day 7 we count to 49."
    assert found["req-0003"].rejected == []
    assert (found["req-0003"].model, found["req-0003"].prompt_name, found["req-0003"].tokens) == ("gpt-5", "plans", 18)
    assert found["req-0003"].output_tokens == 5


def test_what_is_left_out_is_counted_and_named(tmp_path: Path) -> None:
    folder, _ = made(tmp_path, rows())
    gone = {f"req-{number:04d}" for number in range(0, 40, 4)}

    def change(origin: Origin, example: Example) -> Example | Reason:
        return Reason.NOT_RELABELED if origin.request_id in gone else example

    after = rewrite(folder, tmp_path, "fewer", change, deed, Silent())
    there = {origin.request_id for origin in origins(folder)} & gone
    assert after.dropped["not_relabeled"] == len(there) > 0
    assert after.selected == after.written + sum(after.dropped.values())
    lines = [(origin.split, origin.line) for origin in origins(tmp_path / "fewer")]
    assert [line for split, line in lines if split == "train"] == [*range(1, after.splits["train"].examples + 1)]
    assert not there & {origin.request_id for origin, _ in read_back(tmp_path / "fewer")}
    left_out = (
        zstandard.ZstdDecompressor().decompressobj().decompress((tmp_path / "fewer/left-out.jsonl.zst").read_bytes())
    )
    named = {line["request_id"]: line for line in map(json.loads, left_out.splitlines())}
    assert there <= named.keys()
    assert all(named[request_id]["reason"] == "not_relabeled" and named[request_id]["person"] for request_id in there)


def test_splits_and_people_stay_who_they_were(tmp_path: Path) -> None:
    folder, _ = made(tmp_path, rows())
    rewrite(folder, tmp_path, "copy", as_it_was, deed, Silent())
    where = {origin.request_id: (origin.split, origin.person, origin.cluster) for origin in origins(folder)}
    assert {o.request_id: (o.split, o.person, o.cluster) for o in origins(tmp_path / "copy")} == where
    assert all(person for _, person, _ in where.values())


def test_a_name_that_exists_is_left_alone(tmp_path: Path) -> None:
    folder, _ = made(tmp_path, rows())
    before = everything(folder)
    with pytest.raises(DatasetError, match="There is a dataset plans"):
        rewrite(folder, tmp_path, "plans", as_it_was, deed, Silent())
    assert everything(folder) == before


def test_nothing_left_leaves_nothing(tmp_path: Path) -> None:
    folder, _ = made(tmp_path, rows())
    with pytest.raises(DatasetError, match="Nothing is left"):
        rewrite(folder, tmp_path, "none", lambda origin, example: Reason.NOT_RELABELED, deed, Silent())
    assert [path.name for path in tmp_path.iterdir()] == ["plans"]


def test_a_dataset_in_other_formats_cannot_be_read_back(tmp_path: Path) -> None:
    folder, _ = made(tmp_path, rows(), options(write=Write(formats=("sharegpt",))))
    with pytest.raises(DatasetError, match="--format openai"):
        list(read_back(folder))


@pytest.mark.parametrize("damage", ["a line less", "no JSON", "sources shuffled"])
def test_files_that_were_edited_are_noticed(tmp_path: Path, damage: str) -> None:
    folder, _ = made(tmp_path, rows())
    path = folder / ("sources.jsonl" if damage == "sources shuffled" else "train.jsonl")
    lines = path.read_bytes().splitlines(keepends=True)
    if damage == "a line less":
        lines = lines[:-1]
    elif damage == "no JSON":
        lines[3] = b"secret words\n"
    else:
        lines = lines[::-1]
    path.write_bytes(b"".join(lines))
    with pytest.raises(DatasetError, match="does not belong to") as caught:
        list(read_back(folder))
    assert "secret" not in str(caught.value)


def test_other_options_of_writing_are_those_of_the_new_one(tmp_path: Path) -> None:
    folder, before = made(tmp_path, rows())
    write = msgspec.structs.replace(before.options.write, formats=("openai",))
    after = rewrite(folder, tmp_path, "copy", as_it_was, deed, Silent(), write)
    assert after.options == msgspec.structs.replace(before.options, name="copy", write=write)
    assert not list((tmp_path / "copy").glob("*.parquet"))
