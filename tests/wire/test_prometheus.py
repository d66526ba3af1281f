"""A real Prometheus with our rules scrapes what a recorder exposes, and evaluates every rule without complaint."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from prometheus_client import CollectorRegistry

from exporters.ledger import LedgerSnapshot, SinkLedger
from exporters.metrics import MetricsSink
from exporters.metrics_server import LedgerCollector, MetricsServer
from exporters.sink import Batch
from tests.ports import held_port
from tests.unit.exporters.a_record import record

DEPLOY = Path(__file__).parents[2] / "deploy" / "prometheus"
WITHIN_S = 60.0


@pytest.fixture
def scraped() -> Iterator[int]:
    """The port of an exporter far behind, whose spool is almost full."""
    sink = SinkLedger(
        name="clickhouse", accepted=10, exported=6, spooled=4, dropped={}, feedback_exported=0, feedback_dropped=0,
        lag_s=900.0, retries=1, last_error="",
    )  # fmt: skip
    ledger = LedgerSnapshot(at_ns=1, accepted=10, spool_bytes=900, sinks=(sink,))
    registry = CollectorRegistry()
    registry.register(LedgerCollector(lambda: ledger, spool_bytes_max=1000))
    MetricsSink(registry).write(Batch("token", [record(batch_id="")]))
    server = MetricsServer(registry, "127.0.0.1", 0)
    yield server.port
    server.close()


@pytest.fixture
def prometheus(scraped: int, tmp_path: Path) -> Iterator[httpx.Client]:
    """The configuration in the tree, with other ports and less patience."""
    configuration = yaml.safe_load((DEPLOY / "scrape.yaml").read_text())
    configuration["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    configuration["rule_files"] = [str(DEPLOY / "alerts.yaml")]
    configuration["scrape_configs"][0]["static_configs"][0]["targets"] = [f"127.0.0.1:{scraped}"]
    (tmp_path / "prometheus.yaml").write_text(yaml.safe_dump(configuration))
    command = [
        "prometheus",
        f"--config.file={tmp_path / 'prometheus.yaml'}",
        f"--storage.tsdb.path={tmp_path / 'data'}",
    ]
    with held_port() as port:
        with (tmp_path / "prometheus.log").open("wb") as log:
            process = subprocess.Popen([*command, f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log)
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}/api/v1", timeout=10) as client:
                yield client
        finally:
            process.kill()
            process.wait(WITHIN_S)


def until_it_is(expected: Any, look: Callable[[], Any]) -> None:
    found = None
    deadline = time.monotonic() + WITHIN_S
    while time.monotonic() < deadline:
        with suppress(httpx.HTTPError, KeyError, ValueError):
            if (found := look()) == expected:
                return
        time.sleep(0.1)
    assert found == expected


def test_prometheus_scrapes_and_judges(prometheus: httpx.Client) -> None:
    def states() -> dict[str, str]:
        (group,) = prometheus.get("/rules").json()["data"]["groups"]
        assert [rule["lastError"] for rule in group["rules"] if rule["health"] not in ("ok", "unknown")] == []
        return {rule["name"]: rule["state"] for rule in group["rules"] if rule["health"] == "ok"}

    def targets() -> list[tuple[str, str]]:
        found = prometheus.get("/targets").json()["data"]["activeTargets"]
        return [(target["health"], target["lastError"]) for target in found]

    # A scrape may come between two rules of one evaluation: the first is then found a second later than the other.
    rules = {
        rule["alert"]: "inactive" for rule in yaml.safe_load((DEPLOY / "alerts.yaml").read_text())["groups"][0]["rules"]
    }
    expected = rules | {"PenstockExporterBehind": "pending", "PenstockSpoolFillsUp": "pending"}
    until_it_is(expected, states)
    until_it_is([("up", "")], targets)  # one scrape of a second may have found this process standing still
