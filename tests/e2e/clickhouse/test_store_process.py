"""The store as a process: how it starts, how it ends, and what it needs of the machine."""

from __future__ import annotations

import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from clickhouse_connect.driver.exceptions import DatabaseError

from exporters.clickhouse.connect import StoreUnavailable, connect
from exporters.clickhouse.sink import ClickHouseSink
from exporters.sink import Batch, SinkUnavailable
from tests.e2e.clickhouse.conftest import Settings
from tests.e2e.clickhouse.spans_in import fresh_record, fresh_records, totals
from tests.stores import Store, StoreDied, embedded_store


@pytest.fixture
def running(tmp_path: Path, port: int) -> Iterator[Store]:
    with embedded_store(tmp_path, port=port) as store:
        yield store


def test_sigterm_closes_cleanly_and_the_rows_are_there_again(running: Store) -> None:
    sink = ClickHouseSink(running.url(), Settings())
    sink.write(Batch("one", fresh_records(10)))
    assert running.stop() == 0
    with pytest.raises(SinkUnavailable, match="cannot be reached"):
        sink.write(Batch("two", fresh_records(10)))
    running.start(port=running.port)
    sink.write(Batch("two", fresh_records(10)))
    client = connect(running.url("reader"))
    assert totals(client)["generations"] == 20
    client.close()


def test_it_ends_when_whoever_started_it_is_gone(running: Store) -> None:
    assert running.process is not None
    assert running.process.stdin is not None
    running.process.stdin.close()
    assert running.process.wait(60) == 0


def test_a_second_one_waits_for_the_path_and_then_says_who_holds_it(running: Store) -> None:
    second = Store(running.path)
    with pytest.raises(StoreDied, match=r"Another process holds the store in .*store\.\n"):
        second.start("--lock-wait-s", "0.2")


def test_a_second_one_takes_over_when_the_first_one_ends(running: Store) -> None:
    """As after `kill -9` of the supervisor: the new store starts while the former one is still closing."""
    first = running.process
    assert first is not None
    first.send_signal(signal.SIGSTOP)
    third = subprocess.Popen(["sleep", "0.5"])
    try:
        third.wait(60)
        first.send_signal(signal.SIGCONT)
        first.send_signal(signal.SIGTERM)
        second = Store(running.path)
        second.start("--lock-wait-s", "60")
        assert first.wait(60) == 0
        assert second.stop() == 0
    finally:
        first.send_signal(signal.SIGCONT)


def test_an_occupied_port_is_one_line(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(StoreDied, match=rf"penstock store: cannot listen on 127\.0\.0\.1:{port}: "):
            Store(tmp_path / "store").start(port=port)


def test_a_path_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("")
    with pytest.raises(StoreDied, match="penstock store: ") as caught:
        Store(tmp_path / "store").start()
    assert "Traceback" not in str(caught.value)


def test_wrong_credentials_and_no_server_are_one_line_without_the_password(running: Store) -> None:
    wrong = running.url().replace(running.credentials.writer.password, "not-the-password")
    with pytest.raises(StoreUnavailable, match="the user or the password is wrong") as caught:
        connect(wrong)
    assert "not-the-password" not in str(caught.value)
    with pytest.raises(SinkUnavailable, match="the user or the password is wrong"):
        ClickHouseSink(wrong, Settings()).write(Batch("t", [fresh_record()]))
    port = running.port
    running.stop()
    with pytest.raises(StoreUnavailable, match=rf"127\.0\.0\.1:{port}/penstock cannot be reached: .*refused") as caught:
        connect(running.url())
    assert "\n" not in str(caught.value)
    assert running.credentials.writer.password not in str(caught.value)


def test_a_reader_cannot_be_the_sink_and_a_writer_can_later(running: Store) -> None:
    sink = ClickHouseSink(running.url("reader"), Settings())
    with pytest.raises(SinkUnavailable, match="may only read"):
        sink.write(Batch("t", [fresh_record()]))


def test_memory_stays_under_its_cap_and_the_store_lives(tmp_path: Path) -> None:
    cap = 512 * 1024 * 1024
    with embedded_store(tmp_path, memory_bytes_max=cap) as store:
        client = connect(store.url("reader"))
        greedy = (
            "SELECT count() FROM (SELECT groupArray(repeat(toString(number), 100)) AS a FROM numbers(20000000) "
            "GROUP BY number % 10 SETTINGS max_bytes_before_external_group_by = 0)"
        )
        # Of one statement, and of the whole store when the statement lifts its own.
        for its_own, which in ((cap // 4, "Query"), (0, "(total)")):
            with pytest.raises(DatabaseError, match="MEMORY_LIMIT_EXCEEDED") as caught:
                client.query(greedy, settings={"max_memory_usage": its_own})
            assert which in str(caught.value)
        assert client.query("SELECT 1").result_rows == [(1,)]
        assert store.resident_bytes < cap + 400 * 1024 * 1024
        client.close()


def test_the_sink_takes_a_store_that_comes_late(tmp_path: Path, port: int) -> None:
    """Connects when it writes, not when it is made; and again after every fault."""
    store = Store(tmp_path / "store", port=port)
    sink = ClickHouseSink(store.url(), Settings())
    batch = Batch("early", [fresh_record()])
    with pytest.raises(SinkUnavailable):
        sink.write(batch)
    store.start(port=store.port)
    try:
        sink.write(batch)
        store.kill()
        with pytest.raises(SinkUnavailable):
            sink.write(batch)
        store.start(port=store.port)
        sink.write(batch)
        client = connect(store.url())
        assert totals(client)["generations"] == 1
        client.close()
    finally:
        store.stop()
