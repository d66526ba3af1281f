"""How full and how late the queue is, as the recorder reads it: without making one and without waiting for one."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy import insert, text, update

from proxy.batching.database import Database, QueueUnavailable, looking, queue_url
from proxy.batching.queue_metrics import QueueMetrics
from proxy.batching.tables import batches, items, leases
from proxy.settings import Batch, Server, Settings
from tests.unit.proxy.batching.an_item import CREATED_NS, answer, finished, item, put
from tests.unit.proxy.batching.test_report import add_batch, into_batch

SECOND_NS = 1_000_000_000
LATER_NS = CREATED_NS + 60 * SECOND_NS
FAR_NS = 4_000_000_000 * SECOND_NS
"""PostgreSQL has a clock of its own, which no test can set: deadlines are long past or far ahead of it."""


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0
        self.look_s = 0.0

    def __call__(self) -> float:
        self.now += self.look_s
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def patient(settings: Settings, **clocks: Any) -> QueueMetrics:
    """However slow the machine is, a look does not fail for that."""
    return QueueMetrics(settings, within_s=60.0, **clocks)


@pytest.fixture
def metrics(settings: Settings, clock: Clock) -> QueueMetrics:
    return patient(settings, clock=lambda: LATER_NS, monotonic=clock)


def seen(metrics: QueueMetrics) -> dict[str, float]:
    """What there is something of, after a look."""
    metrics.refresh()
    return {
        name: value for name, value in collected(metrics).items() if value or not name.startswith(("items", "batches"))
    }


def collected(metrics: QueueMetrics) -> dict[str, float]:
    registry = CollectorRegistry()
    registry.register(metrics)
    return {
        f"{sample.name.removeprefix('penstock_queue_')}{sorted(sample.labels.values()) or ''}": sample.value
        for family in registry.collect()
        for sample in family.samples
    }


def test_what_waits_by_state_and_mode(settings: Settings, database: Database, metrics: QueueMetrics) -> None:
    put(
        database,
        item(1, deadline_ns=FAR_NS),
        item(2, deadline_ns=CREATED_NS + 1),
        item(3, mode="hold", deadline_ns=0),
        item(4, deadline_ns=CREATED_NS + 2),
    )
    into_batch(database, "item-1")
    found = seen(metrics)
    oldest_s = found.pop("oldest_seconds")
    assert found == {
        "look_failures_total": 0,
        "items['async', 'batched']": 1,
        "items['async', 'queued']": 2,
        "items['hold', 'queued']": 1,
        "overdue": 2,
    }
    assert oldest_s >= 59.9
    if not settings.batch.url:
        assert oldest_s == pytest.approx(60)


def test_what_is_over_does_not_wait(database: Database, metrics: QueueMetrics) -> None:
    put(database, item(1, deadline_ns=1), item(2, deadline_ns=1))
    with database.transaction() as connection:
        answer(connection, finished(1))
        connection.execute(update(items).where(items.c.id == "item-2").values(state="cancelled"))
    assert seen(metrics) == {"look_failures_total": 0, "oldest_seconds": 0, "overdue": 0}


def test_batches_that_are_not_over_in_the_providers_words(database: Database, metrics: QueueMetrics) -> None:
    add_batch(database, "one", status="in_progress")
    add_batch(database, "two", status="in_progress", state="finishing")
    add_batch(database, "gathered", status="", state="gathered")
    add_batch(database, "settled", status="completed", state="settled")
    add_batch(database, "lost", kind="caller", status="in_progress", state="lost")
    add_batch(database, "local", kind="local", status="in_progress", state="")
    add_batch(database, "over", kind="local", status="completed", state="")
    found = seen(metrics)
    assert {name: value for name, value in found.items() if name.startswith("batches")} == {
        "batches['in_progress']": 3,
        "batches['gathered']": 1,
    }


def test_what_there_is_nothing_of_any_more_is_zero(database: Database, metrics: QueueMetrics) -> None:
    """A gauge that went away would stand at its last number wherever that is asked for."""
    put(database, item(1))
    add_batch(database, "one", status="validating")
    seen(metrics)
    with database.transaction() as connection:
        answer(connection, finished(1))
        connection.execute(update(batches).values(status="completed", state="settled"))
    metrics.refresh()
    found = collected(metrics)
    assert found["items['async', 'queued']"] == found["batches['validating']"] == 0
    assert sum(name.startswith("items") for name in found) == 9


def test_a_queue_that_nobody_made_is_not_made(tmp_path: Path) -> None:
    settings = Settings(server=Server(data_dir=str(tmp_path / "data")))
    assert seen(patient(settings)) == {"look_failures_total": 0}
    assert not (tmp_path / "data").exists()


def test_a_queue_that_is_turned_off_is_not_looked_at(settings: Settings, database: Database) -> None:
    put(database, item(1))
    off = Settings(server=settings.server, batch=Batch(url=settings.batch.url, enabled=False))
    assert seen(patient(off)) == {"look_failures_total": 0}


def test_a_look_makes_no_tables(postgres: Any) -> None:
    url = postgres.new()
    settings = Settings(batch=Batch(url=url))
    assert seen(patient(settings)) == {"look_failures_total": 0}
    with postgres.connect(url.rpartition("/")[2]) as connection:
        tables = connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone()
    assert tables == (0,)


def execute(url: str, statement: str, within_s: float = 60) -> None:
    with looking(url, within_s=within_s) as connection:
        assert connection is not None
        connection.execute(text(statement))


def test_a_look_cannot_write(settings: Settings, database: Database) -> None:
    put(database, item(1))
    with pytest.raises((RuntimeError, QueueUnavailable), match=r"read-?only"):
        execute(queue_url(settings), "DELETE FROM items")


def test_a_writer_does_not_keep_a_look_waiting(database: Database, metrics: QueueMetrics) -> None:
    put(database, item(1))
    with database.transaction() as connection:
        connection.execute(update(items).values(state="running"))
        assert seen(metrics)["items['async', 'queued']"] == 1


def test_a_database_that_is_away_is_counted_and_not_told_about(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, clock: Clock
) -> None:
    secret = "p4ssw0rd"
    settings = Settings(
        server=Server(data_dir=str(tmp_path)),
        batch=Batch(url=f"postgresql://penstock:{secret}@127.0.0.1:1/penstock"),
    )
    metrics = patient(settings, monotonic=clock)

    def told() -> int:
        return [record.name for record in caplog.records].count("proxy.batching.queue_metrics")

    with caplog.at_level(logging.WARNING):
        assert seen(metrics) == {"look_failures_total": 1}
        assert seen(metrics) == {"look_failures_total": 2}
        assert told() == 1
        clock.now += 61
        assert seen(metrics) == {"look_failures_total": 3}
        assert told() == 2
    assert secret not in caplog.text


def test_a_queue_that_comes_back_is_told_about_again(database: Database, settings: Settings, clock: Clock) -> None:
    if settings.batch.url:
        pytest.skip("tables of another version are the same on PostgreSQL, which other tests share")
    put(database, item(1))
    metrics = patient(settings, clock=lambda: LATER_NS, monotonic=clock)
    assert "overdue" in seen(metrics)
    with database.transaction() as connection:
        connection.execute(text("UPDATE counters SET value = 99 WHERE name = 'version'"))
    assert seen(metrics) == {"look_failures_total": 1}
    with database.transaction() as connection:
        connection.execute(text("UPDATE counters SET value = 1 WHERE name = 'version'"))
    assert seen(metrics)["overdue"] == 0


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "batch").mkdir()
    (tmp_path / "batch" / "queue.db").write_bytes(b"anything but a database" * 100)
    assert seen(patient(Settings(server=Server(data_dir=str(tmp_path))))) == {"look_failures_total": 1}


def test_a_statement_without_end_is_given_up(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    Database.open(f"sqlite:///{path}").close()
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
    with pytest.raises(QueueUnavailable, match="interrupted"):
        execute(f"sqlite:///{path}", endless, within_s=0.2)


def test_a_statement_without_end_is_given_up_on_postgresql(postgres_url: str) -> None:
    with pytest.raises(QueueUnavailable, match="timeout"):
        execute(postgres_url, "SELECT pg_sleep(60)", within_s=1)


def test_looks_that_take_long_are_rare(database: Database, metrics: QueueMetrics, clock: Clock) -> None:
    put(database, item(1))
    clock.look_s = 0.5
    assert seen(metrics)["items['async', 'queued']"] == 1
    put(database, item(2))
    clock.now += 20
    assert seen(metrics)["items['async', 'queued']"] == 1, "half a second is looked for each 25 at most"
    clock.now += 5
    assert seen(metrics)["items['async', 'queued']"] == 2


def hold_lease(database: Database, holder: str, expires_ns: int) -> None:
    with database.transaction() as connection:
        connection.execute(insert(leases).values(name="dispatcher", holder=holder, epoch=1, expires_ns=expires_ns))


@pytest.mark.parametrize(
    ("holder", "expires_ns", "told"),
    [("another", FAR_NS, False), ("another", CREATED_NS, True), ("ours", FAR_NS, True)],
    ids=["another's", "nobody's any more", "ours"],
)
def test_a_shared_queue_is_told_about_once(
    postgres: Any, postgres_url: str, tmp_path: Path, holder: str, expires_ns: int, told: bool
) -> None:
    from tests.unit.proxy.batching.conftest import empty

    empty(postgres, postgres_url)
    (tmp_path / "batch").mkdir()
    (tmp_path / "batch" / "instance").write_text("ours")
    settings = Settings(server=Server(data_dir=str(tmp_path)), batch=Batch(url=postgres_url))
    database = Database.open(postgres_url)
    hold_lease(database, holder, expires_ns)
    put(database, item(1, deadline_ns=1))
    found = seen(patient(settings))
    assert found["overdue"] == found.get("items['async', 'queued']", 0) == int(told)
    assert (found["oldest_seconds"] > 0) == told
    database.close()


def test_a_queue_of_ones_own_is_told_about_whoever_has_the_lease(tmp_path: Path) -> None:
    settings = Settings(server=Server(data_dir=str(tmp_path)))
    database = Database.open(queue_url(settings))
    hold_lease(database, "the dispatcher before this one", FAR_NS)
    assert "overdue" in seen(patient(settings))
    database.close()


def test_a_scrape_asks_no_database(database: Database, metrics: QueueMetrics) -> None:
    put(database, item(1))
    metrics.refresh()
    before = collected(metrics)
    put(database, item(2))
    assert collected(metrics) == before


def test_nothing_is_loaded_before_there_is_a_queue(tmp_path: Path) -> None:
    code = (
        "import sys; from proxy.batching.queue_metrics import QueueMetrics; "
        "from proxy.settings import Server, Settings; "
        f"QueueMetrics(Settings(server=Server(data_dir={str(tmp_path)!r}))).refresh(); "
        "print('sqlalchemy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "False\n"
