"""A line of any file leads to the call that it was made of."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pyarrow import parquet

from exporters.datasets.describing.contents import origins
from exporters.datasets.errors import DatasetError
from exporters.datasets.tracing import known, trace

from .made import made, options, row

ROWS = [row(number) for number in range(40)] + [
    row(40, "How many?", "Two.", correction="Three."),
    # Alpaca has no words for tools, so its lines are not those of the others.
    row(
        41,
        output_messages=json.dumps(
            [{"role": "assistant", "parts": [{"type": "tool_call", "id": "a", "name": "count", "arguments": {}}]}]
        ),
        tool_definitions=json.dumps([{"type": "function", "name": "count", "parameters": {"type": "object"}}]),
        timestamp_ns=1,
    ),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("root"), ROWS)[0]


def test_every_line_of_every_split_leads_to_its_call(folder: Path) -> None:
    answers = {one.request_id: json.loads(one.output_messages)[0]["parts"][0].get("content") for one in ROWS}
    answers["req-0040"] = "Three."
    for split in ("train", "validation", "test"):
        lines = (folder / f"{split}.jsonl").read_bytes().splitlines()
        for number, line in enumerate(lines, 1):
            traced = trace(f"{folder}/{split}.jsonl:{number}")
            assert traced.folder == folder
            assert (traced.origin.split, traced.origin.line) == (split, number)
            assert json.loads(line)["messages"][-1].get("content") == answers[traced.origin.request_id]


@pytest.mark.parametrize("kind", ["sharegpt", "alpaca"])
def test_formats_that_leave_some_out_are_traced_by_id(folder: Path, kind: str) -> None:
    path = next(path for path in folder.glob(f"*.{kind}.jsonl") if path.read_bytes())
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        assert trace(f"{path}:{number}").origin.request_id == json.loads(line)["id"]


def test_rows_of_a_table_are_traced_by_their_column(folder: Path) -> None:
    for path in folder.glob("*.parquet"):
        for number, wanted in enumerate(parquet.read_table(path)["request_id"].to_pylist(), 1):
            assert trace(f"{path}:{number}").origin.request_id == wanted


def test_a_preference_leads_to_the_call_that_was_corrected(folder: Path) -> None:
    (path,) = folder.glob("preferences.*.jsonl")
    assert trace(f"{path}:1").origin.request_id == "req-0040"


def test_a_line_of_the_sources_is_itself(folder: Path) -> None:
    third = [*origins(folder)][2]
    assert trace(f"{folder / 'sources.jsonl'}:3").origin == third


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("train.jsonl", "is not FILE:LINE"),
        ("train.jsonl:0", "is not FILE:LINE"),
        ("train.jsonl:" + "1" * 5000, "is not FILE:LINE"),
        ("train.jsonl:x", "is not FILE:LINE"),
        (":3", "There is no file"),
        ("nowhere.jsonl:1", "There is no file"),
        ("train.jsonl:9999", "has no example in line 9999"),
        ("train.sharegpt.jsonl:9999", "has no line 9999"),
        ("train.parquet:9999", "has no row 9999"),
        ("README.md:1", "is not a dataset's file of examples"),
    ],
)
def test_what_leads_nowhere_is_said(folder: Path, place: str, said: str) -> None:
    with pytest.raises(DatasetError, match=said):
        trace(f"{folder}/{place}" if not place.startswith(":") else place)


def test_a_file_of_no_dataset_is_said(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_text("{}\n")
    with pytest.raises(DatasetError, match="is not a dataset"):
        trace(f"{tmp_path}/train.jsonl:1")


def test_every_file_of_examples_is_known(tmp_path: Path) -> None:
    """A format that is added and not known here could neither be traced nor be forgotten from."""
    folder, manifest = made(tmp_path, ROWS, options())
    others = {"README.md", "sources.jsonl", "left-out.jsonl.zst"}
    examples = [file.path for file in manifest.files if file.path not in others and not file.path.startswith("plots/")]
    assert all(known(path) for path in examples)
    assert len(examples) >= 12
    assert folder.name == "plans"
