"""Every test of the queue runs on a file of SQLite and on a real PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from proxy.batching.database import Database, queue_url
from proxy.batching.queue import Queue
from proxy.settings import Batch, Server, Settings
from tests.postgres import Postgres, postgresql


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    with postgresql() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """Of an empty queue."""
    url = request.getfixturevalue("postgres").new() if request.param == "postgresql" else ""
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
