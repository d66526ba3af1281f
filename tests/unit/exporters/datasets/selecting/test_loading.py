"""Files are read whole, line by line and once, however they are cut and packed."""

from __future__ import annotations

import gzip
import json
import pickle
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from exporters.datasets.assembling.assembly import assemble
from exporters.datasets.errors import DatasetError
from exporters.datasets.example import Example, Row
from exporters.datasets.options import Options, Select
from exporters.datasets.reasons import Reason
from exporters.datasets.selecting import loading
from exporters.datasets.selecting.loading import FileSource

OPTIONS = Options(name="test")


def chat(text: str, **fields: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}, {"role": "assistant", "content": "Yes."}], **fields}


def lines_of(*lines: Any) -> bytes:
    return b"".join(line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n" for line in lines)


def rows_of(*paths: Path, slice_bytes: int = loading.SLICE_BYTES, **select: Any) -> list[Row]:
    source = FileSource(paths, Options(name="test", select=Select(**select)), slice_bytes=slice_bytes)
    return [row for part in source.slices() for row in source.read(part)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "chats.jsonl"


def ids(*paths: Path, **select: Any) -> list[str]:
    return [row.request_id for row in rows_of(*paths, **select)]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(0, 3000) | st.none(), min_size=1, max_size=30),
    st.integers(1, 5000),
    st.integers(1, 4096),
    st.sampled_from([b"\n", b"\r\n"]),
    st.booleans(),
)
def test_every_cut_gives_each_line_once_and_its_number(
    tmp_path_factory: pytest.TempPathFactory,
    sizes: list[int | None],
    slice_bytes: int,
    piece_bytes: int,
    newline: bytes,
    ended: bool,
) -> None:
    path = tmp_path_factory.mktemp("cuts") / "chats.jsonl"
    texts = [b"" if size is None else json.dumps(chat("x" * size)).encode() for size in sizes]
    texts[0] = texts[0] or json.dumps(chat("first")).encode()
    path.write_bytes(newline.join(texts) + (newline if ended else b""))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loading, "_PIECE_BYTES", piece_bytes)
        found = rows_of(path, slice_bytes=slice_bytes)
    wanted = [number for number, text in enumerate(texts, 1) if text]
    assert [row.request_id for row in found] == [f"chats.jsonl:{number}" for number in wanted]
    assert all(row.input_messages != "?" for row in found)


def test_a_large_file_is_cut_into_slices_of_about_the_size_asked_for(path: Path) -> None:
    path.write_bytes(lines_of(*[chat("x" * 1000) for _ in range(4000)]))
    source = FileSource((path,), OPTIONS, slice_bytes=1024 * 1024)
    slices = source.slices()
    assert len(slices) >= 3
    assert sum(part.rows for part in slices) in range(4000, 4002)
    assert slices[0].begin == 0
    assert slices[-1].end == path.stat().st_size
    assert all(one.end == other.begin for one, other in pairwise(slices))


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz", ".jsonl.zst"])
def test_files_are_read_however_they_are_packed(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"chats{suffix}"
    data = lines_of(*[chat(f"question {number}") for number in range(500)])
    half = len(data) // 2
    pack = {".jsonl": bytes, ".jsonl.gz": gzip.compress, ".jsonl.zst": zstandard.ZstdCompressor().compress}[suffix]
    # Two frames, as of a file that was appended to.
    path.write_bytes(pack(data[:half]) + pack(data[half:]))
    assert ids(path) == [f"{path.name}:{number}" for number in range(1, 501)]


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.jsonl.zst"])
def test_a_damaged_file_is_an_error_of_one_line(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    data = lines_of(*[chat(f"question {number}") for number in range(5000)])
    packed = (
        gzip.compress(data) if name.endswith("gz") else zstandard.ZstdCompressor(write_checksum=True).compress(data)
    )
    for damaged in (packed[: len(packed) // 2], packed[:200] + b"????" + packed[204:], b"no archive"):
        path.write_bytes(damaged)
        with pytest.raises(DatasetError, match="damaged") as caught:
            rows_of(path)
        assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"none\.jsonl cannot be read: No such file"):
        rows_of(tmp_path / "none.jsonl")
    with pytest.raises(DatasetError, match="Is a directory"):
        rows_of(tmp_path)


def test_lines_that_nobody_can_read_are_rows_that_are_counted(path: Path) -> None:
    path.write_bytes(lines_of(chat("a"), b"{broken\n", b"\xff\xfe\n", b"\n", [1], b"7\n", {"else": 1}, chat("b")))
    found = [(row.request_id, assemble(row, OPTIONS)) for row in rows_of(path)]
    assert [name for name, _ in found] == [f"chats.jsonl:{number}" for number in (1, 2, 3, 5, 6, 7, 8)]
    assert [made is Reason.UNREADABLE for _, made in found] == [False, *[True] * 5, False]


def test_a_line_that_is_too_long_is_one_row_that_nobody_can_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "LINE_BYTES_MAX", 1000)
    path.write_bytes(lines_of(chat("a"), chat("x" * 5000), chat("b"), chat("x" * 20_000)))
    found = rows_of(path)
    assert [row.request_id.partition(":")[2] for row in found] == ["1", "2", "3", "4"]
    assert [row.input_messages == "?" for row in found] == [False, True, False, True]


def test_a_byte_order_mark_is_no_part_of_the_first_line(path: Path) -> None:
    path.write_bytes(b"\xef\xbb\xbf" + lines_of(chat("a")))
    assert [row.input_messages == "?" for row in rows_of(path)] == [False]


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"", "It is empty"),
        (b"\n \n", "It is empty"),
        (b"[\n{}\n]\n", "no JSON. Of a JSON array make lines"),
        (b'[{"messages": []}]\n', "a JSON array. Make lines of it: jq -c"),
        (b'"text"\n', "no JSON object"),
        (b'{"answer": "secret", "b": 1}\n{"messages": 7}\n', "has the keys 'answer', 'b'"),
    ],
)
def test_a_file_without_a_line_to_read_says_what_is_known_and_what_there_is(
    path: Path, data: bytes, complaint: str
) -> None:
    path.write_bytes(data)
    with pytest.raises(DatasetError, match=complaint) as caught:
        rows_of(path)
    assert '{"messages": [...]}' in str(caught.value)
    assert "secret" not in str(caught.value)


def test_ids_are_by_the_name_of_the_file_where_that_is_enough(tmp_path: Path) -> None:
    one, other = tmp_path / "a" / "chats.jsonl", tmp_path / "b" / "chats.jsonl"
    for path in (one, other):
        path.parent.mkdir()
        path.write_bytes(lines_of(chat("x"), chat("y", id="own")))
    assert ids(one) == ["chats.jsonl:1", "own"]
    assert ids(one, other) == [f"{one}:1", "own", f"{other}:1", "own"]


def test_a_source_goes_to_another_process(path: Path) -> None:
    path.write_bytes(lines_of(*[chat(str(number)) for number in range(3000)]))
    source = FileSource((path,), OPTIONS, slice_bytes=1)
    last = source.slices()[-1]
    sent = pickle.loads(pickle.dumps(source))
    assert list(sent.read(last)) == list(source.read(last))
    assert next(iter(sent.read(last))).request_id != "chats.jsonl:1" or last.begin == 0


BATCH = [
    {"custom_id": f"q-{number}", "method": "POST", "url": "/v1/chat/completions", "body": {"model": "m", **body}}
    for number, body in enumerate([{"messages": [{"role": "user", "content": f"question {n}"}]} for n in range(300)])
]
ANSWERS = [
    {
        "id": f"batch_req_{number}",
        "custom_id": f"q-{number}",
        "response": {
            "status_code": 200 if number else 400,
            "body": {"choices": [{"message": {"role": "assistant", "content": f"answer {number}"}}]},
        },
        "error": None,
    }
    for number in range(299, -1, -1)
]


def test_output_of_a_batch_is_joined_with_its_input(tmp_path: Path) -> None:
    asked, answered = tmp_path / "in.jsonl", tmp_path / "out.jsonl.gz"
    asked.write_bytes(lines_of(*BATCH))
    answered.write_bytes(gzip.compress(lines_of(*ANSWERS, {**ANSWERS[0], "custom_id": "unknown"})))
    source = FileSource((answered, asked), Options(name="x", select=Select(outcomes=())))
    sent = pickle.loads(pickle.dumps((source, source.slices())))
    found = [row for part in sent[1] for row in sent[0].read(part)]
    made = [assemble(row, OPTIONS) for row in found]
    for number, example in zip(range(299, -1, -1), made, strict=False):
        assert isinstance(example, Example)
        assert [m["content"] for m in example.messages] == [f"question {number}", f"answer {number}"]
    assert made[300:] == [Reason.NO_CONTENT]
    assert [row.outcome for row in found[298:]] == ["answered", "failed", "answered"]
    assert found[0].request_id == "batch_req_299"


def test_the_input_of_a_batch_alone_is_half_of_it(tmp_path: Path) -> None:
    asked = tmp_path / "in.jsonl"
    asked.write_bytes(lines_of(*BATCH))
    with pytest.raises(DatasetError, match="Add the output files"):
        rows_of(asked)
    asked.write_bytes(lines_of(*BATCH[:3], chat("x")))
    with pytest.raises(DatasetError, match="line 4 is no question"):
        rows_of(asked)
    packed = tmp_path / "in.jsonl.gz"
    packed.write_bytes(gzip.compress(lines_of(*BATCH)))
    with pytest.raises(DatasetError, match="decompress it first"):
        rows_of(packed)


def test_rows_pass_the_filters_and_what_nobody_can_read_is_counted_anyway(path: Path) -> None:
    path.write_bytes(lines_of(chat("a", model="gpt-5"), chat("b", model="o3"), b"{\n", chat("c", model="gpt-6")))
    assert ids(path, models=("gpt-*",)) == ["chats.jsonl:1", "chats.jsonl:3", "chats.jsonl:4"]


def test_what_only_the_store_can_answer_is_refused(path: Path) -> None:
    for select in ({"where": "1 = 1"}, {"score_name": "tone"}):
        with pytest.raises(DatasetError):
            rows_of(path, **select)
