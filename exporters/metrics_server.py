"""`/metrics` and `/healthz` of the recorder, on a port of their own; and the ledger, read anew at each scrape."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Final, Protocol
from wsgiref.simple_server import WSGIRequestHandler, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import ThreadingWSGIServer

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_SOCKET_TIMEOUT_S: Final = 10.0


class SinkLedger(Protocol):
    """How far one sink is. `dropped` is by reason."""

    @property
    def exported(self) -> int: ...
    @property
    def spooled(self) -> int: ...
    @property
    def dropped(self) -> Mapping[str, int]: ...
    @property
    def lag_s(self) -> float: ...


class Ledger(Protocol):
    """For every sink: accepted = exported + spooled + dropped."""

    @property
    def accepted(self) -> int: ...
    @property
    def spool_bytes(self) -> int: ...
    @property
    def sinks(self) -> Mapping[str, SinkLedger]: ...


class LedgerCollector:
    """A collector of prometheus_client over whatever `read` returns at the moment of the scrape."""

    def __init__(self, read: Callable[[], Ledger]) -> None:
        self._read = read

    def collect(self) -> Iterator[Metric]:
        ledger = self._read()
        accepted = CounterMetricFamily("penstock_records_accepted", "Exchanges that were accepted.")
        exported = CounterMetricFamily("penstock_records_exported", "Records that a sink has.", labels=["sink"])
        spooled = GaugeMetricFamily("penstock_records_spooled", "Records that wait for a sink.", labels=["sink"])
        dropped = CounterMetricFamily(
            "penstock_records_dropped", "Records that a sink will never have.", labels=["sink", "reason"]
        )
        lag = GaugeMetricFamily("penstock_sink_lag_seconds", "Age of the oldest waiting record.", labels=["sink"])
        size = GaugeMetricFamily("penstock_spool_bytes", "Bytes of all spools on disk.")
        accepted.add_metric([], ledger.accepted)
        size.add_metric([], ledger.spool_bytes)
        for name, sink in ledger.sinks.items():
            exported.add_metric([name], sink.exported)
            spooled.add_metric([name], sink.spooled)
            lag.add_metric([name], sink.lag_s)
            for reason, count in sink.dropped.items():
                dropped.add_metric([name, reason], count)
        yield from (accepted, exported, spooled, dropped, lag, size)

    def describe(self) -> Iterator[Metric]:
        """Nothing in advance, so that registering does not read the ledger."""
        return iter(())


class MetricsServer:
    """Serves a registry from threads of its own until `close`. Port 0 takes a free one; `port` says which.

    Raises `OSError` when the address is taken or not this machine's.
    """

    def __init__(self, registry: CollectorRegistry, host: str, port: int) -> None:
        class Server(ThreadingWSGIServer):
            address_family = _family(host)

        self._server = make_server(host, port, _application(registry), Server, handler_class=_Handler)
        self.port: int = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), name="metrics", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Returns when the port is free again. Safe to call again."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()


def _application(registry: CollectorRegistry) -> WSGIApplication:
    metrics: WSGIApplication = make_wsgi_app(registry)

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path == "/metrics":
            return metrics(environ, start_response)
        found = path == "/healthz"
        start_response("200 OK" if found else "404 Not Found", [("Content-Type", "text/plain; charset=utf-8")])
        return [b"ok\n" if found else b"Here are /metrics and /healthz.\n"]

    return application


class _Handler(WSGIRequestHandler):
    timeout = _SOCKET_TIMEOUT_S

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the stdlib's name
        """A scrape every few seconds is no news."""


def _family(host: str) -> int:
    return socket.AF_INET6 if ":" in host else socket.AF_INET
