"""Records as rows of the Collector's span table, in ClickHouse's Native format; feedback in JSONEachRow.

Native, because the engine spends half of an insert on reading JSON, and next to nothing on this. It is made by column,
and the text of an attribute's value is the one that the Collector would have written.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any, Final

import msgspec

from ..record import CallRecord, Feedback
from ..spans import (
    SCOPE_NAME,
    SPAN_KIND,
    AttemptSpan,
    Attributes,
    attempt_spans,
    span_name,
    status,
    unchecked_attributes,
)
from .native import Block, add_strings


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
    kind: str
    run: str


SPAN_COLUMNS: Final = (
    *("Timestamp", "TraceId", "SpanId", "ParentSpanId", "TraceState", "SpanName", "SpanKind", "ServiceName"),
    *("ResourceAttributes", "ScopeName", "ScopeVersion", "SpanAttributes", "Duration", "StatusCode", "StatusMessage"),
    *("Links.TraceId", "Links.SpanId"),
)
"""Of `otel_traces_ingest`; the columns that are not here are empty."""
FEEDBACK_COLUMNS: Final = FeedbackRow.__struct_fields__

_INT64_MAX: Final = 2**63 - 1
_encoder: Final = msgspec.json.Encoder()

_AT_ONCE: Final = 50
"""Records whose attributes are made and written together: as many as fit into a processor's cache."""

_Links = list[tuple[str, str]]
_NO_LINKS: Final[_Links] = []
_Span = tuple[int, str, str, str, str, str, int, str, str, _Links]
"""Start, the three ids, trace state, name, duration, the status in two columns, the links."""


class SpanRows:
    """Makes rows for one service. `resource`: the resource attributes, `service.name` among them."""

    def __init__(self, resource: Mapping[str, str], scope_version: str) -> None:
        self._service = resource.get("service.name", "unknown_service")
        self._resource_names = tuple(resource)
        self._resource_values = bytearray()
        add_strings(self._resource_values, tuple(resource.values()))
        self._scope_version = scope_version

    def encode(self, records: Sequence[CallRecord]) -> bytes:
        """All spans of the records, their attempts' included, as one Native block; empty when there are none."""
        spans: list[_Span] = []
        names: list[tuple[str, ...]] = []
        values = bytearray()
        for start in range(0, len(records), _AT_ONCE):
            attributes: list[Attributes] = []
            for record in records[start : start + _AT_ONCE]:
                spans.append(_span(record))
                attributes.append(unchecked_attributes(record))
                for attempt in attempt_spans(record):
                    spans.append(_attempt_span(record, attempt))
                    attributes.append(attempt.attributes)
            names += map(tuple, attributes)
            add_strings(values, _texts(attributes))
        return self._block(spans, names, values) if spans else b""

    def _block(self, spans: Sequence[_Span], names: Sequence[tuple[str, ...]], values: bytearray) -> bytes:
        starts, traces, ids, parents, states, titles, durations, codes, messages, links = zip(*spans, strict=True)
        rows = len(spans)
        block = Block(len(SPAN_COLUMNS), rows)
        block.numbers("Timestamp", "DateTime64(9)", "q", starts)
        block.strings("TraceId", traces)
        block.strings("SpanId", ids)
        block.strings("ParentSpanId", parents)
        block.strings("TraceState", states)
        block.low_cardinality("SpanName", titles)
        block.low_cardinality("SpanKind", [SPAN_KIND] * rows)
        block.low_cardinality("ServiceName", [self._service] * rows)
        block.maps("ResourceAttributes", [self._resource_names] * rows, self._resource_values * rows)
        block.strings("ScopeName", [SCOPE_NAME] * rows)
        block.strings("ScopeVersion", [self._scope_version] * rows)
        block.maps("SpanAttributes", names, values)
        block.numbers("Duration", "UInt64", "Q", durations)
        block.low_cardinality("StatusCode", codes)
        block.strings("StatusMessage", messages)
        for place, name in enumerate(("Links.TraceId", "Links.SpanId")):
            block.string_arrays(name, [[link[place] for link in row] if row else () for row in links])
        return bytes(block.data)


def _span(record: CallRecord) -> _Span:
    code, message = status(record)
    return (
        _within(record.start_ns),
        record.trace_id,
        record.span_id,
        record.parent_span_id,
        record.trace_state,
        span_name(record),
        _within(record.end_ns - record.start_ns),
        code,
        message,
        record.links,
    )


def _attempt_span(record: CallRecord, attempt: AttemptSpan) -> _Span:
    return (
        _within(attempt.start_ns),
        record.trace_id,
        attempt.span_id,
        attempt.parent_span_id,
        record.trace_state,
        attempt.name,
        _within(attempt.end_ns - attempt.start_ns),
        attempt.status.code,
        attempt.status.message,
        _NO_LINKS,
    )


def _within(nanoseconds: int) -> int:
    """What a column of 64 bits can hold: a strange clock must not stop the records behind it."""
    return min(max(0, nanoseconds), _INT64_MAX)


def _texts(attributes: Iterable[Attributes]) -> list[str]:
    """The values of all rows, one after the other, as a Collector writes them: what is no text as JSON.

    A number that is none is empty.
    """
    values = list(chain.from_iterable(map(dict.values, attributes)))
    others = [value for value in values if value.__class__ is not str]
    try:
        lines = _encoder.encode_lines(others)
    except UnicodeEncodeError:
        lines = _encoder.encode_lines(_repaired(others))
    texts = iter(lines.decode().split("\n"))
    return [value if value.__class__ is str else text if (text := next(texts)) != "null" else "" for value in values]


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
                kind=item.kind,
                run=item.run,
            )
            for item in feedback
        ]
    )


def _seconds(at_ns: int) -> str:
    """Unix seconds with nine decimals: what DateTime64(9) reads without a loss, and a JSON number would not carry."""
    seconds, rest = divmod(max(0, at_ns), 1_000_000_000)
    return f"{seconds}.{rest:09d}"


def _lines(rows: Sequence[FeedbackRow]) -> bytes:
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
