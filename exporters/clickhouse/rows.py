"""Records as rows of the Collector's span table, in JSONEachRow.

The attributes go out as they are: ClickHouse itself turns numbers, truth values and arrays into the text that the
Collector would have written (settings `input_format_json_read_*_as_strings`, see `SETTINGS`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from ..record import CallRecord, Feedback
from ..spans import SCOPE_NAME, SPAN_KIND, AttemptSpan, attempt_spans, span_attributes, span_name, status

SETTINGS: Final = {
    "input_format_json_read_numbers_as_strings": 1,
    "input_format_json_read_bools_as_strings": 1,
    "input_format_json_read_arrays_as_strings": 1,
    "input_format_null_as_default": 1,
}


class SpanRow(msgspec.Struct, kw_only=True, gc=False):
    """A row of `otel_traces_ingest`; the columns that are not here (events, links) are empty."""

    Timestamp: str
    TraceId: str
    SpanId: str
    ParentSpanId: str
    TraceState: str
    SpanName: str
    SpanKind: str = SPAN_KIND
    ServiceName: str
    ResourceAttributes: msgspec.Raw
    ScopeName: str = SCOPE_NAME
    ScopeVersion: str
    SpanAttributes: dict[str, Any]
    Duration: int
    StatusCode: str
    StatusMessage: str


class FeedbackRow(msgspec.Struct, kw_only=True, gc=False):
    """A row of `feedback`."""

    timestamp: str
    id: str
    request_id: str
    response_id: str
    name: str
    score: float | None
    label: str
    comment: str
    correction: str | None
    key_id: str
    user: str


SPAN_COLUMNS: Final = SpanRow.__struct_fields__
FEEDBACK_COLUMNS: Final = FeedbackRow.__struct_fields__

_encoder: Final = msgspec.json.Encoder()


class SpanRows:
    """Makes rows for one service. `resource`: the resource attributes, `service.name` among them."""

    def __init__(self, resource: Mapping[str, str], scope_version: str) -> None:
        self._service = resource.get("service.name", "unknown_service")
        self._resource = msgspec.Raw(_encoder.encode(dict(resource)))
        self._scope_version = scope_version

    def encode(self, records: Sequence[CallRecord]) -> bytes:
        """All spans of the records, their attempts' included, one JSON object a line."""
        return _lines([row for record in records for row in self._rows(record)])

    def _rows(self, record: CallRecord) -> Iterator[SpanRow]:
        code, message = status(record)
        yield SpanRow(
            Timestamp=_seconds(record.start_ns),
            TraceId=record.trace_id,
            SpanId=record.span_id,
            ParentSpanId=record.parent_span_id,
            TraceState=record.trace_state,
            SpanName=span_name(record),
            ServiceName=self._service,
            ResourceAttributes=self._resource,
            ScopeVersion=self._scope_version,
            SpanAttributes=span_attributes(record),
            Duration=max(0, record.end_ns - record.start_ns),
            StatusCode=code,
            StatusMessage=message,
        )
        for attempt in attempt_spans(record):
            yield self._attempt_row(record, attempt)

    def _attempt_row(self, record: CallRecord, attempt: AttemptSpan) -> SpanRow:
        return SpanRow(
            Timestamp=_seconds(attempt.start_ns),
            TraceId=record.trace_id,
            SpanId=attempt.span_id,
            ParentSpanId=attempt.parent_span_id,
            TraceState=record.trace_state,
            SpanName=attempt.name,
            ServiceName=self._service,
            ResourceAttributes=self._resource,
            ScopeVersion=self._scope_version,
            SpanAttributes=attempt.attributes,
            Duration=attempt.end_ns - attempt.start_ns,
            StatusCode=attempt.status.code,
            StatusMessage=attempt.status.message,
        )


def encode_feedback(feedback: Sequence[Feedback]) -> bytes:
    """One JSON object a line."""
    return _lines(
        [
            FeedbackRow(
                timestamp=_seconds(item.at_ns),
                id=item.id,
                request_id=item.request_id,
                response_id=item.response_id,
                name=item.name,
                score=item.score,
                label=item.label,
                comment=item.comment,
                correction=item.correction,
                key_id=item.key_id,
                user=item.user,
            )
            for item in feedback
        ]
    )


def _seconds(at_ns: int) -> str:
    """Unix seconds with nine decimals: what DateTime64(9) reads without a loss, and a JSON number would not carry."""
    seconds, rest = divmod(max(0, at_ns), 1_000_000_000)
    return f"{seconds}.{rest:09d}"


def _lines(rows: Sequence[SpanRow] | Sequence[FeedbackRow]) -> bytes:
    try:
        return _encoder.encode_lines(rows)
    except UnicodeEncodeError:
        # A lone surrogate, which JSON can name and UTF-8 cannot say.
        return _encoder.encode_lines(_repaired(msgspec.to_builtins(list(rows))))


def _repaired(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_repaired(key): _repaired(item) for key, item in value.items()}
    return [_repaired(item) for item in value] if isinstance(value, list) else value
