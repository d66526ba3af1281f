"""A generation as a line: every column by its name, messages as values, and text that JSON cannot say."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporters.attributes import FIELDS
from exporters.datasets.selecting.shapes import row_of
from exporters.generation_line import generation_line, iso
from exporters.messages import from_chat
from tests.unit.exporters.a_record import INPUT, OUTPUT, START_NS, record


def line_of(with_content: bool = True, **changes: Any) -> dict[str, Any]:
    data = generation_line(record(**changes), "penstock", with_content=with_content)
    assert data.endswith(b"\n")
    assert data.count(b"\n") == 1
    found: dict[str, Any] = json.loads(data)
    return found


def test_every_column_of_generations_is_there_in_the_schemas_words() -> None:
    made = {"timestamp", "trace_id", "span_id", "parent_span_id", "service", "operation", "duration_ms", "ttft_ms"}
    families = {"finish_reasons", "tags", "savings", "response_headers", "parameters", "attempts"}
    assert line_of().keys() == made | families | {field.column for field in FIELDS}


def test_values_are_those_of_the_record() -> None:
    line = line_of()
    assert line["timestamp"] == "2026-11-23T02:29:38.000000000Z"
    assert (line["model"], line["response_model"]) == ("gpt-4o-mini", "gpt-4o-mini-2024-07-18")
    assert (line["duration_ms"], line["ttft_ms"], line["attempts"]) == (1000.0, 250.0, 1)
    assert (line["operation"], line["service"], line["cost"]) == ("chat", "penstock", 0.5)
    assert line["tags"] == {"team": "blue", "env": "prod"}
    assert line["input_messages"] == INPUT
    assert line["output_messages"] == OUTPUT
    assert line["parameters"]["max_tokens"] == 100


def test_what_is_not_known_is_null_and_the_first_token_is_that_of_streams() -> None:
    line = line_of(cost=None, input_tokens=None, input_messages=None, stream=False)
    assert [line[name] for name in ("cost", "input_tokens", "input_messages", "ttft_ms")] == [None] * 4


def test_without_content_there_is_none() -> None:
    data = generation_line(record(), "penstock", with_content=False)
    assert b"Paris" not in data
    assert b"Be brief" not in data
    assert json.loads(data)["content"] == "off"


def test_line_ends_within_messages_do_not_end_the_line() -> None:
    assert line_of(input_messages=json.dumps(INPUT, indent=2))["input_messages"] == INPUT


@pytest.mark.parametrize(
    ("text", "read"),
    [("no json", "no json"), ('["\\ud800"]', ["?"]), ("[\udcff]", "[?]"), ("[" * 100_000, "[" * 100_000)],
    ids=["not JSON", "an escaped lone surrogate", "a lone surrogate", "nested without end"],
)
def test_what_is_no_proper_json_is_mended_or_a_string(text: str, read: Any) -> None:
    assert line_of(output_messages=text)["output_messages"] == read


def test_a_lone_surrogate_elsewhere_is_mended() -> None:
    line = line_of(path="/v1/\udce9", tags={"a\udcff": "b\udcff"})
    assert (line["path"], line["tags"]) == ("/v1/?", {"a?": "b?"})


def test_strange_clocks_do_not_stop_the_line() -> None:
    line = line_of(start_ns=2**63, end_ns=0)
    assert line["duration_ms"] == 0
    assert iso(-5).startswith("1970-01-01T00:00:00")


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), st.integers(0, 4 * 10**18))
def test_datasets_read_a_line_as_the_row_that_the_store_has(said: str, at_ns: int) -> None:
    messages = from_chat([{"role": "user", "content": said}])
    changes = {"input_messages": json.dumps(messages), "start_ns": at_ns, "end_ns": at_ns}
    row = row_of(json.loads(generation_line(record(**changes), "penstock")), "x", lambda _: None)
    assert (row.request_id, row.timestamp_ns) == ("0" * 31 + "1", at_ns)
    assert json.loads(row.input_messages) == messages
    assert (row.model, row.user, row.cost, row.tags) == ("gpt-4o-mini", "alice", 0.5, {"team": "blue", "env": "prod"})


def test_datasets_know_a_line_without_content() -> None:
    row = row_of(json.loads(generation_line(record(start_ns=START_NS), "p", with_content=False)), "x", lambda _: None)
    assert (row.content, row.input_messages) == ("off", "")
