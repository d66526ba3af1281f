"""Lines are split alike at every cut, and judged as OpenAI judges them; what is written is one line of JSON each."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.batching.local import lines as batch_lines
from proxy.batching.local.lines import Check, Fault, Line, Lines, Request, answer_line, dropped_line, read_request

CHAT = "/v1/chat/completions"
GOOD: dict[str, Any] = {"custom_id": "a", "method": "POST", "url": CHAT, "body": {"model": "tiny", "messages": []}}


def split(data: bytes, *cuts: int, line_bytes_max: int = 1000, number: int = 0, offset: int = 0) -> list[Line]:
    lines = Lines(line_bytes_max, number, offset)
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    found = [line for a, b in itertools.pairwise(edges) for line in lines.feed(data[a:b])]
    return [*found, *lines.finish()]


def test_lines_are_split_alike_at_every_cut() -> None:
    data = b"one\r\n\n" + b"x" * 30 + b"\nthree"
    wanted = [Line(0, 5, b"one"), Line(1, 6, b""), Line(2, 37, None), Line(3, 42, b"three")]
    for cut in range(len(data)):
        assert split(data, cut, line_bytes_max=20) == wanted


@given(
    st.lists(st.binary(max_size=20).filter(lambda line: not set(line) & set(b"\r\n"))), st.lists(st.integers(0, 300))
)
def test_any_lines_come_out_as_they_went_in(lines: list[bytes], cuts: list[int]) -> None:
    data = b"".join(line + b"\n" for line in lines)
    found = split(data, *cuts)
    assert [line.data for line in found] == lines
    for line in found:  # reading can go on behind each of them
        rest = split(data[line.end :], number=line.number + 1, offset=line.end)
        assert found[line.number + 1 :] == rest


def test_a_line_is_read_as_it_was_written() -> None:
    body = b'{ "model": "tiny",  "messages": [1.0, 1e3] }'
    line = b'{"custom_id": "a", "method": "POST", "url": "/v1/embeddings", "body": ' + body + b', "more": 1}'
    assert read_request(line, "/v1/embeddings") == Request("a", "tiny", body)


@pytest.mark.parametrize(
    ("changed", "code", "param"),
    [
        ({"custom_id": None}, "missing_required_parameter", "custom_id"),
        ({"custom_id": ""}, "missing_required_parameter", "custom_id"),
        ({"custom_id": 7}, "invalid_type", "custom_id"),
        ({"custom_id": "x" * 513}, "invalid_value", "custom_id"),
        ({"custom_id": "a\0"}, "invalid_value", "custom_id"),
        ({"method": None}, "missing_required_parameter", "method"),
        ({"method": "GET"}, "invalid_method", "method"),
        ({"url": None}, "missing_required_parameter", "url"),
        ({"url": "/v1/embeddings"}, "url_mismatch", "url"),
        ({"body": None}, "missing_required_parameter", "body"),
        ({"body": [1]}, "invalid_type", "body"),
        ({"body": {}}, "missing_required_parameter", "body.model"),
        ({"body": {"model": 1}}, "invalid_type", "body.model"),
        ({"body": {"model": "\0"}}, "invalid_value", "body.model"),
        ({"body": {"model": "tiny", "stream": True}}, "invalid_value", "body.stream"),
        ({"body": {"model": "tiny", "stream": "yes"}}, "invalid_type", "body.stream"),
    ],
)
def test_what_is_wrong_with_a_line_is_named(changed: dict[str, Any], code: str, param: str) -> None:
    found = read_request(json.dumps(GOOD | changed).encode(), CHAT)
    assert isinstance(found, Fault)
    assert (found.code, found.param) == (code, param)


@pytest.mark.parametrize(
    "line",
    [
        b"{",
        b"[]",
        b"7",
        b"\xff",
        b"[" * 100_000,
        b'{"custom_id": "a", "body": {"model": }}',
        b'{"body": nope}',
        b'{"custom_id": "\\ud800"}',
    ],
)
def test_what_is_no_object_is_named_by_its_line(line: bytes) -> None:
    found = read_request(line, CHAT)
    assert isinstance(found, Fault)
    assert found.code == "invalid_json_line"


@given(st.binary(max_size=100))
def test_no_line_is_more_than_a_fault(line: bytes) -> None:
    assert isinstance(read_request(line, CHAT), Fault)


def check(*lines: Any, line_bytes_max: int = 1000) -> Check:
    data = b"\n".join(line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines)
    found = Check(CHAT, line_bytes_max)
    for line in split(data, line_bytes_max=line_bytes_max):
        if not found.full:
            found.see(line)
    found.finish()
    return found


def test_a_good_file_is_counted() -> None:
    found = check(GOOD, b"", GOOD | {"custom_id": "b", "body": {"model": "other"}}, b"  ")
    assert (found.faults, found.requests, found.model) == ([], 2, "tiny")
    assert found.body_bytes == len(json.dumps(GOOD["body"])) + len('{"model": "other"}')


def test_faults_have_the_numbers_of_their_lines() -> None:
    found = check(GOOD, b"", b"{", GOOD, GOOD | {"custom_id": "c" * 2000})
    assert [(fault.line, fault.code) for fault in found.faults] == [
        (3, "invalid_json_line"),
        (4, "duplicate_custom_id"),
        (5, "line_too_long"),
    ]


@pytest.mark.parametrize("lines", [(), (b"",), (b"", b" ", b"\t")])
def test_an_empty_file_is_a_fault_of_the_file(lines: tuple[bytes, ...]) -> None:
    assert [(fault.code, fault.line) for fault in check(*lines).faults] == [("empty_file", None)]


def test_a_hundred_faults_are_enough() -> None:
    assert len(check(*[b"{"] * 150).faults) == batch_lines.ERRORS_MAX


def test_too_many_requests_are_one_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_lines, "LINES_MAX", 3)
    lines = [GOOD | {"custom_id": str(n)} for n in range(9)]
    assert check(*lines[:3]).faults == []
    found = check(*lines)
    assert ([fault.code for fault in found.faults], found.requests) == (["too_many_tasks"], 4)


@pytest.mark.parametrize("body", [b'{"a":\n 1.50,\r\n"b": "\\n"}', b'{"a": 1.50, "b": "\\n"}'])
def test_an_answer_is_one_line(body: bytes) -> None:
    line = answer_line("7", "a\n", 200, "req_1", body)
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert b"1.50" in line
    assert json.loads(line) == {
        "id": "batch_req_7",
        "custom_id": "a\n",
        "response": {"status_code": 200, "request_id": "req_1", "body": {"a": 1.5, "b": "\n"}},
        "error": None,
    }


@given(st.binary(max_size=100))
def test_any_answer_is_one_line_of_json(body: bytes) -> None:
    line = answer_line("7", "a", 502, "req_1", body)
    assert line.count(b"\n") == 1
    json.loads(line)


def test_an_answer_that_is_no_json_is_an_error_that_quotes_it() -> None:
    line = json.loads(answer_line("7", "a", 502, "req_1", b"<html>" + b"x" * 1000))
    assert line["response"]["body"]["error"]["code"] == "invalid_reply"
    assert "<html>" in line["response"]["body"]["error"]["message"]
    assert len(line["response"]["body"]["error"]["message"]) < 600


def test_what_was_not_asked_has_no_response() -> None:
    expired, cancelled = (json.loads(dropped_line("7", "a", expired=expired)) for expired in (True, False))
    assert (expired["response"], expired["error"]["code"]) == (None, "batch_expired")
    assert (cancelled["response"], cancelled["error"]["code"]) == (None, "batch_cancelled")
