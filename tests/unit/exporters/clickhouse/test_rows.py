"""Records as rows of the Collector's span table."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporters.clickhouse.rows import FEEDBACK_COLUMNS, SPAN_COLUMNS, SpanRows, encode_feedback
from exporters.record import Feedback
from exporters.spans import span_attributes
from tests.unit.exporters.a_record import START_NS, attempt, record

ROWS = SpanRows({"service.name": "penstock", "host.name": "h"}, "1.2.3")


def decoded(data: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in data.splitlines()]


def test_a_record_is_its_span_and_one_for_each_attempt() -> None:
    made = record(attempts=[attempt(span_id="c" * 16, error_type="reset", status=0), attempt()])
    span, first, second = decoded(ROWS.encode([made]))
    assert tuple(span) == SPAN_COLUMNS == tuple(first)
    assert span["Timestamp"] == f"{START_NS // 10**9}.{START_NS % 10**9:09d}"
    assert (span["TraceId"], span["SpanId"], span["ParentSpanId"]) == ("1" * 32, "2" * 16, "3" * 16)
    assert (span["SpanName"], span["SpanKind"], span["TraceState"]) == ("chat gpt-4o-mini", "Client", "vendor=value")
    assert (span["ServiceName"], span["ScopeName"], span["ScopeVersion"]) == ("penstock", "penstock", "1.2.3")
    assert span["ResourceAttributes"] == {"service.name": "penstock", "host.name": "h"}
    assert (span["Duration"], span["StatusCode"], span["StatusMessage"]) == (10**9, "Unset", "")
    assert span["SpanAttributes"] == span_attributes(made)
    assert [row["ParentSpanId"] for row in (first, second)] == ["2" * 16] * 2
    assert [row["SpanId"] for row in (first, second)] == ["c" * 16, "b" * 16]
    assert (first["StatusCode"], second["StatusCode"]) == ("Error", "Unset")


@given(st.integers(min_value=0, max_value=2**62), st.integers(min_value=-5, max_value=2**40))
def test_times_lose_nothing(start: int, lasted: int) -> None:
    (row,) = decoded(ROWS.encode([record(start_ns=start, end_ns=start + lasted, attempts=[])]))
    seconds, _, rest = row["Timestamp"].partition(".")
    assert (int(seconds) * 10**9 + int(rest), len(rest)) == (start, 9)
    assert row["Duration"] == max(0, lasted)


@pytest.mark.parametrize("field", ["input_messages", "user", "error_message"])
def test_a_lone_surrogate_is_replaced_and_only_that(field: str) -> None:
    good, bad = record(), msgspec.structs.replace(record(), **{field: "a\ud83db"})
    rows = decoded(ROWS.encode([good, bad]))
    assert rows[0] == decoded(ROWS.encode([good]))[0]
    assert "a?b" in rows[2]["SpanAttributes"].values()


def test_the_lines_are_valid_whatever_the_text() -> None:
    (row, _) = decoded(ROWS.encode([record(input_messages='a\nb\0"\\漢')]))
    assert row["SpanAttributes"]["gen_ai.input.messages"] == 'a\nb\0"\\漢'


def test_feedback_rows() -> None:
    item = Feedback(id="f", at_ns=1_500_000_001, score=None, comment="c\nd", correction=None)
    (row,) = decoded(encode_feedback([item]))
    assert tuple(row) == FEEDBACK_COLUMNS
    assert (row["timestamp"], row["id"], row["score"], row["comment"]) == ("1.500000001", "f", None, "c\nd")


def test_nothing_is_nothing() -> None:
    assert ROWS.encode([]) == b""
