"""The recorder process: tails the spools of all workers and feeds every sink that is configured.

Started by the supervisor alone. A sink that cannot be built is said in one line and left out; the others work.
"""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from threading import Event, Thread
from typing import Final

from prometheus_client import CollectorRegistry

from exporters.clickhouse.sink import ClickHouseSink
from exporters.console import ConsoleSink
from exporters.delivery import Limits
from exporters.jsonl import JsonlSink, Rotation
from exporters.metrics import MetricsSink
from exporters.metrics_server import LedgerCollector, LossCollector, MetricsServer
from exporters.readable import VERSION, resource_from_environment
from exporters.recorder import Recorder, RecorderBusy
from exporters.redact import Redactor
from exporters.sink import Sink

from .job import (
    EMPTY_SPOOL_WITHIN_S,
    EXIT_MARGIN_S,
    Job,
    SupervisorGone,
    announce_ready,
    follow_supervisor,
    receive_job,
)
from .logs import configure_logging
from .metering.complete import completer
from .otlp_settings import connection_of, sink_name
from .sampling import sampled
from .settings import Export, Otlp

logger = logging.getLogger(__name__)


def sinks(job: Job, registry: CollectorRegistry) -> list[Sink]:
    """Every sink of the settings and the environment. Those that cannot be built are logged and missing."""
    settings = job.settings
    redactor = Redactor(settings.record.redact)
    builders: list[Callable[[], list[Sink]]] = [
        lambda: [_clickhouse_sink(job)],
        *(partial(_otlp_sinks, otlp, redactor) for otlp in settings.otlp),
        partial(_environment_sinks, redactor),
    ]
    if settings.export.jsonl:
        builders.append(lambda: [_export_sink(settings.export, redactor)])
    if settings.metrics.port:
        builders.append(lambda: [MetricsSink(registry)])
    if job.console:
        builders.append(lambda: [ConsoleSink(sys.stdout)])
    return [sink for build in builders for sink in _built(build)]


def _built(build: Callable[[], list[Sink]]) -> Iterator[Sink]:
    try:
        yield from build()
    except (ValueError, OSError) as error:
        logger.error("a sink is left out: %s", error)


def _clickhouse_sink(job: Job) -> Sink:
    resource = {name: str(value) for name, value in resource_from_environment().attributes.items()}
    store = job.settings.store
    return ClickHouseSink(
        job.store_url, store, writes_calls=store.writer == "penstock", resource=resource, version=VERSION
    )


def _export_sink(export: Export, redactor: Redactor) -> Sink:
    return JsonlSink(
        Path(export.jsonl),
        service=str(resource_from_environment().attributes.get("service.name", "")),
        content=export.content,
        redactor=redactor,
        rotation=Rotation(
            bytes_max=export.rotate_bytes,
            age_max_s=export.rotate_s,
            compression=export.compression,
            files_max=export.keep_files,
            kept_bytes_max=export.keep_bytes,
        ),
    )


def _environment_sinks(redactor: Redactor) -> list[Sink]:
    if not any(os.environ.get(name) for name in _ENDPOINT_VARIABLES):
        return []
    from exporters.otlp_environment import sinks_from_environment

    return [*sinks_from_environment(os.environ, redactor=redactor)]


_ENDPOINT_VARIABLES: Final = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")


def _otlp_sinks(otlp: Otlp, redactor: Redactor) -> list[Sink]:
    # Imported where an endpoint is configured: gRPC and its like are a good part of a start.
    from exporters.otlp import OtlpSink
    from exporters.otlp_environment import target_from_configuration

    there = connection_of(otlp)
    target = target_from_configuration(
        there.endpoint, protocol=otlp.protocol, headers=there.headers, timeout_s=otlp.timeout_s
    )
    return [
        OtlpSink(
            target,
            name=sink_name(otlp),
            content=otlp.content,
            dialect=there.dialect,
            redactor=redactor,
            resource=resource_from_environment(there.resource),
        )
    ]


def recorder(job: Job, registry: CollectorRegistry, health: CollectorRegistry) -> Recorder:
    """The recorder of `job`, ready to run. The traffic is counted in `registry`, how Penstock does in `health`."""
    settings = job.settings
    data_dir = Path(settings.server.data_dir)
    fed = sinks(job, registry)
    made = Recorder(
        data_dir / "spool",
        data_dir / "checkpoints",
        fed,
        completer(settings),
        limits=Limits(
            batch_records_max=settings.spool.batch_records_max, batch_age_max_s=settings.spool.batch_age_max_s
        ),
        bytes_max=settings.spool.bytes_max,
        drain_timeout_s=EMPTY_SPOOL_WITHIN_S,
    )
    health.register(LedgerCollector(lambda: made.last_status, spool_bytes_max=settings.spool.bytes_max))
    health.register(LossCollector(fed))
    return made


def serve_metrics(job: Job, registry: CollectorRegistry) -> MetricsServer | None:
    """None, and one line, when the address is taken: metrics are not worth a record."""
    metrics = job.settings.metrics
    if not metrics.port:
        return None
    try:
        return MetricsServer(registry, metrics.host, metrics.port)
    except OSError as error:
        logger.error(
            "no metrics: cannot listen on %s:%d (%s); choose another with metrics.port",
            metrics.host,
            metrics.port,
            error.strerror or error,
        )
        return None


def _end_when_told(stop: Event) -> None:
    # Without a time-out: Python's `sigtimedwait` reports a signal that never came when its process was stopped and
    # continued meanwhile, as a container that is paused is, and the recorder would end for it.
    signal.sigwait({signal.SIGTERM})
    stop.set()
    signal.sigwait({signal.SIGTERM})
    os._exit(0)  # The checkpoints say what was on its way; the next recorder goes on there.


def run(job: Job) -> int:
    """Record until SIGTERM, then empty the spool as far as a few seconds allow. A second SIGTERM ends it at once."""
    # Blocked before any thread starts, so that all of them inherit it and the signal waits for us.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    follow_supervisor(EMPTY_SPOOL_WITHIN_S + 2 * EXIT_MARGIN_S)
    registry, health = CollectorRegistry(), CollectorRegistry()
    registry.register(health)
    made = recorder(job, registry, health)
    server = serve_metrics(job, registry)
    stop, done = Event(), Event()

    def record() -> None:
        try:
            made.run(stop)
            done.set()
        except (RecorderBusy, OSError) as error:
            logger.error("cannot record: %s", error)

    gc.freeze()  # what was made until now lives as long as the process
    gc.set_threshold(50_000, 50, 50)  # records make no cycles, so a collection only looks at whole batches in vain
    thread = Thread(target=record, name="recorder")
    with sampled(job, health):
        thread.start()
        Thread(target=_end_when_told, args=(stop,), name="told", daemon=True).start()
        announce_ready(job)
        thread.join()
    if server is not None:
        server.close()
    return 0 if done.is_set() else 1


def main() -> None:
    try:
        job = receive_job()
    except SupervisorGone as gone:
        raise SystemExit(str(gone)) from gone
    configure_logging(job.name)
    sys.exit(run(job))


if __name__ == "__main__":
    main()
