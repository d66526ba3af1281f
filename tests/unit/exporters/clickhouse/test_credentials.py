"""The two users of the embedded store."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from exporters.clickhouse.connect import parse_url
from exporters.clickhouse.credentials import FILE_NAME, Credentials, Login, store_credentials


def test_they_are_made_once_and_only_the_owner_reads_them(tmp_path: Path) -> None:
    made = store_credentials(tmp_path / "store")
    assert store_credentials(tmp_path / "store") == made
    assert (tmp_path / "store" / FILE_NAME).stat().st_mode & 0o777 == 0o600
    assert made.writer.password != made.reader.password
    assert min(len(made.writer.password), len(made.reader.password)) >= 32


def test_all_who_ask_at_once_are_told_the_same(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        told = list(pool.map(lambda _: store_credentials(tmp_path / "store"), range(40)))
    assert len(set(told)) == 1
    assert [path.name for path in (tmp_path / "store").iterdir()] == [FILE_NAME]


def test_a_damaged_file_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text("{")
    with pytest.raises(msgspec.DecodeError):
        store_credentials(tmp_path)
    assert (tmp_path / FILE_NAME).read_text() == "{"


def test_roles() -> None:
    both = Credentials(Login("penstock", "a"), Login("reader", "b"))
    assert both.role("penstock", "a") == "writer"
    assert both.role("reader", "b") == "reader"
    for user, password in (
        ("penstock", "b"),
        ("reader", "a"),
        ("", ""),
        ("penstock", ""),
        ("penstock\0a", ""),
        ("é", "\ud800"),
    ):
        assert both.role(user, password) is None


def test_the_url_leads_back_to_the_login() -> None:
    address = parse_url(Credentials(Login("penstock", "p/@:?%"), Login("reader", "b")).url(8123, "writer"))
    assert (address.user, address.password, address.port, address.database) == ("penstock", "p/@:?%", 8123, "penstock")
