"""Every test of the queue runs on a file of SQLite and on a real PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from proxy.batching.database import COUNTED, Database, queue_url
from proxy.batching.queue import Queue
from proxy.batching.tables import VERSION, metadata
from proxy.settings import Batch, Server, Settings
from tests.postgres import Postgres, postgresql


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    with postgresql() as server:
        yield server


@pytest.fixture(scope="session")
def postgres_url(postgres: Postgres) -> str:
    """Of a database that tests use one after the other: making one takes longer than most of them."""
    url = postgres.new()
    Database.open(url).close()
    return url


def empty(postgres: Postgres, url: str) -> None:
    """As it was when its tables were made, whatever a test did to it."""
    with postgres.connect(url.rpartition("/")[2]) as connection, connection.transaction():
        for table in metadata.sorted_tables:
            connection.execute(f"DELETE FROM {table.name}")
        for name, value in (("version", VERSION), *((name, 0) for name in COUNTED)):
            connection.execute("INSERT INTO counters (name, value) VALUES (%s, %s)", (name, value))


@pytest.fixture(params=["sqlite", "postgresql"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """Of an empty queue."""
    url = ""
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres_url")
        empty(request.getfixturevalue("postgres"), url)
    return Settings(server=Server(data_dir=str(tmp_path)), batch=Batch(url=url))


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    made = Database.open(queue_url(settings))
    yield made
    made.close()


@pytest.fixture
async def queue(settings: Settings) -> AsyncIterator[Queue]:
    made = Queue(settings)
    yield made
    await made.aclose()
