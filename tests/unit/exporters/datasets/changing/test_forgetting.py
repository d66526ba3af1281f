"""Who is forgotten is in no file any more, and the rest is as it was."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zstandard
from pyarrow import parquet

from exporters.datasets.building.build import build
from exporters.datasets.building.indexing import forgotten_id
from exporters.datasets.changing import forgetting, relabeling
from exporters.datasets.changing.forgetting import forget
from exporters.datasets.describing.contents import origins
from exporters.datasets.describing.manifest import TRAINED, Manifest, changed, finish, read
from exporters.datasets.errors import DatasetError
from exporters.datasets.options import Deduplicate, Options, Select
from tests.datasets.rows import RowSource

from ..made import everything, made, options, row

ROWS = [
    *(row(number) for number in range(60)),
    *(row(number, correction="Better.") for number in range(80, 100)),
    row(60, "Ask marigold.", "Marigold it is.", user="ann", correction="Marigold it was."),
    row(61, "Where is marigold?", "Marigold is here.", user="ann"),
    row(62, "Where is MARIGOLD?", "Marigold is here. ", user="ann"),
    row(63, "And marigold now?", "", user="ann"),
    row(70, "First tulip.", "Tulip one.", user="bob", session="talk"),
    row(71, "First tulip.", "Tulip one.", "Second.", "Two.", user="bob", session="talk"),
]


@pytest.fixture(autouse=True)
def without_pictures(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures take half a second, and one test that has them is enough."""
    if "formats" not in request.fixturenames:
        monkeypatch.setattr("exporters.datasets.describing.manifest.draw", lambda *_: [])


def text(folder: Path) -> str:
    """All that can be read in a dataset's files, whatever they are packed in."""
    found = []
    for name, data in everything(folder).items():
        if name.endswith(".zst"):
            data = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(data)).read()
        if name.endswith(".parquet"):
            data = str(parquet.read_table(io.BytesIO(data)).to_pylist()).encode()
        found.append(name + data.decode(errors="replace"))
    return "\n".join(found)


def ids(folder: Path) -> list[str]:
    return [origin.request_id for origin in origins(folder)]


def without(manifest: Manifest) -> dict[str, Any]:
    """What does not say how it came about."""
    found: dict[str, Any] = msgspec.to_builtins(manifest)
    for name in ("options", "lineage", "files", "scrubbed", "scrubbed_examples", "near_duplicates"):
        del found[name]
    return found


def test_a_person_is_in_no_file(tmp_path: Path) -> None:
    folder, before = made(tmp_path, ROWS)
    assert "arigold" in text(folder)
    gone = [origin.request_id for origin in origins(folder) if origin.person == forgotten_id("ann")]
    found = forget(folder, users=["ann"])
    assert found is not None
    assert (found.examples, found.left_out) == (2, 1)
    told = text(folder)
    assert "arigold" not in told
    assert not any(name in told for name in (*gone, "req-0060", "req-0061", "req-0062"))
    assert forgotten_id("ann") not in told.replace(json.dumps(forgotten_id("ann")), "", 1)  # once, in the options
    assert read(folder).written == before.written - 2


@pytest.mark.parametrize("formats", [("openai", "parquet", "sharegpt", "alpaca"), ("parquet",)])
def test_what_is_left_is_what_would_have_been_made_without_them(tmp_path: Path, formats: Any) -> None:
    """But for rows that were never candidates, which are counted and not named."""
    chosen = options()
    chosen = msgspec.structs.replace(chosen, write=msgspec.structs.replace(chosen.write, formats=formats))
    rows = [one for one in ROWS if one.request_id != "req-0063"]
    folder, _ = made(tmp_path / "all", rows, chosen)
    forget(folder, users=["ann", "user-4"])
    other, _ = made(tmp_path / "less", [one for one in rows if one.user not in ("ann", "user-4")], chosen)
    assert without(read(folder)) == without(read(other))
    ours, theirs = everything(folder), everything(other)
    for name in set(ours) - {"manifest.json", "README.md"}:
        if not name.endswith(".parquet"):
            assert ours[name] == theirs[name], name
        else:
            assert parquet.read_table(folder / name).equals(parquet.read_table(other / name)), name


def test_a_later_build_leaves_them_out_too(tmp_path: Path) -> None:
    folder, _ = made(tmp_path, ROWS)
    forget(folder, users=["ann"])
    left = ids(folder)
    build(read(folder).options, RowSource(ROWS), tmp_path, finish, replace=True)
    assert ids(folder) == left
    assert "arigold" not in text(folder)


def test_files_and_lines_agree_afterwards(tmp_path: Path) -> None:
    folder, _ = made(tmp_path, ROWS)
    forget(folder, requests=["req-0007", "req-0008", "req-0009"])
    manifest = read(folder)
    assert changed(manifest, folder) == []
    for split in manifest.splits:
        mine = [origin for origin in origins(folder) if origin.split == split]
        assert [origin.line for origin in mine] == [*range(1, len(mine) + 1)]
        lines = (folder / f"{split}.sharegpt.jsonl").read_bytes().splitlines()
        assert [json.loads(line)["id"] for line in lines] == [origin.request_id for origin in mine]
        asked = [
            json.loads(line)["messages"][-1]["content"]
            for line in (folder / f"{split}.jsonl").read_bytes().splitlines()
        ]
        answers = {json.loads(one.output_messages)[0]["parts"][0]["content"] for one in ROWS} | {
            "Marigold it was.",
            "Better.",
        }
        assert set(asked) <= answers


def test_the_text_of_a_call_is_also_in_what_its_conversation_became(tmp_path: Path) -> None:
    folder, _ = made(tmp_path, ROWS)
    assert "req-0070" not in ids(folder)  # the beginning of req-0071
    found = forget(folder, requests=["req-0070"])
    assert found is not None
    assert found.may_remain == []
    assert "req-0071" not in ids(folder)
    assert "ulip" not in text(folder)


def test_a_beginning_without_a_session_is_said_to_remain(tmp_path: Path) -> None:
    rows = [msgspec.structs.replace(one, session="") for one in ROWS]
    folder, _ = made(tmp_path, rows)
    found = forget(folder, requests=["req-0070"])
    assert found is not None
    assert len(found.may_remain) == 1
    assert "req-0070" in found.may_remain[0]


def test_with_beginnings_kept_the_whole_session_goes(tmp_path: Path) -> None:
    folder, _ = made(tmp_path, ROWS, options(deduplicate=Deduplicate(near=0, keep_prefixes=True)))
    assert {"req-0070", "req-0071"} <= {*ids(folder)}
    forget(folder, requests=["req-0070"])
    assert "ulip" not in text(folder)


def test_a_name_in_the_options_goes_and_nobody_takes_its_place(tmp_path: Path) -> None:
    chosen = options(select=Select(users=("ann", "bob"), where="user = 'ann' OR user = 'bob'"))
    folder, _ = made(tmp_path, ROWS, chosen)
    found = forget(folder, users=["ann"])
    assert found is not None
    assert found.may_remain == []
    select = read(folder).options.select
    assert select.users == (f"forgotten-{forgotten_id('ann')}", "bob")
    assert select.where == f"user = 'forgotten-{forgotten_id('ann')}' OR user = 'bob'"
    assert '"ann"' not in text(folder)


def test_a_name_that_cannot_be_taken_out_of_the_options_is_said(tmp_path: Path) -> None:
    folder, _ = made(tmp_path, ROWS, options(select=Select(where="user LIKE '%ann%'")))
    found = forget(folder, users=["ann"])
    assert found is not None
    assert found.may_remain == ["a name in --where"]


def test_through_a_link_the_dataset_itself_is_changed(tmp_path: Path) -> None:
    folder, _ = made(tmp_path, ROWS)
    link = tmp_path / "latest"
    link.symlink_to(folder.name)
    found = forget(link, users=["ann"])
    assert found is not None
    assert found.dataset == folder.name
    assert link.is_symlink()
    assert "arigold" not in text(folder)
    assert forget(folder, users=["ann"]) is None


def test_nobody_of_that_name_changes_nothing(tmp_path: Path) -> None:
    folder, _ = made(tmp_path, ROWS)
    before = everything(folder)
    assert forget(folder, users=["carol", ""], requests=["req-9999", ""]) is None
    assert everything(folder) == before


def test_models_that_had_learnt_are_named(tmp_path: Path) -> None:
    folder, _ = made(tmp_path, ROWS)
    run = {"run": "r1", "base": "qwen3", "adapter": "out/r1", "at": "2026-11-01T00:00:00Z"}
    (folder / TRAINED).write_text(json.dumps(run) + "\n")
    (folder / "notes").mkdir()
    (folder / "notes" / "one.txt").write_text("mine")
    found = forget(folder, users=["ann"])
    assert found is not None
    assert found.trained == [run]
    assert found.not_looked_into == ["notes"]
    assert (folder / TRAINED).read_text() == json.dumps(run) + "\n"
    assert (folder / "notes" / "one.txt").read_text() == "mine"
    second = forget(folder, requests=["req-0001"])
    assert second is not None
    assert [deed["examples"] for deed in read(folder).lineage] == [2, 1]


def test_answers_of_an_unfinished_relabelling_go_too(tmp_path: Path) -> None:
    folder, _ = made(tmp_path, ROWS)
    other, _ = made(tmp_path, ROWS[:30], options("other"))
    kept = relabeling._answers(_task(other, "b"))
    going_on = relabeling._answers(_task(folder, "a"))
    going_on.close()
    kept.close()
    forget(folder, users=["ann"])
    assert kept.path.exists()
    assert not going_on.path.exists()


def test_a_relabelling_that_is_at_work_is_said_to_hold_them(tmp_path: Path) -> None:
    folder, _ = made(tmp_path, ROWS)
    with contextlib.closing(relabeling._answers(_task(folder, "a"))):
        found = forget(folder, users=["ann"])
    assert found is not None
    assert "a relabelling that is at work" in found.may_remain[0]


def _task(folder: Path, name: str) -> relabeling.Task:
    return relabeling.Task(folder=folder, root=folder.parent, name=name, model="gpt-5", price=lambda *_: None)


def test_a_dataset_of_nobody_else_is_left_empty(tmp_path: Path) -> None:
    rows = [msgspec.structs.replace(one, user="ann") for one in ROWS]
    folder, _ = made(tmp_path, rows)
    forget(folder, users=["ann"])
    manifest = read(folder)
    assert (manifest.written, manifest.splits, manifest.tokens.max) == (0, {}, 0)
    assert not [*folder.glob("train*")]
    assert changed(manifest, folder) == []


def test_a_fault_leaves_the_dataset_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, _ = made(tmp_path, ROWS)
    before = everything(folder)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(forgetting, "complete", full)
    with pytest.raises(DatasetError, match="No space left on device"):
        forget(folder, users=["ann"])
    assert everything(folder) == before
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]


def test_a_file_of_examples_that_is_not_known_stops_it(tmp_path: Path) -> None:
    """Better nothing than somebody who is left in a file that was not looked into."""
    folder, manifest = made(tmp_path, ROWS)
    (folder / "train.csv").write_text("ann\n")
    manifest.files.append(msgspec.structs.replace(manifest.files[0], path="train.csv"))
    (folder / "manifest.json").write_bytes(msgspec.json.encode(manifest))
    with pytest.raises(DatasetError, match=r"train\.csv"):
        forget(folder, users=["ann"])


def test_options_of_a_dataset_are_not_changed_otherwise(tmp_path: Path) -> None:
    folder, before = made(tmp_path, ROWS)
    forget(folder, users=["ann"])
    after: Options = read(folder).options
    forgotten = msgspec.structs.replace(before.options.select, forgotten=(forgotten_id("ann"),))
    assert after == msgspec.structs.replace(before.options, select=forgotten)
