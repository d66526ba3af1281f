"""From a priced record to the ledger: what was saved is there once; what was not bought is in no sum of purchases."""

from __future__ import annotations

import re
import secrets
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client

from exporters.clickhouse.sink import ClickHouseSink
from exporters.record import CallRecord
from exporters.sink import Batch
from proxy.metering.complete import price
from proxy.metering.prices import Prices
from proxy.settings import Price
from tests.e2e.clickhouse.spans_in import fresh_record

PRICES = Prices({"*": Price(input=2.0, cached=0.5, output=10.0)})
BOUGHT = (600 * 2.0 + 400 * 0.5 + 100 * 10.0) / 1e6
"""USD of each of these calls when it is bought."""


@pytest.fixture
def key() -> str:
    """Each test looks at the calls of a key of its own."""
    return secrets.token_hex(6)


def call(key: str, cache_status: str, **changes: Any) -> CallRecord:
    outcome = "cached" if cache_status in ("hit", "semantic", "coalesced") else "answered"
    given: dict[str, Any] = {
        "key_id": key,
        "cache_status": cache_status,
        "outcome": outcome,
        "input_tokens": 1000,
        "cached_tokens": 400,
        "cache_write_tokens": None,
        "output_tokens": 100,
        "reasoning_tokens": None,
        "input_audio_tokens": None,
        "output_audio_tokens": None,
        "input_image_tokens": None,
        "batch_id": "",
        "savings": {},
    }
    return price(fresh_record(**given | changes), PRICES)


def ledger(client: Client, key: str, columns: str = "strategy, sum(calls), sum(usd), sum(paid)") -> dict[str, Any]:
    rows = client.query(
        f"SELECT {columns} FROM savings WHERE key_id = {{key:String}} GROUP BY strategy", parameters={"key": key}
    ).result_rows
    return {row[0]: row[1:] for row in rows}


def sums(client: Client, key: str, table: str, columns: str) -> tuple[Any, ...]:
    asked = client.query(f"SELECT {columns} FROM {table} WHERE key_id = {{key:String}}", parameters={"key": key})
    return tuple(asked.result_rows[0])


def mixed(key: str) -> list[CallRecord]:
    """Four questions that were paid for twice over: one miss, a stranger to the cache, and six that were not bought."""
    statuses = ["miss", "", "hit", "hit", "hit", "semantic", "coalesced"]
    left = call(key, "coalesced", outcome="abandoned")
    return [*(call(key, status) for status in statuses), left]


def test_each_saving_is_in_the_ledger_once(sink: ClickHouseSink, client: Client, key: str) -> None:
    batch = Batch(f"savings-{key}", mixed(key))
    for _ in range(2):
        sink.write(batch)
    found = ledger(client, key)
    assert {strategy: row[0] for strategy, row in found.items()} == {
        "response_cache": 4,
        "coalescing": 2,
        "provider_cache": 2,
    }
    assert found["response_cache"][1:] == (pytest.approx(4 * BOUGHT), 0)
    assert found["coalescing"][1:] == (pytest.approx(2 * BOUGHT), 0)
    assert found["provider_cache"][1:] == (pytest.approx(2 * 400 * 1.5 / 1e6), pytest.approx(2 * BOUGHT))
    assert sums(client, key, "generations", "sum(saved)") == (pytest.approx(sum(row[1] for row in found.values())),)


def test_a_second_batch_adds_to_the_same_row(sink: ClickHouseSink, client: Client, key: str) -> None:
    """One row for a minute and its labels, merged or not."""
    at = call(key, "hit").start_ns
    for number in range(2):
        sink.write(Batch(f"more-{number}-{key}", [call(key, "hit", start_ns=at) for _ in range(3)]))
    rows = client.query("SELECT calls, usd FROM savings WHERE key_id = {key:String}", parameters={"key": key})
    assert rows.result_rows == [(6, pytest.approx(6 * BOUGHT))]


@pytest.mark.parametrize("table", ["generations", "generations_by_minute"])
def test_what_was_not_bought_is_in_no_sum_of_purchases(
    sink: ClickHouseSink, client: Client, key: str, table: str
) -> None:
    sink.write(Batch(f"bought-{key}", mixed(key)))
    assert sums(client, key, table, "sum(input_tokens), sum(cached_tokens), sum(output_tokens)") == (8000, 3200, 800)
    bought = "sum(bought_input_tokens), sum(bought_cached_tokens), sum(bought_output_tokens)"
    assert sums(client, key, table, bought) == (2000, 800, 200)
    assert sums(client, key, table, "sum(cost)") == (pytest.approx(2 * BOUGHT),)
    reused = "countIf(reused)" if table == "generations" else "sum(reused_requests)"
    assert sums(client, key, table, reused) == (6,)


def test_a_saving_that_is_none_is_not_in_the_ledger(sink: ClickHouseSink, client: Client, key: str) -> None:
    records = [call(key, "miss", savings={"none": 0.0, "odd": -1.0}, cached_tokens=0), call(key, "", cached_tokens=0)]
    sink.write(Batch(f"none-{key}", records))
    assert ledger(client, key) == {}


def test_a_question_about_a_day_reads_no_other(sink: ClickHouseSink, client: Client, key: str) -> None:
    """The view sums what it is asked for: a condition on its time reaches the primary key below it."""
    sink.write(Batch(f"day-{key}", [call(key, "hit")]))
    asked = "EXPLAIN indexes = 1 SELECT strategy, sum(usd) FROM savings WHERE {} GROUP BY strategy"
    conditions = ["minute >= now() - 86400", "model = 'gpt-5'"]
    by_time, by_other = ("\n".join(row[0] for row in client.query(asked.format(c)).result_rows) for c in conditions)
    assert re.search(r"PrimaryKey\b.*?Condition: \(?minute in \[", by_time, re.DOTALL)
    assert "minute in [" not in by_other
