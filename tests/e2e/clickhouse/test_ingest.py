"""What comes of a record, and of spans that others wrote: every column, once, with the text in one place only."""

from __future__ import annotations

import json
import secrets
import time
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from clickhouse_connect.driver.client import Client

from exporters.attributes import CONTENT, FIELDS
from exporters.clickhouse.sink import ClickHouseSink
from exporters.record import CallRecord, Feedback
from exporters.sink import Batch
from exporters.spans import span_attributes
from tests.e2e.clickhouse.spans_in import (
    COLLECTOR_COLUMNS,
    collector_row,
    fresh_record,
    generation,
    generations,
    insert_as_collector,
    spans,
)


def write(sink: ClickHouseSink, *records: CallRecord) -> None:
    sink.write(Batch(records[0].request_id, records))


def test_every_field_of_a_record_is_in_its_column(sink: ClickHouseSink, client: Client) -> None:
    record = fresh_record(error_type="timeout", error_message="Too slow.")
    write(sink, record)
    row = generation(client, record.trace_id)
    for field in FIELDS:
        assert row[field.column] == getattr(record, field.record), field
    assert row["span_id"] == record.span_id
    assert row["parent_span_id"] == record.parent_span_id
    assert row["service"] == "penstock"
    assert row["operation"] == "chat"
    assert row["duration_ms"] == 1000
    assert row["ttft_ms"] == pytest.approx(250)
    assert row["finish_reasons"] == record.finish_reasons
    assert row["tags"] == record.tags
    assert row["savings"] == record.savings
    assert row["response_headers"] == record.response_headers
    assert json.loads(row["parameters"]) == record.parameters
    assert row["attempts"] == 1


def test_timestamps_keep_their_nanoseconds(sink: ClickHouseSink, client: Client) -> None:
    start = time.time_ns() // 10**9 * 10**9 + 7
    record = fresh_record(start_ns=start, end_ns=start + 123)
    write(sink, record)
    asked = client.query(
        "SELECT toUnixTimestamp64Nano(Timestamp), Duration FROM otel_traces WHERE SpanId = {id:String}",
        parameters={"id": record.span_id},
    )
    assert asked.result_rows == [(start, 123)]


def test_columns_without_a_value_are_null_or_empty(sink: ClickHouseSink, client: Client) -> None:
    record = CallRecord(
        request_id="bare",
        trace_id="c" * 32,
        span_id="d" * 16,
        start_ns=time.time_ns(),
        end_ns=time.time_ns(),
        method="GET",
        path="/v1/models",
        outcome="answered",
        status=200,
    )
    write(sink, record)
    row = generation(client, record.trace_id)
    empty = {name: row[name] for name in ("cost", "cost_input", "input_tokens", "output_tokens", "ttft_ms")}
    assert set(empty.values()) == {None}
    assert (row["operation"], row["model"], row["tags"], row["finish_reasons"]) == ("", "", {}, [])


def test_the_text_is_stored_once(sink: ClickHouseSink, client: Client) -> None:
    record = fresh_record()
    write(sink, record)
    attributes = spans(client, record.trace_id)[0]["SpanAttributes"]
    assert not set(CONTENT) & set(attributes)
    assert attributes["penstock.content.stored"] == "generations"
    assert generation(client, record.trace_id)["input_messages"] == record.input_messages


def test_attributes_are_the_text_that_the_collector_would_write(sink: ClickHouseSink, client: Client) -> None:
    record = fresh_record(cost=1.5e-07, cost_input=0.00123, cost_output=12.0)
    write(sink, record)
    stored = spans(client, record.trace_id)[0]["SpanAttributes"]
    assert stored["gen_ai.request.stream"] == "true"
    assert stored["http.response.status_code"] == "200"
    assert float(stored["penstock.cost.usd"]) == 1.5e-07
    assert stored["penstock.cost.input.usd"] == "0.00123"
    assert stored["gen_ai.response.finish_reasons"] == '["tool_calls"]'
    expected = set(span_attributes(record)) - set(CONTENT) | {"penstock.content.stored"}
    assert set(stored) == expected


def test_an_attempt_is_a_child_span_and_no_generation(sink: ClickHouseSink, client: Client) -> None:
    record = fresh_record()
    write(sink, record)
    parent, child = spans(client, record.trace_id)
    assert child["ParentSpanId"] == parent["SpanId"] == record.span_id
    assert len(generations(client, record.trace_id)) == 1


def test_text_of_every_kind_survives(sink: ClickHouseSink, client: Client) -> None:
    text = json.dumps(
        "semi;colon 'quoted' \"double\" back\\slash \t tab \n newline \0 nul é 漢字 🎉 {x:String} -- #",
        ensure_ascii=False,
    )
    record = fresh_record(input_messages=text, user="o'brien\\n;\n\t")
    write(sink, record)
    row = generation(client, record.trace_id)
    assert (row["input_messages"], row["user"]) == (record.input_messages, record.user)


def test_a_lone_surrogate_does_not_lose_the_record(sink: ClickHouseSink, client: Client) -> None:
    record = msgspec.structs.replace(fresh_record(), output_messages='"\ud83d"', tags={"\udc00": "x"})
    write(sink, record)
    assert generation(client, record.trace_id)["output_messages"] == '"?"'


def test_the_collectors_own_table_fills_generations_too(client: Client) -> None:
    row = collector_row(
        {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "openai",
            "gen_ai.request.model": "gpt-5",
            "gen_ai.usage.input_tokens": "12",
            "gen_ai.usage.output_tokens": "34",
            "gen_ai.response.finish_reasons": '["stop","length"]',
            "gen_ai.input.messages": '[{"role":"user"}]',
        }
    )
    insert_as_collector(client, [row])
    found = generation(client, row["TraceId"])
    assert (found["service"], found["provider"], found["model"]) == ("their-app", "openai", "gpt-5")
    assert (found["input_tokens"], found["output_tokens"], found["cost"]) == (12, 34, None)
    assert found["finish_reasons"] == ["stop", "length"]
    assert (found["outcome"], found["content"], found["input_messages"]) == ("answered", "full", '[{"role":"user"}]')
    assert found["duration_ms"] == 1500
    span = spans(client, row["TraceId"])[0]
    assert span["Events.Name"] == ["first token"]
    assert span["Links.TraceId"] == row["Links.TraceId"]


def test_a_collector_that_writes_to_the_ingest_table_stores_text_once(client: Client) -> None:
    row = collector_row({"gen_ai.operation.name": "chat", "gen_ai.input.messages": "[1]"})
    insert_as_collector(client, [row], "otel_traces_ingest")
    assert generation(client, row["TraceId"])["input_messages"] == "[1]"
    span = spans(client, row["TraceId"])[0]
    assert "gen_ai.input.messages" not in span["SpanAttributes"]
    assert span["Events.Name"] == ["first token"]


@pytest.mark.parametrize(
    ("attributes", "column", "value"),
    [
        ({"gen_ai.system": "anthropic"}, "provider", "anthropic"),
        ({"gen_ai.system": "az.ai", "gen_ai.provider.name": "azure"}, "provider", "azure"),
        ({"gen_ai.usage.prompt_tokens": "7"}, "input_tokens", 7),
        ({"gen_ai.usage.completion_tokens": "8"}, "output_tokens", 8),
        ({"gen_ai.usage.cache_write.input_tokens": "9"}, "cache_write_tokens", 9),
        ({"session.id": "s"}, "session", "s"),
        ({"enduser.id": "u"}, "user", "u"),
        ({"error.type": "timeout"}, "outcome", "failed"),
        ({"gen_ai.usage.input_tokens": "many"}, "input_tokens", None),
        ({"gen_ai.response.finish_reasons": "stop"}, "finish_reasons", []),
    ],
)
def test_other_spellings_are_understood(client: Client, attributes: dict[str, str], column: str, value: object) -> None:
    row = collector_row({"gen_ai.operation.name": "chat"} | attributes)
    insert_as_collector(client, [row])
    assert generation(client, row["TraceId"])[column] == value


@pytest.mark.parametrize(
    "attributes", [{"http.request.method": "GET"}, {"gen_ai.operation.name": "invoke_agent"}, {"gen_ai.system": "x"}]
)
@pytest.mark.parametrize("table", ["otel_traces", "otel_traces_ingest"])
def test_other_spans_are_kept_as_they_are(client: Client, attributes: dict[str, str], table: str) -> None:
    row = collector_row(attributes | {"gen_ai.input.messages": "[2]"})
    insert_as_collector(client, [row], table)
    assert generations(client, row["TraceId"]) == []
    assert spans(client, row["TraceId"])[0]["SpanAttributes"] == row["SpanAttributes"]


def test_the_trace_index_spans_the_whole_trace(sink: ClickHouseSink, client: Client) -> None:
    record = fresh_record()
    write(sink, record)
    asked = client.query(
        "SELECT min(Start), max(End) FROM otel_traces_trace_id_ts WHERE TraceId = {id:String}",
        parameters={"id": record.trace_id},
    )
    start, end = asked.result_rows[0]
    assert start.timestamp() <= record.start_ns / 1e9 < end.timestamp() + 1


def test_the_tables_are_the_collectors(client: Client) -> None:
    columns = [row[0] for row in client.query("DESCRIBE TABLE otel_traces").result_rows]
    assert columns == COLLECTOR_COLUMNS
    ingest = [row[:2] for row in client.query("DESCRIBE TABLE otel_traces_ingest").result_rows]
    assert ingest == [row[:2] for row in client.query("DESCRIBE TABLE otel_traces").result_rows]


def test_the_minute_knows_sums_and_quantiles(sink: ClickHouseSink, client: Client) -> None:
    model = fresh_record().request_id
    sink.write(
        Batch(
            model,
            [
                fresh_record(request_model=model),
                fresh_record(request_model=model, status=500),
                fresh_record(request_model=model, cost=None, usage_source="estimated"),
                fresh_record(request_model=model, outcome="abandoned", stream=False),
            ],
        )
    )
    asked = client.query(
        "SELECT sum(requests), sum(errors), sum(input_tokens), sum(cached_tokens), round(sum(cost), 6), "
        "sum(cost_unknown), sum(usage_estimated), round(sum(saved), 6), "
        "quantilesTDigestMerge(0.5, 0.9, 0.95, 0.99)(duration_ms)[1], "
        "quantilesTDigestMerge(0.5, 0.9, 0.95, 0.99)(ttft_ms)[1] "
        "FROM generations_by_minute WHERE model = {model:String}",
        parameters={"model": model},
    )
    assert asked.result_rows == [(4, 1, 400, 160, 1.5, 1, 1, 1.0, 1000.0, 250.0)]


def test_feedback_is_kept_once_by_its_id(sink: ClickHouseSink, client: Client) -> None:
    item = Feedback(
        id="feedback-1",
        at_ns=time.time_ns(),
        request_id="r1",
        response_id="chatcmpl-1",
        score=0.5,
        label="good",
        comment="It's; fine",
        correction='[{"role":"assistant"}]',
        key_id="team",
        user="alice",
    )
    for token in ("one", "two"):
        sink.write(Batch(token, [], [item]))
    row = next(iter(client.query("SELECT * FROM feedback FINAL WHERE id = 'feedback-1'").named_results()))
    for name in ("request_id", "response_id", "name", "score", "label", "comment", "correction", "key_id", "user"):
        assert row[name] == getattr(item, name), name


def test_bytes_on_disk_for_a_record(sink: ClickHouseSink, client: Client) -> None:
    """A record of 2 KB of incompressible text takes little more than that text, over all tables.

    On a day of its own: parts of other days may be merged meanwhile, and become smaller.
    """
    text, day = 2000, datetime.now(UTC).replace(hour=12) - timedelta(days=70)
    start = int(day.timestamp()) * 10**9
    contents = [{"input_messages": noise(text // 2), "output_messages": noise(text // 2)} for _ in range(500)]
    records = [fresh_record(start_ns=start, end_ns=start + 10**9, attempts=[], **content) for content in contents]
    before = on_disk(client, day)
    sink.write(Batch("noise", records))
    used = (on_disk(client, day) - before) / len(records)
    # Hexadecimal digits carry half a byte each, so the text alone is 1,000 bytes; twice would be over 2,000.
    assert 1000 < used < 1700


def noise(digits: int) -> str:
    return json.dumps(secrets.token_hex(digits // 2))


def on_disk(client: Client, day: datetime) -> int:
    """Of the day, and of its month where that is kept together."""
    asked = client.query(
        "SELECT sum(bytes_on_disk) FROM system.parts WHERE active AND database = 'penstock' AND partition IN "
        f"('{day:%Y-%m-%d}', '{day:%Y%m}')"
    )
    return int(asked.result_rows[0][0])
