"""Migrations on the real engine: from nothing, twice, two at once, too new, edited, and another retention."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from clickhouse_connect.driver.client import Client

from exporters.clickhouse.connect import connect, parse_url
from exporters.clickhouse.schema import EXPIRING, Migration, Schema, SchemaError, migrate, migrations
from exporters.clickhouse.sink import ClickHouseSink
from exporters.sink import Batch, SinkUnavailable
from tests.e2e.clickhouse.conftest import Settings
from tests.e2e.clickhouse.spans_in import collector_row, fresh_record, generation, insert_as_collector, totals
from tests.e2e.serve import until
from tests.stores import Store, embedded_store


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Store]:
    with embedded_store(tmp_path) as running:
        yield running


def versions(client: Client) -> list[int]:
    return [row[0] for row in client.query("SELECT version FROM schema_migrations FINAL ORDER BY version").result_rows]


def tables(client: Client) -> dict[str, str]:
    asked = client.query("SELECT name, create_table_query FROM system.tables WHERE database = 'penstock'")
    return dict(asked.result_rows)


def without_expired(client: Client, left: int = 1) -> int:
    """Generations once what is past its retention is gone. A merge that is asked for does nothing to parts that are
    being merged already."""

    def merged() -> int:
        client.command("OPTIMIZE TABLE generations FINAL")
        return totals(client)["generations"]

    return until(merged, lambda found: found == left, 60)


def test_two_recorders_that_start_together_and_one_that_comes_later(empty: Store) -> None:
    address = parse_url(empty.url())
    failures: list[BaseException] = []

    def start() -> None:
        try:
            migrate(address, Schema("penstock"))
        except BaseException as error:  # noqa: BLE001  Shown by the assertion below.
            failures.append(error)

    together = [threading.Thread(target=start) for _ in range(2)]
    for thread in together:
        thread.start()
    for thread in together:
        thread.join(60)
    assert failures == []
    assert migrate(address, Schema("penstock")) == []
    client = connect(address)
    assert versions(client) == [migration.version for migration in migrations()]
    made = tables(client)
    assert set(EXPIRING) < set(made)
    client.close()


def test_a_schema_that_is_newer_or_edited_is_refused(empty: Store) -> None:
    address = parse_url(empty.url())
    newer = [*migrations(), Migration(9999, "future", "SELECT 1;\n")]
    assert [migration.version for migration in migrate(address, Schema("penstock"), known=newer)][-1] == 9999
    with pytest.raises(SchemaError, match=r"schema version 9999, this Penstock knows \d+: upgrade Penstock"):
        migrate(address, Schema("penstock"))
    sink = ClickHouseSink(empty.url(), Settings())
    with pytest.raises(SinkUnavailable, match="upgrade Penstock"):
        sink.write(Batch("t", [fresh_record()]))
    edited = [*migrations(), Migration(9999, "future", "SELECT 2;\n")]
    with pytest.raises(SchemaError, match="another build"):
        migrate(address, Schema("penstock"), known=edited)


def test_an_older_schema_is_brought_up_to_date_with_its_rows(empty: Store) -> None:
    """The tables of the first migration with a span in them; later ones are added and used."""
    address = parse_url(empty.url())
    migrate(address, Schema("penstock"), known=migrations()[:1])
    sink = ClickHouseSink(empty.url(), Settings())
    sink.write(Batch("after", [fresh_record()]))
    client = connect(address)
    assert versions(client) == [migration.version for migration in migrations()]
    assert totals(client)["generations"] == 1
    client.close()


def test_both_ways_in_say_which_variant_answered(empty: Store) -> None:
    client = connect(empty.url())
    record = fresh_record(alias="bot", variant="base")
    ClickHouseSink(empty.url(), Settings()).write(Batch("one", [record]))
    attributes = {"gen_ai.operation.name": "chat", "penstock.alias": "bot", "penstock.variant": "tuned"}
    collected = collector_row(attributes)
    insert_as_collector(client, [collected])
    found = [generation(client, trace) for trace in (record.trace_id, collected["TraceId"])]
    assert [(row["alias"], row["variant"]) for row in found] == [("bot", "base"), ("bot", "tuned")]
    client.close()


def test_a_table_that_went_away_comes_back(empty: Store) -> None:
    """An operator's mistake is the sink's to report, and is mended by `migrate` without a restart."""
    sink = ClickHouseSink(empty.url(), Settings())
    sink.write(Batch("one", [fresh_record()]))
    client = connect(empty.url())
    client.command("DROP TABLE otel_traces_ingest SYNC")
    with pytest.raises(SinkUnavailable, match="penstock migrate"):
        sink.write(Batch("two", [fresh_record()]))
    client.command("TRUNCATE TABLE schema_migrations")
    sink.write(Batch("two", [fresh_record()]))
    assert totals(client)["generations"] == 2
    client.close()


def test_another_retention_changes_every_table_and_ends_what_is_older(empty: Store) -> None:
    address = parse_url(empty.url())
    migrate(address, Schema("penstock", retention_days=90))
    sink = ClickHouseSink(empty.url(), Settings(retention_days=90))
    old = time.time_ns() - 40 * 24 * 3600 * 10**9
    sink.write(Batch("old", [fresh_record(start_ns=old, end_ns=old + 1, attempts=[])]))
    sink.write(Batch("new", [fresh_record()]))
    client = connect(address)
    assert totals(client)["generations"] == 2
    migrate(address, Schema("penstock", retention_days=30))
    made = tables(client)
    for table in EXPIRING:
        assert re.findall(r"toIntervalDay\((\d+)\)", made[table]) == ["30"], table
    assert without_expired(client) == 1
    client.close()


def test_rows_that_are_past_the_retention_already_vanish(empty: Store) -> None:
    """So tests and imports with old timestamps see nothing: this is the retention at work, not a loss."""
    sink = ClickHouseSink(empty.url(), Settings(retention_days=1))
    old = time.time_ns() - 3 * 24 * 3600 * 10**9
    sink.write(Batch("old", [fresh_record(start_ns=old, end_ns=old + 1, attempts=[])]))
    client = connect(empty.url())
    assert without_expired(client, 0) == 0
    client.close()


def test_a_cluster_gets_replicated_and_distributed_tables_that_the_engine_can_read(client: Client) -> None:
    schema = Schema("penstock", cluster="main-cluster")
    statements = [text for migration in migrations() for text in schema.statements(migration.text)]
    for text in statements:
        canonical = client.query("SELECT formatQuerySingleLine({sql:String})", parameters={"sql": text}).result_rows
        assert "ON CLUSTER `main-cluster`" in canonical[0][0]
    whole = "\n".join(statements)
    for table in ("otel_traces", "otel_traces_trace_id_ts", "otel_traces_ingest", "generations", "feedback"):
        assert re.search(rf"TABLE IF NOT EXISTS `penstock`\.{table}_local ", whole), table
        assert re.search(rf"TABLE IF NOT EXISTS `penstock`\.{table} .*\nENGINE = Distributed\('main-cluster'", whole)
    assert len(re.findall(r"ENGINE = Replicated\w*MergeTree", whole)) == len(EXPIRING)
    assert not re.findall(
        r"ENGINE = \w*(?<!Replicated)(?<!ReplicatedAggregating)(?<!ReplicatedReplacing)MergeTree", whole
    )
    for view in re.findall(r"MATERIALIZED VIEW.*?\nTO `penstock`\.(\w+).*?FROM `penstock`\.(\w+)", whole, re.DOTALL):
        assert all(name.endswith("_local") for name in view)
