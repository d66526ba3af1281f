"""The reports' own SQL on the real engine: hit ratios and savings by every group there is."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client

from exporters.clickhouse.sink import ClickHouseSink
from exporters.sink import Batch
from proxy.commands import requests, savings, stats
from proxy.commands.filters import Filters
from proxy.commands.store import Query
from tests.e2e.clickhouse.spans_in import fresh_record
from tests.e2e.clickhouse.test_savings import BOUGHT, call, mixed


@pytest.fixture
def query(client: Client) -> Query:
    def ask(sql: str, values: Mapping[str, object]) -> Sequence[dict[str, Any]]:
        return [dict(row) for row in client.query(sql, parameters=dict(values)).named_results()]

    return ask


@pytest.fixture
def mine(sink: ClickHouseSink) -> Filters:
    """Ten calls of one key: two bought, six not, two for which the cache could do nothing."""
    key = secrets.token_hex(6)
    others = [call(key, "bypass", request_model="other", cached_tokens=0), call(key, "hit", savings={}, cost=0.0)]
    others[1].savings = {}
    sink.write(Batch(f"report-{key}", [*mixed(key), *others]))
    return Filters(key=key)


def test_variants_are_compared_and_found(sink: ClickHouseSink, query: Query) -> None:
    key = secrets.token_hex(6)
    bots = [fresh_record(key_id=key, alias="bot", variant=name) for name in ("base", "base", "tuned")]
    sink.write(Batch(f"variants-{key}", [*bots, fresh_record(key_id=key, alias="", variant="")]))
    rows = {row["variant"]: row["calls"] for row in stats.select(query, "variant", Filters(key=key), 50)}
    assert rows == {"bot base": 2, "bot tuned": 1, "-": 1}
    found = requests.select(query, Filters(key=key, alias="bot", variant="tuned"), 10)
    assert [(row["alias"], row["variant"]) for row in found] == [("bot", "tuned")]
    assert requests.call_of_row(found[0]).variant == "tuned"


def test_hit_ratios_of_both_caches(query: Query, mine: Filters) -> None:
    rows = {row["model"]: row for row in stats.select(query, "model", mine, 50)}
    asked = rows["gpt-4o-mini"]
    # Six and the one without a price were not bought; one more asked and missed; one did not ask.
    assert (asked["calls"], asked["cache_calls"], asked["cache_hits"]) == (9, 8, 7)
    assert asked["response_cache_ratio"] == 7 / 8
    assert (asked["input_tokens"], asked["output_tokens"], asked["cached_tokens"]) == (2000, 200, 800)
    assert (asked["reused_input_tokens"], asked["reused_output_tokens"]) == (7000, 700)
    assert asked["provider_cache_ratio"] == 0.4
    assert asked["cost"] == pytest.approx(2 * BOUGHT)
    other = rows["other"]
    assert (other["cache_calls"], other["response_cache_ratio"], other["provider_cache_ratio"]) == (0, None, 0)


@pytest.mark.parametrize("by", [*stats.GROUPS, "tag:team"])
def test_every_way_to_group_adds_up(query: Query, mine: Filters, by: str) -> None:
    assert sum(row["calls"] for row in stats.select(query, by, mine, 50)) == 10
    whole = {row["strategy"]: row for row in savings.select(query, "", mine, 50)}
    assert {name: row["calls"] for name, row in whole.items()} == {
        "response_cache": 4,
        "coalescing": 2,
        "provider_cache": 2,
    }
    split = savings.select(query, by, mine, 50)
    for name, row in whole.items():
        assert sum(one["saved"] for one in split if one["strategy"] == name) == pytest.approx(row["saved"])
        assert sum(one["calls"] for one in split if one["strategy"] == name) == row["calls"]
    groups = {one[by]: one for one in split}
    paid = 2 * BOUGHT + (1000 * 2.0 + 100 * 10.0) / 1e6
    assert sum(one["paid"] for one in groups.values()) == pytest.approx(paid)
    assert sum(one["unvalued"] for one in groups.values()) == 1


def test_the_share_is_of_what_would_have_been_paid(query: Query, mine: Filters) -> None:
    rows = {row["strategy"]: row for row in savings.select(query, "", mine, 50)}
    saved = 6 * BOUGHT + 2 * 400 * 1.5 / 1e6
    paid = 2 * BOUGHT + (1000 * 2.0 + 100 * 10.0) / 1e6
    assert rows["response_cache"]["share"] == pytest.approx(4 * BOUGHT / (paid + saved))
    assert rows["coalescing"]["saved_in_all"] == pytest.approx(saved)


def test_nothing_recorded_is_nothing_saved(query: Query) -> None:
    assert savings.select(query, "", Filters(key="nobody"), 50) == []
