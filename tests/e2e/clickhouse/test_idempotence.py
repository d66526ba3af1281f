"""The same batch twice counts once, wherever the first attempt died."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from clickhouse_connect.driver.client import Client

from exporters.clickhouse.connect import connect, parse_url
from exporters.clickhouse.schema import Schema, migrate, migrations
from exporters.clickhouse.sink import ClickHouseSink
from exporters.sink import Batch, SinkUnavailable
from tests.e2e.clickhouse.conftest import Settings
from tests.e2e.clickhouse.spans_in import fresh_record, fresh_records, totals
from tests.stores import Store, embedded_store


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A store whose totals nobody else changes."""
    with embedded_store(tmp_path_factory.mktemp("idempotence")) as running:
        migrate(parse_url(running.url()), Schema("penstock"))
        yield running


@pytest.fixture
def client(alone: Store) -> Iterator[Client]:
    connected = connect(alone.url())
    yield connected
    connected.close()


def test_the_same_token_twice_changes_no_table(alone: Store, client: Client) -> None:
    sink = ClickHouseSink(alone.url(), Settings())
    batch = Batch("twice", fresh_records(50))
    before = totals(client)
    sink.write(batch)
    once = totals(client)
    added = {table: once[table] - before[table] for table in once}
    assert added == {
        "otel_traces": 100,
        "otel_traces_trace_id_ts": 50,
        "generations": 50,
        "generations_by_minute": 50,
        "savings_by_minute": 50,
    }
    sink.write(batch)
    assert totals(client) == once
    ClickHouseSink(alone.url(), Settings()).write(batch)
    assert totals(client) == once


def test_other_batches_in_between_do_not_make_it_forgotten(alone: Store, client: Client) -> None:
    sink = ClickHouseSink(alone.url(), Settings())
    batch = Batch("kept", fresh_records(3))
    sink.write(batch)
    for number in range(20):
        sink.write(Batch(f"between-{number}", fresh_records(1)))
    once = totals(client)
    sink.write(batch)
    assert totals(client) == once


def test_equal_records_under_two_tokens_are_two(alone: Store, client: Client) -> None:
    sink = ClickHouseSink(alone.url(), Settings())
    records = [fresh_record()]
    before = totals(client)["generations"]
    sink.write(Batch("first", records))
    sink.write(Batch("second", records))
    assert totals(client)["generations"] == before + 2


def test_a_batch_over_many_days_is_stored_whole(alone: Store, client: Client) -> None:
    """As after an outage of days: one part for each day's partition, all of them once under the one token."""
    day_ns = 24 * 3600 * 10**9
    now = time.time_ns()
    records = [fresh_record(start_ns=now - n % 8 * day_ns, end_ns=now, attempts=[]) for n in range(40)]
    sink = ClickHouseSink(alone.url(), Settings())
    before = totals(client)["generations"]
    for _ in range(2):
        sink.write(Batch("days", records))
    assert totals(client)["generations"] == before + 40


VIEWS = (
    "otel_traces_mv",
    "otel_traces_trace_id_ts_mv",
    "generation_spans_from_ingest_mv",
    "generation_spans_from_traces_mv",
    "generations_mv",
    "generations_by_minute_mv",
    "savings_by_minute_mv",
)


@pytest.mark.parametrize("missing", VIEWS)
def test_a_retry_completes_what_stopped_before_a_view(alone: Store, client: Client, missing: str) -> None:
    """The first attempt as it is when the store dies just before one view: the retry adds what lacks, and no more."""
    sink = ClickHouseSink(alone.url(), Settings())
    before = totals(client)
    batch = Batch(f"without-{missing}", fresh_records(5))
    client.command(f"DROP VIEW {missing} SYNC")
    sink.write(batch)
    restore_views(alone, client)
    for _ in range(2):
        sink.write(batch)
    after = totals(client)
    added = {table: after[table] - before[table] for table in after}
    assert added.pop("otel_traces") == 10
    assert set(added.values()) == {5}


def restore_views(store: Store, client: Client) -> None:
    schema = Schema("penstock")
    for migration in migrations():
        for statement in schema.statements(migration.text):
            client.command(statement)


def test_acknowledged_batches_survive_kill_9(tmp_path: Path, port: int) -> None:
    """The store is killed at random moments of a stream of batches, and each is retried until it is acknowledged."""
    with embedded_store(tmp_path, port=port) as store:
        sink = ClickHouseSink(store.url(), Settings())
        sink.write(Batch("warm", fresh_records(1)))
        killed = kill_now_and_then(store, times=5, seed=1)
        written = 1
        while killed.is_alive() or written < 300:
            records = fresh_records(100)
            write_until_taken(sink, Batch(f"kill-{written}", records))
            written += 100
        killed.join(60)
        client = connect(store.url())
        assert totals(client) == {
            "otel_traces": 2 * written,
            "otel_traces_trace_id_ts": written,
            "generations": written,
            "generations_by_minute": written,
            "savings_by_minute": written,
        }
        client.close()


def kill_now_and_then(store: Store, *, times: int, seed: int) -> threading.Thread:
    chance = random.Random(seed)

    def work() -> None:
        for _ in range(times):
            time.sleep(chance.uniform(0.05, 0.6))
            store.kill()
            store.start(port=store.port)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def write_until_taken(sink: ClickHouseSink, batch: Batch) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            sink.write(batch)
        except SinkUnavailable:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        else:
            return
