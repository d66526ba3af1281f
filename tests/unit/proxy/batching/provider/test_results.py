"""Lines of output and error files: cut at every point, read whatever is in them."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.batching.provider.results import LineSplitter, read_result


def cut(data: bytes, *at: int, bytes_max: int = 1000) -> tuple[list[bytes], int]:
    splitter = LineSplitter(bytes_max)
    ends = [0, *sorted(at), len(data)]
    lines = [line for start, end in itertools.pairwise(ends) for line in splitter.feed(data[start:end])]
    return [*lines, *splitter.end()], splitter.too_long


@given(st.lists(st.text(alphabet="ab é", max_size=8), max_size=6), st.data())
def test_lines_are_the_same_wherever_the_stream_is_cut(words: list[str], data: st.DataObject) -> None:
    whole = "\n".join(words).encode()
    points = data.draw(st.lists(st.integers(0, len(whole)), max_size=4))
    assert cut(whole, *points)[0] == [word.strip().encode() for word in words if word.strip(" ")]


def test_a_line_that_is_too_long_is_passed_over() -> None:
    data = b"short\n" + b"x" * 50 + b"\nlast"
    for point in range(len(data)):
        assert cut(data, point, bytes_max=10) == ([b"short", b"last"], 1)


def line(**fields: Any) -> bytes:
    return json.dumps({"id": "batch_req_1", "custom_id": "item-1", **fields}).encode()


def test_the_body_is_the_providers_byte_for_byte() -> None:
    body = b'{ "a" : 1.50, "b":"\\u00e9" }'
    made = (
        b'{"custom_id":"item-1","response":{"status_code":200,"request_id":"req_1","body":' + body + b'},"error":null}'
    )
    result = read_result(made)
    assert result is not None
    assert result.answer is not None
    assert result.answer.body == body
    assert (b"x-request-id", b"req_1") in result.answer.headers


@pytest.mark.parametrize("code", ["batch_expired", "batch_cancelled"])
def test_a_line_that_was_never_run_has_no_answer(code: str) -> None:
    result = read_result(line(response=None, error={"code": code, "message": "late"}))
    assert result is not None
    assert result.answer is None


def test_an_error_without_a_response_is_told_as_one_of_the_upstream() -> None:
    result = read_result(line(response=None, error={"code": "server_error", "message": "It broke."}))
    assert result is not None
    assert result.answer is not None
    assert result.answer.status == 502
    assert json.loads(result.answer.body)["error"] == {
        "message": "It broke.",
        "type": "upstream_error",
        "param": None,
        "code": "server_error",
    }


@pytest.mark.parametrize("data", [b"[]", b"{", b"{}", b'{"custom_id": 1}', b"\xff", line(response={"body": {}})])
def test_what_is_no_line_is_none(data: bytes) -> None:
    assert read_result(data) is None
