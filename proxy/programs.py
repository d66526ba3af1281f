"""Which programs `penstock serve` starts, and what each is told."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from .job import Job
from .processes import Launch, python_module
from .settings import Settings


@dataclass(frozen=True, slots=True)
class Programs:
    """The commands of the children; tests put stand-ins here."""

    worker: Sequence[str] = python_module("proxy.worker")
    recorder: Sequence[str] = python_module("proxy.recording")
    store: Sequence[str] = python_module("exporters.clickhouse.embedded")

    def launch_worker(self, settings: Settings, slot: int, listen_fds: tuple[int, ...]) -> Launch:
        job = Job(settings=settings, name=f"worker-{slot}", slot=slot, listen_fds=listen_fds)
        return Launch(self.worker, lambda ready_fd: _line(job, ready_fd), pass_fds=listen_fds)

    def launch_recorder(self, settings: Settings, store_port: int, *, console: bool) -> Launch:
        job = Job(settings=settings, name="recorder", console=console, store_port=store_port)
        return Launch(self.recorder, lambda ready_fd: _line(job, ready_fd))

    def launch_store(self, settings: Settings, port: int) -> Launch:
        """ClickHouse's interface says itself when it is ready. Its standard input only shows that we live."""
        path = Path(settings.server.data_dir) / "store"
        argv = (
            *self.store,
            "--path",
            str(path),
            "--port",
            str(port),
            "--memory-bytes-max",
            str(settings.store.memory_bytes_max),
            "--watch-stdin",
        )
        return Launch(argv, is_ready=lambda: answers_ping(port), ready_within_s=600.0)


def _line(job: Job, ready_fd: int) -> bytes:
    return msgspec.json.encode(msgspec.structs.replace(job, ready_fd=ready_fd)) + b"\n"


async def answers_ping(port: int, timeout_s: float = 2.0) -> bool:
    """Whether a ClickHouse HTTP interface on this machine's `port` answers GET /ping with 200."""
    with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
        async with asyncio.timeout(timeout_s):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(b"GET /ping HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
                return b" 200 " in await reader.readline()
            finally:
                writer.close()
    return False
