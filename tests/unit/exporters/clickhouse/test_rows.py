"""Records as rows of the Collector's span table."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from clickhouse_connect.driver.buffer import ResponseBuffer
from clickhouse_connect.driver.query import QueryContext
from clickhouse_connect.driver.transform import NativeTransform
from hypothesis import given
from hypothesis import strategies as st

from exporters.clickhouse.rows import FEEDBACK_COLUMNS, SPAN_COLUMNS, SpanRows, encode_feedback
from exporters.record import Feedback
from exporters.spans import span_attributes
from tests.unit.exporters.a_record import START_NS, attempt, record

ROWS = SpanRows({"service.name": "penstock", "host.name": "h"}, "1.2.3")


def lines(data: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in data.splitlines()]


def decoded(data: bytes) -> list[dict[str, Any]]:
    """The rows of a Native block, as ClickHouse's own driver reads it; times as nanoseconds."""
    if not data:
        return []
    source: Any = SimpleNamespace(gen=iter([data]), close=lambda: None, last_message=None)
    buffer: Any = ResponseBuffer(source)  # type: ignore[no-untyped-call]
    result: Any = NativeTransform.parse_response(buffer, QueryContext(query_formats={"DateTime64": "int"}))
    return [dict(zip(result.column_names, row, strict=True)) for row in result.result_rows]


def texts(attributes: dict[str, Any]) -> dict[str, str]:
    """As a Collector writes them."""
    return {
        name: value if isinstance(value, str) else msgspec.json.encode(value).decode()
        for name, value in attributes.items()
    }


def test_a_record_is_its_span_and_one_for_each_attempt() -> None:
    made = record(attempts=[attempt(span_id="c" * 16, error_type="reset", status=0), attempt()])
    span, first, second = decoded(ROWS.encode([made]))
    assert tuple(span) == SPAN_COLUMNS == tuple(first)
    assert span["Timestamp"] == START_NS
    assert (span["TraceId"], span["SpanId"], span["ParentSpanId"]) == ("1" * 32, "2" * 16, "3" * 16)
    assert (span["SpanName"], span["SpanKind"], span["TraceState"]) == ("chat gpt-4o-mini", "Client", "vendor=value")
    assert (span["ServiceName"], span["ScopeName"], span["ScopeVersion"]) == ("penstock", "penstock", "1.2.3")
    assert span["ResourceAttributes"] == {"service.name": "penstock", "host.name": "h"}
    assert (span["Duration"], span["StatusCode"], span["StatusMessage"]) == (10**9, "Unset", "")
    assert span["SpanAttributes"] == texts(span_attributes(made))
    assert [row["ParentSpanId"] for row in (first, second)] == ["2" * 16] * 2
    assert [row["SpanId"] for row in (first, second)] == ["c" * 16, "b" * 16]
    assert (first["StatusCode"], second["StatusCode"]) == ("Error", "Unset")


@given(st.integers(min_value=0, max_value=2**62), st.integers(min_value=-5, max_value=2**40))
def test_times_lose_nothing(start: int, lasted: int) -> None:
    (row,) = decoded(ROWS.encode([record(start_ns=start, end_ns=start + lasted, attempts=[])]))
    assert row["Timestamp"] == start
    assert row["Duration"] == max(0, lasted)


@pytest.mark.parametrize("field", ["input_messages", "user", "error_message"])
def test_a_lone_surrogate_is_replaced_and_only_that(field: str) -> None:
    good, bad = record(), msgspec.structs.replace(record(), **{field: "a\ud83db"})
    rows = decoded(ROWS.encode([good, bad]))
    assert rows[0] == decoded(ROWS.encode([good]))[0]
    assert "a?b" in rows[2]["SpanAttributes"].values()


def test_the_text_is_kept_whatever_it_is() -> None:
    (row, _) = decoded(ROWS.encode([record(input_messages='a\nb\0"\\漢')]))
    assert row["SpanAttributes"]["gen_ai.input.messages"] == 'a\nb\0"\\漢'


def test_a_clock_beyond_all_bounds_is_cut_to_them() -> None:
    (row,) = decoded(ROWS.encode([record(start_ns=-(2**63), end_ns=2**63, attempts=[])]))
    assert (row["Timestamp"], row["Duration"]) == (0, 2**63 - 1)


@pytest.mark.parametrize("names", [1, 300, 70_000])
def test_many_names_of_attributes(names: int) -> None:
    """Their dictionary is counted in one, two and four bytes."""
    tags = {f"n{number}": str(number) for number in range(names)}
    (row, plain) = decoded(ROWS.encode([record(tags=tags, attempts=[]), record(attempts=[])]))
    assert {f"penstock.tag.{name}": value for name, value in tags.items()}.items() <= row["SpanAttributes"].items()
    assert plain["SpanAttributes"] == texts(span_attributes(record(attempts=[])))


def test_more_records_than_are_written_at_once() -> None:
    made = [record(user=f"u{number}" * (number % 40), attempts=[attempt()] * (number % 3)) for number in range(250)]
    rows = decoded(ROWS.encode(made))
    assert [row["SpanAttributes"] for row in rows if row["SpanName"] != "POST"] == [
        texts(span_attributes(one)) for one in made
    ]
    assert len(rows) == sum(1 + len(one.attempts) for one in made)


def test_a_surrogate_in_an_array_or_a_name_is_replaced() -> None:
    odd = record(finish_reasons=["a\ud83d"], tags={"t\ud83d": "x"}, attempts=[])
    (row,) = decoded(ROWS.encode([odd]))
    assert row["SpanAttributes"]["gen_ai.response.finish_reasons"] == '["a?"]'
    assert row["SpanAttributes"]["penstock.tag.t?"] == "x"


def test_what_is_no_number_is_empty() -> None:
    (row,) = decoded(ROWS.encode([record(cost=float("nan"), attempts=[])]))
    assert row["SpanAttributes"]["penstock.cost.usd"] == ""


def test_feedback_rows() -> None:
    item = Feedback(id="f", at_ns=1_500_000_001, score=None, comment="c\nd", correction=None)
    (row,) = lines(encode_feedback([item]))
    assert tuple(row) == FEEDBACK_COLUMNS
    assert (row["timestamp"], row["id"], row["score"], row["comment"]) == ("1.500000001", "f", None, "c\nd")
    assert (row["kind"], row["run"]) == ("feedback", "")
    (judged,) = lines(encode_feedback([Feedback(id="f", at_ns=1, kind="evaluation", run="e1")]))
    assert (judged["kind"], judged["run"]) == ("evaluation", "e1")


def test_nothing_is_nothing() -> None:
    assert ROWS.encode([]) == b""
