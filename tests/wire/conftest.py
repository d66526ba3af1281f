"""Everything on sockets runs on uvloop, as the workers do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import pytest
import uvloop

PATIENT_S = 60.0


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(autouse=True)
def patient_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that stands still for a moment is no disk that hangs: what is slow is waited for here, not given up."""
    monkeypatch.setattr("cache.disk._TIMEOUT_S", PATIENT_S)
    monkeypatch.setattr("proxy.caching.keeping._DRAIN_S", PATIENT_S)
    monkeypatch.setattr("proxy.batching.keeping._DRAIN_S", PATIENT_S)
