"""Records and Collector rows with ids of their own, and what became of them."""

from __future__ import annotations

import secrets
import time
from typing import Any

from clickhouse_connect.driver.client import Client

from exporters.record import Attempt, CallRecord
from tests.unit.exporters import a_record

COLLECTOR_COLUMNS = [
    *("Timestamp", "TraceId", "SpanId", "ParentSpanId", "TraceState", "SpanName", "SpanKind", "ServiceName"),
    *("ResourceAttributes", "ScopeName", "ScopeVersion", "SpanAttributes", "Duration", "StatusCode", "StatusMessage"),
    *("Events.Timestamp", "Events.Name", "Events.Attributes"),
    *("Links.TraceId", "Links.SpanId", "Links.TraceState", "Links.Attributes"),
]
"""The column list of the INSERT of the Collector's ClickHouse exporter, in its order."""


def fresh_record(**changes: Any) -> CallRecord:
    """Complete, with new ids, begun just now."""
    now = time.time_ns()
    attempt = Attempt(
        span_id=secrets.token_hex(8),
        upstream="openai",
        address="api.openai.com",
        port=443,
        start_ns=now + 1_000_000,
        end_ns=now + 900_000_000,
        status=200,
    )
    given: dict[str, Any] = {
        "request_id": secrets.token_hex(16),
        "trace_id": secrets.token_hex(16),
        "span_id": secrets.token_hex(8),
        "response_id": f"chatcmpl-{secrets.token_hex(8)}",
        "start_ns": now,
        "first_token_ns": now + 250_000_000,
        "end_ns": now + 1_000_000_000,
        "attempts": [attempt],
    }
    return a_record.record(**given | changes)


def fresh_records(count: int) -> list[CallRecord]:
    return [fresh_record() for _ in range(count)]


def collector_row(attributes: dict[str, str], **changes: Any) -> dict[str, Any]:
    """A span as the Collector's exporter hands it to clickhouse-go: text attributes, one event, one link."""
    now = time.time_ns()
    row: dict[str, Any] = {
        "Timestamp": now,
        "TraceId": secrets.token_hex(16),
        "SpanId": secrets.token_hex(8),
        "ParentSpanId": "",
        "TraceState": "",
        "SpanName": "chat gpt-5",
        "SpanKind": "Client",
        "ServiceName": "their-app",
        "ResourceAttributes": {"service.name": "their-app", "telemetry.sdk.language": "go"},
        "ScopeName": "opentelemetry.instrumentation.openai",
        "ScopeVersion": "2.1",
        "SpanAttributes": attributes,
        "Duration": 1_500_000_000,
        "StatusCode": "Unset",
        "StatusMessage": "",
        "Events.Timestamp": [now],
        "Events.Name": ["first token"],
        "Events.Attributes": [{"n": "1"}],
        "Links.TraceId": [secrets.token_hex(16)],
        "Links.SpanId": [secrets.token_hex(8)],
        "Links.TraceState": [""],
        "Links.Attributes": [{}],
    }
    return row | changes


def insert_as_collector(client: Client, rows: list[dict[str, Any]], table: str = "otel_traces") -> None:
    client.insert(table, [[row[name] for name in COLLECTOR_COLUMNS] for row in rows], column_names=COLLECTOR_COLUMNS)


def generation(client: Client, trace_id: str) -> dict[str, Any]:
    """The one row of `generations` of this trace."""
    rows = generations(client, trace_id)
    assert len(rows) == 1
    return rows[0]


def generations(client: Client, trace_id: str) -> list[dict[str, Any]]:
    found = client.query("SELECT * FROM generations WHERE trace_id = {id:String}", parameters={"id": trace_id})
    return [dict(row) for row in found.named_results()]


def spans(client: Client, trace_id: str) -> list[dict[str, Any]]:
    """Its rows of `otel_traces`, oldest first."""
    found = client.query(
        "SELECT * FROM otel_traces WHERE TraceId = {id:String} ORDER BY Timestamp", parameters={"id": trace_id}
    )
    return [dict(row) for row in found.named_results()]


TOTALS = {
    "otel_traces": "count()",
    "otel_traces_trace_id_ts": "count()",
    "generations": "count()",
    "generations_by_minute": "sum(requests)",
    "savings_by_minute": "sum(calls)",
}


def totals(client: Client) -> dict[str, int]:
    """How much each table holds: spans, traces, generations, the requests and the savings that the rollups count."""
    return {
        table: int(client.query(f"SELECT {expression} FROM {table}").result_rows[0][0])
        for table, expression in TOTALS.items()
    }
