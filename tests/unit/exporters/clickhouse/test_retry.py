"""What is tried again, what is refused, and that no message tells a secret."""

from __future__ import annotations

import pytest
from clickhouse_connect.driver.exceptions import DatabaseError, OperationalError

from exporters.clickhouse.retry import MENDED_BY_OPERATOR, PASSING, REFUSED, judged, one_line
from exporters.sink import BatchRefused, SinkUnavailable


def test_no_code_is_in_two_tables() -> None:
    assert not set(REFUSED) & set(MENDED_BY_OPERATOR)
    assert not set(REFUSED) & set(PASSING)
    assert not set(MENDED_BY_OPERATOR) & set(PASSING)


@pytest.mark.parametrize("code", REFUSED)
def test_what_the_data_cause_is_refused(code: int) -> None:
    assert isinstance(judged(DatabaseError("x", code=code)), BatchRefused)


@pytest.mark.parametrize("code", [*MENDED_BY_OPERATOR, *PASSING, None, 4711])
def test_everything_else_waits(code: int | None) -> None:
    assert isinstance(judged(DatabaseError("x", code=code)), SinkUnavailable)


def test_the_operator_is_told_what_to_do() -> None:
    assert "penstock migrate" in str(judged(DatabaseError("Code: 60. DB::Exception: Unknown table", code=60)))
    assert "password" in str(judged(DatabaseError("x", code=516)))


def test_a_network_fault_is_said_in_one_line() -> None:
    try:
        try:
            raise ConnectionRefusedError(111, "Connection refused")
        except OSError as inner:
            raise OperationalError("Error\nHTTPConnectionPool http://u:secret@h/ ...") from inner
    except OperationalError as error:
        said = str(judged(error))
    assert said == "ClickHouse cannot be reached: [Errno 111] Connection refused"


@pytest.mark.parametrize(
    "text",
    [
        "Received ClickHouse exception, code: 6, server response: Code: 6. DB::Exception: Cannot parse 'SECRET' as",
        "Code: 27. DB::Exception: Cannot parse input: expected ',' before: 'SECRET\n more SECRET'",
        "could not reach http://user:SECRET@host:8123/db",
    ],
)
def test_neither_data_nor_credentials_are_repeated(text: str) -> None:
    said = one_line(DatabaseError(text))
    assert "SECRET" not in said
    assert "\n" not in said


def test_the_name_of_what_is_missing_is_kept() -> None:
    assert "'nowhere'" in one_line(
        DatabaseError("Code: 60. DB::Exception: Unknown table expression identifier 'nowhere'.")
    )
