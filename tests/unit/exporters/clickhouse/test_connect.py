"""ClickHouse URLs."""

from __future__ import annotations

import pytest
from clickhouse_connect.driver.exceptions import DatabaseError, OperationalError

from exporters.clickhouse.connect import Address, StoreError, StoreUnavailable, parse_url, translated


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://h", Address("h", 8123, "default", "", "default", False)),
        ("https://h", Address("h", 8443, "default", "", "default", True)),
        ("http://u:p%40%2F@h:9/db", Address("h", 9, "u", "p@/", "db", False)),
        ("http://[::1]:9/db/", Address("::1", 9, "default", "", "db", False)),
    ],
)
def test_urls(url: str, address: Address) -> None:
    assert parse_url(url) == address


@pytest.mark.parametrize(
    "url",
    [
        "",
        "h:8123",
        "clickhouse://u:SECRET@h/db",
        "http://u:SECRET@:8/db",
        "http://u:SECRET@h:x",
        "http://u:SECRET@h/a b",
        "http://h/a;b",
    ],
)
def test_what_is_no_url_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(StoreError) as caught:
        parse_url(url)
    assert "SECRET" not in str(caught.value)


def test_an_address_is_shown_without_the_password() -> None:
    address = parse_url("https://u:SECRET@[::1]:9/db")
    assert repr(address) == "Address('https://[::1]:9/db')"


def test_errors_are_one_line() -> None:
    address = parse_url("http://u:SECRET@h/db")
    with (
        pytest.raises(StoreUnavailable, match=r"at http://h:8123/db: the user or the password is wrong"),
        translated(address),
    ):
        raise DatabaseError("x", code=516)
    with pytest.raises(StoreUnavailable, match="cannot be reached"), translated(address):
        raise OperationalError("no route")
    with pytest.raises(StoreError, match=r"\(code 62\): Syntax error") as caught, translated():
        raise DatabaseError("Code: 62. DB::Exception: Syntax error (version 26.9)", code=62)
    assert not isinstance(caught.value, StoreUnavailable)
