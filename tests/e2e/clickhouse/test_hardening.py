"""No statement leaves the database: not for a reader, and not for the writer either."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import httpx
import pytest

from exporters.clickhouse.credentials import Role
from tests.stores import Store

SECRET = "the-secret-in-a-file"
ROLES: tuple[Role, ...] = ("writer", "reader")


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret.tsv"
    path.write_text(f"{SECRET}\n")
    return path


def ask(store: Store, role: Role, sql: str, **params: str) -> httpx.Response:
    login = store.credentials.writer if role == "writer" else store.credentials.reader
    return httpx.post(
        f"http://127.0.0.1:{store.port}/",
        params=params,
        content=sql.encode(),
        auth=(login.user, login.password),
        timeout=60,
    )


READS = (
    "SELECT file('{path}')",
    "SELECT FILE('{path}')",
    "SELECT `file`('{path}')",
    "SELECT \"file\"('{path}')",
    "SELECT file/* */('{path}')",
    "SELECT file -- (\n ('{path}')",
    "SELECT * APPLY(file) FROM (SELECT '{path}' AS a)",
    "SELECT * APPLY file FROM (SELECT '{path}' AS a)",
    "SELECT arrayMap(x -> file(x), ['{path}'])",
    "SELECT 1 AS `it's`, file('{path}') AS `it's`",
    "SELECT 'a\\'' AS q, file('{path}')",
    "SELECT $$ ' $$ AS q, file('{path}'), $$ ' $$ AS r",
    "WITH (SELECT file('{path}')) AS x SELECT x",
    "EXPLAIN SYNTAX SELECT file('{path}')",
    "SELECT * FROM file('{path}', 'LineAsString')",
    "SELECT * FROM loop(file('{path}', 'LineAsString')) LIMIT 1",
    "SELECT * FROM view(SELECT * FROM file('{path}', 'LineAsString'))",
    "DESCRIBE TABLE file('{path}', 'LineAsString')",
    "SELECT 1 FORMAT Template SETTINGS format_template_row = '{path}'",
    "SELECT * FROM sqlite('{db}', 'c')",
    "SELECT * FROM url('http://127.0.0.1:{port}/ping', 'LineAsString')",
    "SELECT * FROM remote('127.0.0.1:{port}', 'system', 'one')",
    "SELECT * FROM cluster('default', 'system', 'one')",
    "SELECT * FROM s3('http://127.0.0.1:{port}/b/k', 'LineAsString')",
    "SELECT * FROM mysql('127.0.0.1:{port}', 'a', 'b', 'c', 'd')",
    "SELECT * FROM postgresql('127.0.0.1:{port}', 'a', 'b', 'c', 'd')",
    "SELECT * FROM mongodb('127.0.0.1:{port}', 'a', 'b', 'c', 'd', 'e String')",
    "SELECT * FROM redis('127.0.0.1:{port}', 'k', 'k String, v String')",
    "SELECT * FROM odbc('DSN=x', 'a', 'b')",
    "SELECT * FROM jdbc('x', 'a', 'b')",
    "SELECT * FROM hdfs('hdfs://127.0.0.1:{port}/x', 'LineAsString', 'a String')",
    "SELECT * FROM executable('cat {path}', 'LineAsString', 'a String', (SELECT 1))",
    "SELECT * FROM python('credentials')",
    "SELECT * FROM icebergLocal('{path}')",
    "SELECT 1 INTO OUTFILE '{out}'",
    "SELECT 1 INTO/**/outfile '{out}' TRUNCATE",
    "SELECT 1 INTO OUTFILE '{out}' FORMAT CSV SETTINGS max_threads = 1",
    "KILL QUERY WHERE 1",
    "SYSTEM SHUTDOWN",
    "SYSTEM FLUSH LOGS",
    "SET dialect = 'prql'",
    "SELECT 1 SETTINGS format_schema = '{path}'",
)

WRITES = (
    "INSERT INTO FUNCTION file('{out}', 'TSV') SELECT 1",
    "INSERT INTO FUNCTION file('{out}', 'TSV', 'a Int8') FORMAT TSV\n1\n",
    "INSERT INTO TABLE FUNCTION url('http://127.0.0.1:{port}/', 'TSV', 'a Int8') VALUES (1)",
    "INSERT INTO feedback (id) FROM INFILE '{path}' FORMAT TSV",
    "INSERT INTO feedback (comment) VALUES (file('{path}'))",
    "INSERT INTO feedback (comment) SELECT file('{path}')",
    "CREATE TABLE escape (a String) ENGINE = File(TSV, '{path}')",
    "CREATE TABLE escape (a String) ENGINE = URL('http://127.0.0.1:{port}/', 'TSV')",
    "CREATE TABLE escape (a String) ENGINE = Executable('cat', 'TSV')",
    "CREATE TABLE escape (a String) ENGINE = EmbeddedRocksDB(0, '{out}') PRIMARY KEY a",
    "CREATE TABLE escape (a Int8) ENGINE = MergeTree ORDER BY a SETTINGS disk = disk(type = local, path = '{out}/')",
    "CREATE TABLE escape (a String DEFAULT file('{path}')) ENGINE = MergeTree ORDER BY a",
    "CREATE VIEW escape AS SELECT file('{path}')",
    "CREATE MATERIALIZED VIEW escape ENGINE = MergeTree ORDER BY a AS SELECT file('{path}') AS a FROM feedback",
    "CREATE DICTIONARY escape (a String) PRIMARY KEY a SOURCE(FILE(PATH '{path}' FORMAT TSV)) LAYOUT(FLAT())",
    "CREATE DATABASE escape",
    "CREATE DATABASE escape ENGINE = SQLite('{db}')",
    "CREATE FUNCTION escape AS (x) -> file(x)",
    "CREATE USER escape",
    "GRANT ALL ON *.* TO default",
    "CREATE NAMED COLLECTION escape AS a = 1",
    "ATTACH TABLE escape FROM '{out}' (a Int8) ENGINE = MergeTree ORDER BY a",
    "BACKUP TABLE feedback TO File('{out}')",
    "ALTER TABLE feedback MODIFY COLUMN comment String DEFAULT file('{path}')",
    "DROP DATABASE penstock",
)


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("template", READS)
def test_nothing_outside_is_read(store: Store, secret: Path, role: Role, template: str) -> None:
    check_refused(store, secret, role, template)


@pytest.mark.parametrize("template", WRITES)
def test_nothing_outside_is_written_or_attached(store: Store, secret: Path, template: str) -> None:
    check_refused(store, secret, "writer", template)


def check_refused(store: Store, secret: Path, role: Role, template: str) -> None:
    out, db = secret.with_name("written"), secret.with_name("db.sqlite")
    with sqlite3.connect(db) as connection:
        connection.execute("CREATE TABLE c (a TEXT)")
        connection.execute("INSERT INTO c VALUES (?)", (SECRET,))
    connection.close()
    sql = template.format(path=secret, out=out, db=db, port=store.port)
    answer = ask(store, role, sql)
    assert SECRET not in answer.text
    assert answer.status_code >= 400, answer.text
    assert not out.exists()


@pytest.mark.parametrize("statement", ["SELECT 1", "SELECT * FROM numbers(2)", "SELECT 'file(x) INTO OUTFILE' AS file"])
def test_what_only_looks_like_it_is_answered(store: Store, statement: str) -> None:
    assert ask(store, "reader", statement).status_code == 200


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO feedback (id) VALUES ('x')",
        'INSERT INTO feedback (id) FORMAT JSONEachRow {"id":"x"}',
        "INSERT INTO feedback (id) SELECT 'x'",
        "CREATE TABLE reader (a Int8) ENGINE = MergeTree ORDER BY a",
        "ALTER TABLE feedback DELETE WHERE 1",
        "DROP TABLE feedback",
        "TRUNCATE TABLE feedback",
        "OPTIMIZE TABLE feedback",
        "RENAME TABLE feedback TO f2",
        "SET readonly = 0",
        "SELECT 1 SETTINGS readonly = 0",
    ],
)
@pytest.mark.parametrize("params", [{}, {"readonly": "0"}])
def test_a_reader_changes_nothing(store: Store, sql: str, params: dict[str, str]) -> None:
    answer = ask(store, "reader", sql, **params)
    assert answer.status_code >= 400
    assert ask(store, "reader", "SELECT count() FROM feedback WHERE id = 'x'").text == "0\n"


def test_a_setting_of_a_file_is_refused_in_the_query_string_too(store: Store, secret: Path) -> None:
    answer = ask(store, "reader", "SELECT 1 FORMAT Template", format_template_row=str(secret))
    assert SECRET not in answer.text
    assert answer.headers["X-ClickHouse-Exception-Code"] == "452"


def test_the_credentials_are_the_owners_alone(store: Store) -> None:
    assert (store.path / "credentials.json").stat().st_mode & 0o777 == 0o600
    assert store.path.stat().st_mode & 0o777 == 0o700
    assert store.credentials.reader.password != store.credentials.writer.password
