"""What a SQL text is: where an INSERT's data begin, and which canonical statements would leave the database."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporters.clickhouse.statement import (
    Insert,
    Refused,
    check_stays_inside,
    masked,
    read_insert,
    read_kind,
    split_format,
)

REFUSED = frozenset({"file", "url", "python"})


@pytest.mark.parametrize(
    ("head", "fmt", "tail"),
    [
        ("INSERT INTO t ", "JSONEachRow", "\n"),
        ("INSERT INTO t (a, b) ", "Native", "\n"),
        ('insert into db.t (`FORMAT x`, "values") ', "RowBinary", " \r\n"),
        ("INSERT INTO t SETTINGS a = 1, b = 'FORMAT CSV' ", "CSV", "\n"),
        ("/* VALUES */ INSERT INTO t -- FORMAT TSV\n ", "TSV", "\n"),
        ("INSERT INTO FUNCTION null('a FORMAT x') ", "JSONEachRow", " "),
    ],
)
def test_the_data_begin_after_the_format(head: str, fmt: str, tail: str) -> None:
    data = b'{"a":"; FORMAT SELECT"}'
    text = f"{head}FORMAT {fmt}{tail}".encode()
    assert read_insert(text + data) == Insert(head.encode(), fmt, len(text))


@given(st.binary(max_size=64))
def test_no_byte_of_the_data_is_taken_or_added(data: bytes) -> None:
    text = b"INSERT INTO t FORMAT Native\n"
    found = read_insert(text + data)
    assert found is not None
    assert (text + data)[found.data_at :] == data


def test_values_are_a_format_too() -> None:
    assert read_insert(b"INSERT INTO t (a) VALUES (1), (2)") == Insert(b"INSERT INTO t (a) ", "Values", 24)


@pytest.mark.parametrize(
    "text",
    [
        "SELECT 1 FORMAT JSON",
        "INSERT INTO t SELECT 1 FORMAT JSON",
        "INSERT INTO t (a) WITH 1 AS x SELECT x",
        "INSERT INTO t FROM INFILE 'x' FORMAT CSV",
        "INSERT INTO t",
        "(SELECT 1)",
        "",
        "-- INSERT INTO t VALUES (1)",
    ],
)
def test_what_brings_no_data_is_no_insert_with_data(text: str) -> None:
    assert read_insert(text.encode()) is None


@given(st.binary(max_size=200))
def test_any_bytes_can_be_looked_at(text: bytes) -> None:
    found = read_insert(b"INSERT INTO t " + text)
    assert found is None or 0 < found.data_at <= len(text) + 14


@pytest.mark.parametrize(
    "canonical",
    [
        "SELECT file('x')",
        "SELECT FILE ('x')",
        "SELECT `file`('x')",
        "SELECT * APPLY file FROM t",
        "SELECT * APPLY(file) FROM t",
        "SELECT 1 AS `it's`, file('x'), 'y'",
        "SELECT 'a\\'', file('x')",
        "SELECT 1 INTO OUTFILE 'x'",
        "INSERT INTO t FROM INFILE 'x' FORMAT CSV",
        "CREATE TABLE t (a Int8) ENGINE = File(TSV)",
        "CREATE TABLE t (a Int8) ENGINE = Executable('x', 'TSV')",
        "KILL QUERY WHERE 1",
    ],
)
def test_what_would_leave_the_database_is_refused(canonical: str) -> None:
    with pytest.raises(Refused):
        check_stays_inside(canonical, REFUSED)


@pytest.mark.parametrize(
    "canonical",
    [
        "SELECT 'file(x) INTO OUTFILE', file, t.url FROM t AS file",
        "SELECT profile(1), file1(2)",
        "CREATE TABLE t (a Int8) ENGINE = ReplicatedReplacingMergeTree ORDER BY a",
        "CREATE TABLE t (a Int8) ENGINE = Null",
        "SELECT 1 AS `outfiles`",
    ],
)
def test_what_only_looks_like_it_is_not(canonical: str) -> None:
    check_stays_inside(canonical, REFUSED)


def quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


@given(st.lists(st.text(alphabet="ab'\\`() file", max_size=12), min_size=1, max_size=4))
def test_no_literal_hides_a_call_and_none_is_taken_for_one(literals: list[str]) -> None:
    row = ", ".join(quoted(text) for text in literals)
    check_stays_inside(f"SELECT {row}", REFUSED)
    with pytest.raises(Refused):
        check_stays_inside(f"SELECT {row}, file({row}), {row}", REFUSED)
    assert masked(f"SELECT {row}") == "SELECT " + ", ".join("''" for _ in literals)


@pytest.mark.parametrize(
    ("canonical", "rest", "fmt"),
    [
        ("SELECT 1 FORMAT JSON", "SELECT 1", "JSON"),
        ("SELECT 1 FORMAT JSON SETTINGS max_threads = 1", "SELECT 1 SETTINGS max_threads = 1", "JSON"),
        ("SELECT 'x FORMAT JSON'", "SELECT 'x FORMAT JSON'", None),
        ("SELECT 1 AS `a FORMAT JSON`", "SELECT 1 AS `a FORMAT JSON`", None),
        ("SELECT ' FORMAT A' FORMAT B", "SELECT ' FORMAT A'", "B"),
        ("SHOW TABLES", "SHOW TABLES", None),
    ],
)
def test_the_format_clause_is_told_from_what_looks_like_it(canonical: str, rest: str, fmt: str | None) -> None:
    assert split_format(canonical) == (rest, fmt)


@pytest.mark.parametrize(
    ("canonical", "kind"),
    [
        ("SELECT 1", "select"),
        ("(SELECT 1) UNION ALL SELECT 2", "select"),
        ("WITH 1 AS a SELECT a", "select"),
        ("INSERT INTO t SELECT 1", "insert"),
        ("SHOW TABLES", "other"),
        ("", "other"),
    ],
)
def test_kinds(canonical: str, kind: str) -> None:
    assert read_kind(canonical) == kind
