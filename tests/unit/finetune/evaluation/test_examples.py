"""What is asked, out of a dataset's folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from finetune.errors import FinetuneError
from finetune.evaluation.examples import read
from tests.unit.finetune.evaluation.cases import dataset, line

FORMAT = {"type": "json_object"}


def test_an_example_is_what_came_before_the_last_answer(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b", "weight": 0}]
    tools = [{"type": "function", "function": {"name": "f"}}]
    lines = [{"messages": [*turns, *line(1, "yes")["messages"]], "tools": tools, "parallel_tool_calls": False}]
    origins = [
        {"split": "test", "line": 1, "request_id": "req-7", "timestamp_ns": 1, "response_format": FORMAT},
        {"split": "train", "line": 1, "request_id": "other", "timestamp_ns": 1},
    ]
    (one,) = read(dataset(tmp_path / "d", lines, origins), "test")
    assert (one.id, one.call, one.text) == ("test:1", "req-7", "yes")
    assert [message["role"] for message in one.messages] == ["user", "assistant", "system", "user"]
    assert all("weight" not in message for message in one.messages)
    assert (one.tools, one.parallel_tool_calls, one.response_format) == (tools, False, FORMAT)


def test_a_limit_chooses_the_same_ones_and_a_larger_one_only_adds(tmp_path: Path) -> None:
    data = dataset(tmp_path / "d", [line(n, "yes") for n in range(50)])
    few, more = ([one.id for one in read(data, "test", limit=limit)] for limit in (5, 9))
    assert len(few) == 5
    assert set(few) < set(more)
    assert few != [f"test:{n}" for n in range(1, 6)]
    assert few == sorted(few, key=lambda name: int(name.split(":")[1]))
    assert [one.id for one in read(data, "test", limit=5, seed=1)] != few
    assert len(read(data, "test", limit=99)) == 50


def test_what_is_no_example_is_said_with_its_place(tmp_path: Path) -> None:
    asked = {"messages": [{"role": "user", "content": "?"}, {"role": "user", "content": "!"}]}
    with pytest.raises(FinetuneError, match=r"test.jsonl:2 does not end with an answer"):
        read(dataset(tmp_path / "a", [line(1, "yes"), asked]), "test")
    with pytest.raises(FinetuneError, match="has no examples in validation"):
        read(dataset(tmp_path / "b", [line(1, "yes")]), "validation")
    changed = dataset(tmp_path / "c", [line(1, "yes")])
    (tmp_path / "c" / "test.jsonl").write_text("{}\n")
    with pytest.raises(FinetuneError, match="was changed after it was made"):
        read(changed, "test")
    with pytest.raises(FinetuneError, match=r"sources.jsonl is damaged"):
        read(dataset(tmp_path / "e", [line(1, "yes")], [{"line": "one"}]), "test")
