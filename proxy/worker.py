"""A worker process: serves the sockets it inherited until it is told to stop. Started by the supervisor alone."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
import socket
from pathlib import Path

import uvloop

from exporters.spool import SpoolWriter

from .app import App, build
from .job import EXIT_MARGIN_S, Job, SupervisorGone, announce_ready, follow_supervisor, receive_job
from .logs import configure_logging
from .lookup import lookup

_log = logging.getLogger(__name__)

_IDLE_GRACE_S = 1.0
"""Kept-alive connections may still send one more call; its reply closes them."""


async def serve(job: Job) -> None:
    """Serve until SIGTERM, then finish what is open within the shutdown timeout. A second SIGTERM cuts it short."""
    loop = asyncio.get_running_loop()
    stop, hurry = asyncio.Event(), asyncio.Event()

    def on_signal() -> None:
        (hurry if stop.is_set() else stop).set()

    loop.add_signal_handler(signal.SIGTERM, on_signal)
    loop.add_signal_handler(signal.SIGINT, lambda: None)  # the terminal's Ctrl-C is the supervisor's to handle
    settings = job.settings
    spool = SpoolWriter(
        Path(settings.server.data_dir) / "spool",
        job.slot,
        fsync=settings.spool.fsync,
        segment_bytes_max=settings.spool.segment_bytes_max,
        segment_age_max_s=settings.spool.segment_age_max_s,
        defer=loop.call_soon,
    )
    app = build(settings, spool, lookup(job.store_url))
    listeners = [
        await loop.create_server(app.server, sock=socket.socket(fileno=fd), backlog=1024) for fd in job.listen_fds
    ]
    ticking = asyncio.ensure_future(_tick(app))
    app.claims.forget_old()
    gc.freeze()  # what was made until now lives as long as the process
    gc.set_threshold(20_000, 50, 50)  # exchanges make no cycles, so a collection seldom finds anything
    announce_ready(job)
    try:
        await stop.wait()
        for listener in listeners:
            listener.close()
        await _drain(app, settings.server.shutdown_timeout_s, hurry)
    finally:
        ticking.cancel()
        await app.aclose()


async def _tick(app: App) -> None:
    while True:
        await asyncio.sleep(1)
        app.tick()


async def _drain(app: App, timeout_s: float, hurry: asyncio.Event) -> None:
    server = app.server
    app.begin_draining()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            finished = asyncio.ensure_future(_finished(app))
            cut_short = asyncio.ensure_future(hurry.wait())
            try:
                await asyncio.wait((finished, cut_short), return_when=asyncio.FIRST_COMPLETED)
            finally:
                finished.cancel()
                cut_short.cancel()
    if server.open:
        _log.warning("%d calls were still open and are interrupted", server.open)
    app.record.stopping = True
    await server.shutdown(0.5)


async def _finished(app: App) -> None:
    """Return when no exchange is open, having given each connection the chance of one last call."""
    await app.server.emptied(_IDLE_GRACE_S)
    await app.record.drained(float("inf"))


def main() -> None:
    try:
        job = receive_job()
    except SupervisorGone as gone:
        raise SystemExit(str(gone)) from gone
    configure_logging(job.name)
    follow_supervisor(job.settings.server.shutdown_timeout_s + EXIT_MARGIN_S)
    uvloop.run(serve(job))


if __name__ == "__main__":
    main()
