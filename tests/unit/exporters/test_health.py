"""Samples of Penstock's own health: what is in one, and what becomes of them while the database is away."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from threading import Event, Thread

import pytest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from exporters.health import SAMPLES_PER_INSERT, Collector, HealthSampler, Row, instance_name
from exporters.sink import BatchRefused, SinkUnavailable

DROPPED = "penstock_health_samples_dropped_total"


class Table:
    """Keeps what it is given, once for each token, unless it is away or takes nothing."""

    def __init__(self) -> None:
        self.fault: Exception | None = None
        self.keeps_before_it_fails = False
        self.tried: list[str] = []
        self.stored: dict[str, list[Row]] = {}

    def write(self, token: str, rows: Sequence[Row]) -> None:
        self.tried.append(token)
        if self.fault is None or self.keeps_before_it_fails:
            self.stored.setdefault(token, list(rows))
        if self.fault is not None:
            raise self.fault

    @property
    def rows(self) -> list[Row]:
        return [row for rows in self.stored.values() for row in rows]


class Gauge:
    def __init__(self) -> None:
        self.value = 1.0
        self.fault: Exception | None = None

    def collect(self) -> Iterable[Metric]:
        if self.fault is not None:
            raise self.fault
        family = GaugeMetricFamily("penstock_sink_lag_seconds", "Lag.", labels=["sink"])
        family.add_metric(["clickhouse"], self.value)
        yield family


class Clock:
    def __init__(self) -> None:
        self.now = 1_795_000_000.25

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def table() -> Table:
    return Table()


@pytest.fixture
def gauge() -> Gauge:
    return Gauge()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sampler(table: Table, gauge: Gauge, clock: Clock) -> HealthSampler:
    collectors: list[Collector] = [gauge]
    made = HealthSampler(collectors, table.write, instance="here", samples_max=50, clock=clock, monotonic=clock)
    collectors.append(made)
    return made


def take(sampler: HealthSampler, clock: Clock, samples: int = 1) -> None:
    for _ in range(samples):
        sampler.sample()
        clock.now += 15


def dropped(sampler: HealthSampler) -> float:
    (family,) = sampler.collect()
    return family.samples[0].value


def lags(table: Table) -> list[tuple[int, float]]:
    return [(row.timestamp, row.value) for row in table.rows if row.metric == "penstock_sink_lag_seconds"]


def test_a_sample_has_every_series_as_it_is_exposed(table: Table, clock: Clock) -> None:
    class Several:
        def collect(self) -> Iterable[Metric]:
            exported = CounterMetricFamily("penstock_records_exported", "Exported.", labels=["sink"])
            exported.add_metric(["clickhouse"], 7)
            yield exported
            yield GaugeMetricFamily("penstock_spool_bytes", "Bytes.", value=512)
            yield GaugeMetricFamily("penstock_odd", "Not a number.", value=float("nan"))

    HealthSampler([Several()], table.write, instance="here", clock=clock).sample()
    assert table.rows == [
        Row(1_795_000_000, "here", "penstock_records_exported_total", {"sink": "clickhouse"}, 7.0),
        Row(1_795_000_000, "here", "penstock_spool_bytes", {}, 512.0),
    ]


def test_each_sample_is_stored_at_once(sampler: HealthSampler, table: Table, gauge: Gauge, clock: Clock) -> None:
    take(sampler, clock)
    gauge.value = 2.0
    take(sampler, clock)
    assert lags(table) == [(1_795_000_000, 1.0), (1_795_000_015, 2.0)]
    assert len(table.stored) == 2


def test_what_takes_a_while_is_read_before_the_sample(table: Table, gauge: Gauge) -> None:
    def refresh() -> None:
        gauge.value = 42.0

    HealthSampler([gauge], table.write, instance="here", refresh=refresh).sample()
    assert [value for _, value in lags(table)] == [42.0]


def test_samples_wait_for_the_database_and_are_stored_once(
    sampler: HealthSampler, table: Table, gauge: Gauge, clock: Clock
) -> None:
    table.fault = SinkUnavailable("down")
    for number in range(40):
        gauge.value = number
        take(sampler, clock)
    assert table.rows == []
    table.fault = None
    gauge.value = 40
    take(sampler, clock)
    assert lags(table) == [(1_795_000_000 + 15 * number, float(number)) for number in range(41)]
    assert len(table.stored) <= 1 + 1 + 40 / SAMPLES_PER_INSERT
    assert max(len(rows) for rows in table.stored.values()) == 2 * SAMPLES_PER_INSERT
    assert dropped(sampler) == 0


def test_an_insert_that_failed_after_it_was_stored_is_not_stored_twice(
    sampler: HealthSampler, table: Table, clock: Clock
) -> None:
    """So the rows of a token never change, whatever was sampled between two tries."""
    table.fault, table.keeps_before_it_fails = SinkUnavailable("no answer"), True
    take(sampler, clock, 3)
    table.fault = None
    take(sampler, clock)
    assert [at for at, _ in lags(table)] == [1_795_000_000 + 15 * number for number in range(4)]


def test_the_oldest_are_lost_past_the_limit_and_counted(
    sampler: HealthSampler, table: Table, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    table.fault = SinkUnavailable("down")
    take(sampler, clock, 100)
    lost = dropped(sampler)
    table.fault = None
    take(sampler, clock)
    assert 50 - SAMPLES_PER_INSERT <= len(lags(table)) - 1 <= 50
    assert lost + len(lags(table)) == 101
    assert lags(table)[0][0] > 1_795_000_000
    assert table.rows[-1].metric == DROPPED
    assert table.rows[-1].value == lost
    assert "have waited for the database for too long" in caplog.text


def test_what_the_database_refuses_is_counted_and_does_not_block(
    sampler: HealthSampler, table: Table, clock: Clock
) -> None:
    for number, fault in enumerate((BatchRefused("not in this form"), ZeroDivisionError("a defect")), 1):
        table.fault = fault
        take(sampler, clock)
        assert dropped(sampler) == number
    table.fault = None
    take(sampler, clock)
    assert len(lags(table)) == 1


def test_a_defect_of_a_collector_is_counted_and_sampling_goes_on(
    sampler: HealthSampler, table: Table, gauge: Gauge, clock: Clock
) -> None:
    gauge.fault = ZeroDivisionError("a defect")
    take(sampler, clock)
    gauge.fault = None
    take(sampler, clock)
    assert len(lags(table)) == 1
    assert dropped(sampler) == 1


def test_it_is_logged_once_a_minute(
    sampler: HealthSampler, table: Table, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    table.fault = SinkUnavailable("ClickHouse at http://h cannot be reached")

    def told() -> int:
        return [record.name for record in caplog.records].count("exporters.health")

    with caplog.at_level(logging.WARNING):
        take(sampler, clock, 4)
        assert told() == 1
        take(sampler, clock)
        assert told() == 2
    assert "cannot be reached" in caplog.text


def test_it_samples_until_it_is_stopped(table: Table, gauge: Gauge) -> None:
    stop, twice = Event(), Event()

    def write(token: str, rows: Sequence[Row]) -> None:
        table.write(token, rows)
        if len(table.stored) == 2:
            twice.set()

    sampler = HealthSampler([gauge], write, instance="here", interval_s=0.01)
    thread = Thread(target=sampler.run, args=(stop,))
    thread.start()
    assert twice.wait(30)
    stop.set()
    thread.join(30)
    assert not thread.is_alive()


def test_a_histogram_of_one_series_is_sampled_whole(table: Table) -> None:
    class Timed:
        def collect(self) -> Iterable[Metric]:
            family = HistogramMetricFamily("penstock_seconds", "Seconds.")
            family.add_metric([], [("1.0", 2.0), ("+Inf", 3.0)], sum_value=4.5)
            yield family

    HealthSampler([Timed()], table.write, instance="here").sample()
    assert {(row.metric, row.labels.get("le")): row.value for row in table.rows} == {
        ("penstock_seconds_bucket", "1.0"): 2.0,
        ("penstock_seconds_bucket", "+Inf"): 3.0,
        ("penstock_seconds_count", None): 3.0,
        ("penstock_seconds_sum", None): 4.5,
    }


@pytest.mark.parametrize(
    ("resource", "name"),
    [
        ({"service.name": "penstock"}, "host:{}/data"),
        ({"service.instance.id": "pod-7"}, "pod-7"),
        ({"service.instance.id": ""}, "host:{}/data"),
    ],
)
def test_an_instance_is_named_so_that_no_other_is(tmp_path: Path, resource: dict[str, str], name: str) -> None:
    assert instance_name(resource, "host", tmp_path / "x" / ".." / "data") == name.format(tmp_path.resolve())
