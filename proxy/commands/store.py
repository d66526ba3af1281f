"""The store as the commands see it: a function that answers SQL with rows."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from clickhouse_connect.driver.client import Client

from exporters.clickhouse.connect import StoreError, connect, parse_url, translated
from exporters.clickhouse.credentials import Role

from ..configuration import load
from ..data_dir import serving
from ..programs import store_url
from ..settings import Settings
from .failure import CommandFailed

Row = dict[str, Any]
Query = Callable[[str, Mapping[str, object]], Sequence[Row]]
"""SQL with `{name:Type}` placeholders and their values. Raises `CommandFailed`."""

STORE_STARTS_WITHIN_S = 10.0


def settings_of(path: Path | None, data_dir: str | None) -> Settings:
    """The settings that say where the store is. Raises `ConfigurationError`."""
    return load(path, {"server.data_dir": data_dir}, os.environ, only_store=True)


def address(settings: Settings, role: Role) -> str:
    """The ClickHouse URL of these settings, with credentials. Raises `CommandFailed` when nobody serves it."""
    if settings.store.clickhouse != "embedded":
        return settings.store.clickhouse
    data_dir = Path(settings.server.data_dir)
    note = serving(data_dir)
    if note is None or not note.store_url:
        raise CommandFailed(
            f"The embedded store in {data_dir} is open only while Penstock serves from there. "
            "Start `penstock serve`, name another directory with --data-dir, or set store.clickhouse."
        )
    port = int(note.store_url.rpartition(":")[2])
    try:
        return store_url(settings, port, role)
    except OSError as error:
        raise CommandFailed(f"The store's credentials cannot be read: {error}.") from error


def open_query(settings: Settings) -> Query:
    """Connect for reading. Raises `CommandFailed`. A database that nothing was recorded in yet answers with no rows."""
    url = address(settings, "reader")
    client = _connect(url, patience_s=STORE_STARTS_WITHIN_S if settings.store.clickhouse == "embedded" else 0.0)
    has_tables = False

    def query(sql: str, values: Mapping[str, object]) -> Sequence[Row]:
        nonlocal has_tables
        try:
            with translated(parse_url(url)):
                has_tables = has_tables or bool(client.query(_HAS_TABLES).result_rows[0][0])
                return [*client.query(sql, parameters=dict(values)).named_results()] if has_tables else []
        except StoreError as error:
            raise CommandFailed(str(error)) from error

    return query


def _connect(url: str, patience_s: float) -> Client:
    """The embedded store comes up a moment after the proxy, so it is tried again. Raises `CommandFailed`."""
    deadline = time.monotonic() + patience_s
    while True:
        try:
            return connect(url)
        except StoreError as error:
            if time.monotonic() >= deadline:
                raise CommandFailed(str(error)) from error
        time.sleep(0.2)


_HAS_TABLES = "SELECT count() FROM system.tables WHERE database = currentDatabase() AND name = 'generations'"
