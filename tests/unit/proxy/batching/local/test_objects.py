"""The shapes of files and batches are those that the official SDK's types describe, and bad requests are named."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types import Batch, FileObject

from proxy.batching.local import objects
from proxy.batching.tables import batches, files
from proxy.errors import ClientFault

S = 1_000_000_000
FILE = {
    "id": "file-1",
    "bytes": 12,
    "created_ns": 5 * S + 1,
    "expires_ns": 0,
    "filename": "in.jsonl",
    "purpose": "batch",
    "status": "processed",
}
NEW = {column.name: 0 if column.type.python_type is int else "" for column in batches.columns}
BATCH = NEW | {
    "id": "batch_1",
    "path": "/v1/chat/completions",
    "status": "validating",
    "input_file_id": "file-1",
    "completion_window": "24h",
    "metadata": "null",
    "created_ns": 7 * S,
    "expires_ns": 86_407 * S,
}
ASKED = {"input_file_id": "file-1", "endpoint": "/v1/chat/completions", "completion_window": "24h"}


def test_a_file_has_the_fields_of_the_sdks_type() -> None:
    shown = objects.file_object(FILE)
    assert set(shown) == set(FileObject.model_fields)
    parsed = FileObject.model_validate(shown, strict=True)
    assert (parsed.created_at, parsed.expires_at, parsed.status_details) == (5, None, None)
    assert objects.file_object(FILE | {"expires_ns": 9 * S})["expires_at"] == 9
    assert set(FILE) <= {column.name for column in files.columns}


def test_a_batch_has_the_fields_of_the_sdks_type() -> None:
    shown = objects.batch_object(BATCH)
    assert set(shown) == set(Batch.model_fields)
    parsed = Batch.model_validate(shown, strict=True)
    assert (parsed.created_at, parsed.expires_at, parsed.completed_at, parsed.output_file_id) == (7, 86_407, None, None)
    assert (parsed.errors, parsed.metadata, parsed.usage, parsed.model) == (None, None, None, None)


def test_a_batch_that_is_over_says_when_how_and_what_of() -> None:
    fault = {"code": "empty_file", "message": "?", "param": None, "line": None}
    usage = objects.Usage(input_tokens=3, cached_tokens=1, output_tokens=2)
    row = BATCH | {
        "status": "completed",
        "completed_ns": 8 * S,
        "completed": 2,
        "failed": 1,
        "total": 3,
        "errors": json.dumps([fault]),
        "usage": msgspec.json.encode(usage).decode(),
        "metadata": '{"a": "b"}',
    }
    parsed = Batch.model_validate(objects.batch_object(row), strict=True)
    assert parsed.request_counts is not None
    assert (parsed.request_counts.total, parsed.request_counts.completed, parsed.request_counts.failed) == (3, 2, 1)
    assert parsed.errors is not None
    assert parsed.errors.data is not None
    assert parsed.errors.data[0].code == "empty_file"
    assert parsed.usage is not None
    assert (parsed.usage.total_tokens, parsed.usage.input_tokens_details.cached_tokens) == (5, 1)
    assert (parsed.metadata, parsed.completed_at) == ({"a": "b"}, 8)


def test_usage_is_added_up_over_replies_of_all_shapes() -> None:
    usage = objects.Usage.of("")
    usage.add(b'{"usage": {"prompt_tokens": 3, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 1}}}')
    usage.add(b'{"usage": {"input_tokens": 4, "output_tokens": 6, "output_tokens_details": {"reasoning_tokens": 5}}}')
    for nothing in (b"no JSON", b"[]", b'{"usage": null}', b'{"usage": {"prompt_tokens": "many"}}'):
        usage.add(nothing)
    assert usage == objects.Usage(input_tokens=7, cached_tokens=1, output_tokens=8, reasoning_tokens=5)
    assert objects.Usage.of(msgspec.json.encode(usage).decode()) == usage


def test_a_list_names_its_ends() -> None:
    rows = [FILE, FILE | {"id": "file-2"}]
    shown = objects.list_object(rows, objects.file_object, has_more=True)
    assert (shown["object"], shown["first_id"], shown["last_id"], shown["has_more"]) == (
        "list",
        "file-1",
        "file-2",
        True,
    )
    assert objects.list_object([], objects.file_object, has_more=False)["first_id"] is None


def test_a_batch_is_asked_for() -> None:
    request = objects.read_batch_request(json.dumps(ASKED).encode())
    assert request == objects.BatchRequest("file-1", "/v1/chat/completions", None, 30 * 86_400)
    more = ASKED | {"metadata": {"a": "b"}, "output_expires_after": {"anchor": "created_at", "seconds": 3600}}
    request = objects.read_batch_request(json.dumps(more).encode())
    assert (request.metadata, request.output_expires_s) == ({"a": "b"}, 3600)


@pytest.mark.parametrize(
    ("changed", "code", "param"),
    [
        ({"input_file_id": None}, "missing_required_parameter", "input_file_id"),
        ({"endpoint": None}, "missing_required_parameter", "endpoint"),
        ({"completion_window": None}, "missing_required_parameter", "completion_window"),
        ({"input_file_id": 7}, "invalid_type", "input_file_id"),
        ({"input_file_id": "file-\0"}, "invalid_type", "input_file_id"),
        ({"endpoint": "/v1/images/generations"}, "invalid_value", "endpoint"),
        ({"completion_window": "1h"}, "invalid_value", "completion_window"),
        ({"metadata": [1]}, "invalid_type", "metadata"),
        ({"metadata": {"a": 1}}, "invalid_type", "metadata"),
        ({"metadata": {str(n): "" for n in range(17)}}, "invalid_value", "metadata"),
        ({"metadata": {"a" * 65: ""}}, "invalid_value", "metadata"),
        ({"metadata": {"a": "b" * 513}}, "invalid_value", "metadata"),
        ({"output_expires_after": 3600}, "invalid_type", "output_expires_after"),
        (
            {"output_expires_after": {"anchor": "now", "seconds": 3600}},
            "invalid_value",
            "output_expires_after[anchor]",
        ),
        (
            {"output_expires_after": {"anchor": "created_at", "seconds": 3599}},
            "invalid_value",
            "output_expires_after[seconds]",
        ),
    ],
)
def test_what_is_wrong_with_a_batch_is_named(changed: dict[str, Any], code: str, param: str) -> None:
    with pytest.raises(ClientFault) as caught:
        objects.read_batch_request(json.dumps(ASKED | changed).encode())
    assert (caught.value.http_status, caught.value.code, caught.value.param) == (400, code, param)


@pytest.mark.parametrize("limits", [{str(n): "" for n in range(16)}, {"a" * 64: "b" * 512}, {}])
def test_metadata_within_the_limits_is_taken(limits: dict[str, str]) -> None:
    assert objects.read_batch_request(json.dumps(ASKED | {"metadata": limits}).encode()).metadata == limits


@given(st.binary(max_size=60))
def test_no_body_is_more_than_a_fault(body: bytes) -> None:
    with pytest.raises(ClientFault):
        objects.read_batch_request(body)


def test_pages() -> None:
    assert objects.read_page("", limit_max=100, limit=20) == objects.Page("", 20)
    asked = "after=file-1&limit=100&order=asc&purpose=batch"
    assert objects.read_page(asked, limit_max=100, limit=20) == objects.Page("file-1", 100, True, "batch")


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=many", "limit"),
        ("limit=-1", "limit"),
        ("order=up", "order"),
        ("after=%00", "after"),
        ("after=%C3%BC", "after"),
        ("purpose=fun", "purpose"),
        ("&".join(["a=1"] * 101), None),
    ],
)
def test_what_is_wrong_with_a_page_is_named(query: str, param: str | None) -> None:
    with pytest.raises(ClientFault) as caught:
        objects.read_page(query, limit_max=100, limit=20)
    assert caught.value.param == param


@pytest.mark.parametrize("seconds", ["3600", 3600, 2_592_000, "2592000"])
def test_expiry_within_the_limits_is_taken(seconds: Any) -> None:
    assert objects.expires_after("expires_after", "created_at", seconds) == int(seconds)


@pytest.mark.parametrize("seconds", [None, True, 3599, 2_592_001, "1h", "", "9" * 4000, 3600.5])
def test_expiry_beyond_the_limits_is_refused(seconds: Any) -> None:
    with pytest.raises(ClientFault) as caught:
        objects.expires_after("expires_after", "created_at", seconds)
    assert caught.value.param == "expires_after[seconds]"


def test_the_purpose_of_an_upload() -> None:
    assert objects.read_purpose({"purpose": "batch"}) == "batch"
    for fields, code in (({}, "missing_required_parameter"), ({"purpose": "batch_output"}, "invalid_value")):
        with pytest.raises(ClientFault) as caught:
            objects.read_purpose(fields)
        assert (caught.value.code, caught.value.param) == (code, "purpose")


@pytest.mark.parametrize("id", ["\udcff", "x" * 5000, "ü", "a\0b"])
def test_what_can_be_no_id_is_told_so_without_harm(id: str) -> None:  # noqa: A002
    assert not objects.may_be_id(id)
    for fault in (objects.no_such_file(id), objects.no_such_batch(id)):
        assert len(msgspec.json.encode(fault.envelope())) < 700
        assert fault.http_status == 404
