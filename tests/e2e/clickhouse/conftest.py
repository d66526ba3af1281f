"""One embedded store for the tests that share it; each test brings ids of its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from clickhouse_connect.driver.client import Client

from exporters.clickhouse.connect import connect, parse_url
from exporters.clickhouse.schema import Schema, migrate
from exporters.clickhouse.sink import ClickHouseSink
from tests.ports import held_port
from tests.stores import Store, embedded_store


@dataclass(frozen=True)
class Settings:
    """`[store]` as far as the sink looks at it."""

    retention_days: int = 90
    cluster: str = ""


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """Migrated, and shared by the whole run."""
    with embedded_store(tmp_path_factory.mktemp("clickhouse")) as running:
        migrate(parse_url(running.url()), Schema("penstock"))
        yield running


@pytest.fixture
def client(store: Store) -> Iterator[Client]:
    """As the writer."""
    connected = connect(store.url())
    yield connected
    connected.close()


@pytest.fixture
def port() -> Iterator[int]:
    """For a store that has it in each of its lives; nobody else's in between."""
    with held_port() as held:
        yield held


@pytest.fixture
def sink(store: Store) -> Iterator[ClickHouseSink]:
    made = ClickHouseSink(store.url(), Settings())
    yield made
    made.close()
