"""A call that was put off, on the real engine: two spans or more, one generation, counted and found once."""

from __future__ import annotations

import secrets
from typing import Any

from clickhouse_connect.driver.client import Client

from exporters.clickhouse.sink import ClickHouseSink
from exporters.sink import Batch
from proxy.commands import savings
from proxy.commands.batch import saved_by
from proxy.commands.filters import Filters
from proxy.commands.store import Query
from proxy.lookup import lookup
from tests.e2e.clickhouse.spans_in import fresh_record, generation, generations, spans
from tests.stores import Store

NOTHING_BOUGHT: dict[str, Any] = {
    "cost": None,
    "input_tokens": None,
    "output_tokens": None,
    "usage_source": "",
    "savings": {},
    "batch_id": "",
    "attempts": [],
}


def test_a_held_call_is_one_generation_with_the_id_that_its_caller_knows(
    sink: ClickHouseSink, client: Client, store: Store
) -> None:
    batch = fresh_record(kind="batch", endpoint="other", parameters={"total": 1}, attempts=[])
    held = fresh_record(kind="deferral", item_id="item_1", **NOTHING_BOUGHT)
    answer = fresh_record(
        request_id=held.request_id,
        trace_id=held.trace_id,
        parent_span_id=held.span_id,
        item_id="item_1",
        batch_id=f"batch_{secrets.token_hex(4)}",
        attempts=[],
        links=[(batch.trace_id, batch.span_id)],
    )
    sink.write(Batch(held.request_id, [held, answer, batch]))
    found = {row["SpanId"]: row for row in spans(client, held.trace_id)}
    assert set(found) == {held.span_id, answer.span_id}
    assert found[answer.span_id]["Links.TraceId"] == [batch.trace_id]
    assert found[answer.span_id]["Links.SpanId"] == [batch.span_id]
    assert found[answer.span_id]["Links.Attributes"] == [{}]
    assert found[held.span_id]["Links.TraceId"] == []
    assert found[held.span_id]["SpanAttributes"]["penstock.item.id"] == "item_1"
    row = generation(client, held.trace_id)
    assert (row["span_id"], row["request_id"], row["batch_id"]) == (answer.span_id, held.request_id, answer.batch_id)
    assert len(spans(client, batch.trace_id)) == 1
    assert generations(client, batch.trace_id) == []
    seen = lookup(store.url("reader"))(held.request_id)
    assert seen is not None
    assert seen["cost"] == answer.cost


def asking(client: Client) -> Query:
    return lambda sql, values: [*client.query(sql, parameters=dict(values)).named_results()]


def test_what_batch_and_flex_saved_is_shown(sink: ClickHouseSink, client: Client) -> None:
    user = secrets.token_hex(8)
    made = [fresh_record(user=user, savings={name: 0.25}, cost=0.25) for name in ("batch", "flex")]
    sink.write(Batch(user, made))
    rows = savings.select(asking(client), "", Filters(user=user), 10)
    assert {row["strategy"]: row["saved"] for row in rows} == {"batch": 0.25, "flex": 0.25}


def test_what_each_batch_saved_is_summed_up_over_its_lines(sink: ClickHouseSink, client: Client) -> None:
    one, other, unpriced = (f"batch_{secrets.token_hex(8)}" for _ in range(3))
    lines = [fresh_record(batch_id=one, savings={"batch": 0.25}) for _ in range(2)]
    lines += [fresh_record(batch_id=other, savings={"batch": 1.0}), fresh_record(batch_id=unpriced, cost=None)]
    sink.write(Batch(one, lines))
    assert saved_by(asking(client), [one, other, unpriced, "nobody's"]) == {one: 0.5, other: 1.0}
