"""The sampler in the recorder's process: nobody waits for it, and an address that is none stops nothing."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from proxy.job import Job
from proxy.sampling import sampled
from proxy.settings import Server, Settings


def job(tmp_path: Path, store_url: str) -> Job:
    return Job(settings=Settings(server=Server(data_dir=str(tmp_path))), store_url=store_url)


@pytest.fixture
def samplers() -> Callable[[], list[threading.Thread]]:
    """Those that began since."""
    before = set(threading.enumerate())
    return lambda: [thread for thread in threading.enumerate() if thread.name == "health" and thread not in before]


def test_a_database_that_says_nothing_does_not_keep_the_process(
    tmp_path: Path, samplers: Callable[[], list[threading.Thread]]
) -> None:
    registry = CollectorRegistry()
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(1)
        silent.settimeout(60)
        with sampled(job(tmp_path, f"http://u:p@127.0.0.1:{silent.getsockname()[1]}/penstock"), registry):
            connection, _ = silent.accept()
            assert b"penstock_health_samples_dropped_total 0.0" in generate_latest(registry)
        (waiting,) = samplers()
        assert waiting.is_alive(), "it still waits for an answer, and the block was left"
        assert waiting.daemon
        connection.close()
    waiting.join(60)
    assert not waiting.is_alive()


def test_an_address_that_is_none_is_said_and_stops_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, samplers: Callable[[], list[threading.Thread]]
) -> None:
    registry = CollectorRegistry()
    with sampled(job(tmp_path, "redis://u:p4ssw0rd@h"), registry):
        assert samplers() == []
        assert b"penstock_queue_look_failures_total" in generate_latest(registry)
    assert "health is not sampled" in caplog.text
    assert "p4ssw0rd" not in caplog.text
