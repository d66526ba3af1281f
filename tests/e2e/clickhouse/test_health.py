"""Health samples in the real engine: once each, with tables that nobody made before, over an outage."""

from __future__ import annotations

import socket
import time
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from threading import Event, Thread

import pytest
from clickhouse_connect.driver.client import Client
from prometheus_client.core import GaugeMetricFamily, Metric

from exporters.clickhouse.connect import connect
from exporters.clickhouse.health_table import HealthTable
from exporters.health import HealthSampler, Row
from exporters.sink import SinkUnavailable
from tests.e2e.clickhouse.conftest import Settings
from tests.stores import Store, embedded_store

NOW_S = int(time.time()) // 60 * 60
"""Rows of another time may be past their retention."""


class Counting:
    """1, 2, 3, ..."""

    def __init__(self) -> None:
        self.value = 0

    def collect(self) -> Iterable[Metric]:
        self.value += 1
        family = GaugeMetricFamily("penstock_records_spooled", "Waiting.", labels=["sink"])
        family.add_metric(["clickhouse"], self.value)
        yield family


@pytest.fixture
def instance() -> str:
    return f"test:{uuid.uuid4().hex}"


@pytest.fixture
def table(store: Store) -> Iterator[HealthTable]:
    made = HealthTable(store.url(), Settings())
    yield made
    made.close()


def stored(client: Client, instance: str) -> list[tuple[object, ...]]:
    found = client.query(
        "SELECT toUnixTimestamp(timestamp), metric, labels, value FROM health WHERE instance = {instance:String} "
        "ORDER BY timestamp, value",
        parameters={"instance": instance},
    )
    return [tuple(row) for row in found.result_rows]


def test_a_row_is_stored_as_it_is(table: HealthTable, client: Client, instance: str) -> None:
    rows = [
        Row(NOW_S, instance, "penstock_records_dropped_total", {"sink": "a'b\\", "reason": "quota"}, 0.1),
        Row(NOW_S + 1, instance, "penstock_spool_bytes", {}, 2.0**53),
    ]
    table.write(uuid.uuid4().hex, rows)
    assert stored(client, instance) == [(row.timestamp, row.metric, row.labels, row.value) for row in rows]


def test_a_token_stands_for_one_insert(table: HealthTable, client: Client, instance: str) -> None:
    token = uuid.uuid4().hex
    rows = [Row(NOW_S, instance, "penstock_spool_bytes", {}, 1.0)]
    table.write(token, rows)
    table.write(token, rows)
    assert len(stored(client, instance)) == 1
    table.write(uuid.uuid4().hex, rows)
    assert len(stored(client, instance)) == 2


def test_an_empty_database_gets_its_tables_by_the_first_sample(tmp_path: Path, instance: str, port: int) -> None:
    """So that dashboards have something to ask before there is any traffic; and samples outlast an outage."""
    now = [float(NOW_S)]
    with embedded_store(tmp_path, port=port) as store:
        table = HealthTable(store.url(), Settings())
        sampler = HealthSampler([Counting()], table.write, instance=instance, clock=lambda: now[0])
        sampler.sample()
        store.kill()
        for _ in range(25):
            now[0] += 15
            sampler.sample()
        store.start(port=port)
        now[0] += 15
        sampler.sample()
        table.close()
        client = connect(store.url("reader"))
        found = [(row[0], row[3]) for row in stored(client, instance)]
        assert client.query("SELECT count() FROM generations").first_row == (0,)
        client.close()
    assert found == [(NOW_S + 15 * number, float(number + 1)) for number in range(27)]


def test_a_database_that_never_answers_keeps_nobody(instance: str) -> None:
    """It accepts connections and says nothing: the sampler's own thread waits, and is not waited for."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(5)
        table = HealthTable(f"http://u:secret@127.0.0.1:{silent.getsockname()[1]}/penstock", Settings())
        sampler = HealthSampler([Counting()], table.write, instance=instance, interval_s=0.01)
        stop = Event()
        thread = Thread(target=sampler.run, args=(stop,), daemon=True)
        thread.start()
        connection, _ = silent.accept()
        assert thread.is_alive()
        assert [family.name for family in sampler.collect()] == ["penstock_health_samples_dropped"]
        stop.set()
        connection.close()
        silent.close()
        thread.join(60)
        assert not thread.is_alive()


def test_a_database_that_is_away_is_said_without_its_password(instance: str) -> None:
    table = HealthTable("http://u:p4ssw0rd@127.0.0.1:1/penstock", Settings())
    with pytest.raises(SinkUnavailable) as raised:
        table.write("token", [Row(1, instance, "penstock_spool_bytes", {}, 1.0)])
    assert "p4ssw0rd" not in f"{raised.value} {raised.value.__cause__}"
