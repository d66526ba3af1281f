"""One writer at a time, readers that wait for nobody, and one line for whatever is wrong with the place."""

from __future__ import annotations

import fcntl
import sqlite3
import stat
import subprocess
import sys
import traceback
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Connection, func, insert, select, text, update

from proxy.batching.database import Database, queue_url
from proxy.batching.refusal import QueueUnavailable
from proxy.batching.tables import VERSION, counters, items
from proxy.settings import Server, Settings
from tests.postgres import PASSWORD, Postgres
from tests.unit.proxy.batching.an_item import item, put, rows

WROTE = "what a caller wrote"
ROOT = Path(__file__).parents[4]


def value(connection: Connection, name: str = "version") -> int | None:
    return connection.scalar(select(counters.c.value).where(counters.c.name == name))


def test_what_is_missing_is_made_and_found_again(settings: Settings, database: Database) -> None:
    put(database, item(1, body=b"\x00\xff", stream=True))
    again = Database.open(queue_url(settings))
    assert rows(again, "body", "stream", "delivered") == {"item-1": (b"\x00\xff", True, False)}
    with again.reading() as connection:
        assert value(connection) == VERSION
    again.close()
    again.close()


def test_what_is_left_by_an_exception_is_undone(database: Database) -> None:
    def fail() -> None:
        with database.transaction() as connection:
            connection.execute(update(counters).values(value=9))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with database.reading() as connection:
        assert value(connection, "items") == 0


def test_a_reader_waits_for_no_writer_and_sees_what_is_committed(database: Database) -> None:
    with database.transaction() as writing:
        writing.execute(update(counters).values(value=9))
        with database.reading() as connection:
            assert value(connection, "items") == 0


def test_writers_come_one_after_the_other(settings: Settings, database: Database) -> None:
    """None of 8 threads with two connections of their own sees what another one is about to change."""
    other = Database.open(queue_url(settings))

    def add_one(number: int) -> None:
        with (database, other)[number % 2].transaction() as connection:
            seen = value(connection, "items") or 0
            connection.execute(update(counters).where(counters.c.name == "items").values(value=seen + 1))

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(add_one, range(80)))
    with database.reading() as connection:
        assert value(connection, "items") == 80
    other.close()


def test_three_processes_write_at_once_and_none_is_turned_away(settings: Settings, database: Database) -> None:
    script = """
import sys
from sqlalchemy import insert
from proxy.batching.database import Database
from proxy.batching.tables import counters
database = Database.open(sys.stdin.readline().strip())
for number in range(40):
    with database.transaction() as connection:
        connection.execute(insert(counters).values(name=f"{sys.argv[1]}-{number}", value=1))
database.close()
"""
    children = [
        subprocess.Popen([sys.executable, "-c", script, str(number)], cwd=ROOT, stdin=subprocess.PIPE, text=True)
        for number in range(3)
    ]
    for child in children:
        child.communicate(queue_url(settings) + "\n", timeout=60)
    assert [child.returncode for child in children] == [0, 0, 0]
    with database.reading() as connection:
        written = connection.scalar(select(func.count()).where(counters.c.name.contains("-")))
    assert written == 120


def test_processes_that_begin_at_once_make_the_tables_once(tmp_path: Path) -> None:
    url = queue_url(Settings(server=Server(data_dir=str(tmp_path))))
    with ThreadPoolExecutor(8) as threads:
        opened = list(threads.map(lambda _: Database.open(url), range(8)))
    for database in opened:
        database.close()


def test_one_that_begins_waits_for_another_that_makes_the_file(tmp_path: Path) -> None:
    """SQLite does not wait by itself where a file gets its write-ahead log, but fails at once."""
    path = tmp_path / "batch" / "queue.db"
    path.parent.mkdir()
    with (
        ThreadPoolExecutor(1) as threads,
        open(path.with_name("queue.db.lock"), "wb") as lock,
        closing(sqlite3.connect(path, isolation_level=None)) as making,
    ):
        fcntl.flock(lock, fcntl.LOCK_EX)
        making.execute("BEGIN IMMEDIATE")
        opening = threads.submit(Database.open, f"sqlite:///{path}")
        wait([opening], timeout=0.5)  # Long enough for one that does not wait to fail.
        making.execute("COMMIT")
        making.close()
        fcntl.flock(lock, fcntl.LOCK_UN)
        opening.result(timeout=60).close()


def test_the_clock_is_not_that_of_another_age(database: Database) -> None:
    with database.reading() as connection:
        assert 1_700_000_000 < database.now_ns(connection) / 1e9 < 4_000_000_000


def test_tables_of_another_version_are_left_alone(settings: Settings, database: Database) -> None:
    with database.transaction() as connection:
        connection.execute(update(counters).where(counters.c.name == "version").values(value=VERSION + 1))
    with pytest.raises(QueueUnavailable, match=f"tables of version {VERSION + 1}"):
        Database.open(queue_url(settings))


def test_a_mistake_in_a_statement_is_not_called_unavailable_and_shows_no_content(database: Database) -> None:
    put(database, item(1))

    def insert_mistaken(**mistaken: object) -> None:
        row = {"mode": "", "state": "", "scope": "", "upstream": "", "endpoint": "", "path": "", "model": "", "lot": ""}
        with database.transaction() as connection:
            connection.execute(insert(items).values(row | {"body": WROTE.encode()} | mistaken))

    for mistaken in ({"id": "item-1", "context": b""}, {"id": "item-2", "mode": None, "context": b""}):
        with pytest.raises(RuntimeError, match="constraint") as raised:
            insert_mistaken(**mistaken)
        for wrote in (WROTE, WROTE.encode().hex()):
            assert wrote not in "".join(traceback.format_exception(raised.value))


@pytest.mark.parametrize(
    "statement", ["INSERT INTO nowhere VALUES (:x)", "SELECT pg_terminate_backend(pg_backend_pid()), :x"]
)
def test_what_fails_shows_no_content_in_its_traceback(database: Database, statement: str) -> None:
    def do() -> None:
        with database.transaction() as connection:
            connection.execute(text(statement), {"x": WROTE})

    with pytest.raises((QueueUnavailable, RuntimeError)) as raised:
        do()
    assert WROTE not in "".join(traceback.format_exception(raised.value))


# SQLite alone


def test_the_file_is_its_owners_alone(tmp_path: Path) -> None:
    database = Database.open(queue_url(Settings(server=Server(data_dir=str(tmp_path)))))
    put(database, item(1))
    found = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "batch").iterdir()}
    assert set(found.values()) == {0o600}
    assert {"queue.db", "queue.db-wal"} <= found.keys()
    assert stat.S_IMODE((tmp_path / "batch").stat().st_mode) == 0o700
    database.close()


def test_a_path_with_odd_characters_is_a_path(tmp_path: Path) -> None:
    folder = tmp_path / "what? 100% #1"
    Database.open(queue_url(Settings(server=Server(data_dir=str(folder))))).close()
    assert (folder / "batch" / "queue.db").stat().st_size > 0


def test_a_place_that_cannot_be_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(QueueUnavailable, match="Not a directory"):
        Database.open(queue_url(Settings(server=Server(data_dir=str(tmp_path / "file")))))
    (tmp_path / "batch").mkdir()
    (tmp_path / "batch" / "queue.db").write_bytes(b"this is something else" * 100)
    with pytest.raises(QueueUnavailable, match="file is not a database"):
        Database.open(queue_url(Settings(server=Server(data_dir=str(tmp_path)))))


# PostgreSQL alone


def test_a_wrong_password_is_told_without_it(postgres: Postgres) -> None:
    url = postgres.new()
    secret = PASSWORD.replace(" ", "%20")
    assert secret in url
    with pytest.raises(QueueUnavailable, match="password authentication failed") as raised:
        Database.open(url.replace(secret, "sesame-open"))
    assert "sesame" not in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("url", ["postgresql://host:port/queue", "postgresql//", "mysql://host/queue"])
def test_an_address_that_is_none_is_told(url: str) -> None:
    with pytest.raises(QueueUnavailable):
        Database.open(url)


def test_a_user_who_may_make_no_tables_is_told(postgres: Postgres) -> None:
    url = postgres.new()
    name = url.rpartition("/")[2]
    with postgres.connect(name) as connection:
        connection.execute(f"CREATE ROLE reader_{name} LOGIN PASSWORD 'reader'")
    address = f"postgresql://reader_{name}:reader@127.0.0.1:{postgres.port}/{name}"
    with pytest.raises(QueueUnavailable, match="permission denied"):
        Database.open(address)


def test_a_server_that_starts_again_is_used_again(postgres: Postgres) -> None:
    database = Database.open(postgres.new())
    put(database, item(1))
    postgres.stop()
    try:
        with pytest.raises(QueueUnavailable):
            put(database, item(2))
        with pytest.raises(QueueUnavailable, match="refused"):
            put(database, item(2))
    finally:
        postgres.start()
    put(database, item(3))
    assert rows(database, "state").keys() == {"item-1", "item-3"}
    database.close()


def test_what_is_under_way_when_it_is_closed_is_finished_and_its_connection_closed(database: Database) -> None:
    with database.transaction() as connection:
        driver = connection.connection.dbapi_connection
        database.close()
        connection.execute(update(counters).where(counters.c.name == "items").values(value=7))
    assert driver is not None
    with pytest.raises(Exception, match=r"(?i)closed"):
        driver.cursor().execute("SELECT 1")
    with database.reading() as connection:
        assert connection.scalar(select(counters.c.value).where(counters.c.name == "items")) == 7
