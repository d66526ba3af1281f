"""`/metrics` and `/healthz` over real sockets, and a shutdown that frees the port."""

from __future__ import annotations

import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families as parse

from exporters.metrics import MetricsSink
from exporters.metrics_server import MetricsServer
from exporters.sink import Batch
from tests.ports import held_port
from tests.unit.exporters.a_record import record
from tests.wire.proxied import PATIENCE_S


def test_serves_what_was_counted() -> None:
    registry = CollectorRegistry()
    sink = MetricsSink(registry)
    server = MetricsServer(registry, "127.0.0.1", 0)
    sink.write(Batch(token="1", records=[record()]))
    with httpx.Client(base_url=f"http://127.0.0.1:{server.port}", timeout=PATIENCE_S) as client:
        answer = client.get("/metrics")
        assert answer.headers["content-type"].startswith("text/plain")
        families = {family.name: family for family in parse(answer.text)}
        assert families["penstock_requests"].samples[0].value == 1
        openmetrics = client.get("/metrics", headers={"accept": "application/openmetrics-text; version=1.0.0"})
        assert openmetrics.text.endswith("# EOF\n")
        assert client.get("/healthz").text == "ok\n"
        assert client.get("/").status_code == 404
        assert client.post("/metrics").status_code == 405
    server.close()


def test_scrapes_while_it_counts() -> None:
    registry = CollectorRegistry()
    sink = MetricsSink(registry)
    server = MetricsServer(registry, "127.0.0.1", 0)
    scraped = threading.Event()

    def count() -> None:
        token = 0
        while not scraped.wait(0.001):
            token += 1
            sink.write(Batch(token=str(token), records=[record(request_model=f"m{token % 9}", response_model="")]))

    with ThreadPoolExecutor(3) as pool:
        counting = pool.submit(count)
        scrapes = [
            pool.submit(httpx.get, f"http://127.0.0.1:{server.port}/metrics", timeout=PATIENCE_S) for _ in range(10)
        ]
        assert {scrape.result().status_code for scrape in scrapes} == {200}
        scraped.set()
        counting.result()
    server.close()


def test_closing_frees_the_port_and_may_be_repeated() -> None:
    with held_port() as port:
        server = MetricsServer(CollectorRegistry(), "127.0.0.1", port)
        with socket.create_connection(("127.0.0.1", port)):
            server.close()
        server.close()
        again = MetricsServer(CollectorRegistry(), "127.0.0.1", port)
        assert again.port == port
        again.close()


def test_an_occupied_port_is_an_error_at_once() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(OSError, match=r"[Aa]ddress already in use"):
            MetricsServer(CollectorRegistry(), "127.0.0.1", taken.getsockname()[1])


def test_ipv6_loopback() -> None:
    try:
        server = MetricsServer(CollectorRegistry(), "::1", 0)
    except OSError:
        pytest.skip("this machine has no IPv6")
    assert httpx.get(f"http://[::1]:{server.port}/healthz", timeout=PATIENCE_S).text == "ok\n"
    server.close()
