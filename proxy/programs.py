"""Which programs `penstock serve` starts, and what each is told."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from exporters.clickhouse.credentials import FILE_NAME, Role, store_credentials

from .job import Job
from .processes import Launch, python_module
from .settings import Settings


@dataclass(frozen=True, slots=True)
class Programs:
    """The commands of the children; tests put stand-ins here."""

    worker: Sequence[str] = python_module("proxy.worker")
    recorder: Sequence[str] = python_module("proxy.recording")
    dispatcher: Sequence[str] = python_module("proxy.dispatching")
    store: Sequence[str] = python_module("exporters.clickhouse.embedded")

    def launch_worker(self, settings: Settings, slot: int, listen_fds: tuple[int, ...], store_port: int) -> Launch:
        """Raises `OSError` when the store's credentials cannot be read."""
        url = store_url(settings, store_port, "reader")
        job = Job(settings=settings, name=f"worker-{slot}", slot=slot, listen_fds=listen_fds, store_url=url)
        return Launch(self.worker, lambda ready_fd: _line(job, ready_fd), pass_fds=listen_fds)

    def launch_recorder(self, settings: Settings, store_port: int, *, console: bool) -> Launch:
        """Raises `OSError` when the store's credentials cannot be read."""
        url = store_url(settings, store_port, "writer")
        job = Job(settings=settings, name="recorder", console=console, store_url=url)
        return Launch(self.recorder, lambda ready_fd: _line(job, ready_fd))

    def launch_dispatcher(self, settings: Settings) -> Launch:
        job = Job(settings=settings, name="dispatcher")
        return Launch(self.dispatcher, lambda ready_fd: _line(job, ready_fd))

    def launch_store(self, settings: Settings, port: int) -> Launch:
        """ClickHouse's interface says itself when it is ready. Its standard input only shows that we live."""
        options = {
            "--path": store_path(settings),
            "--port": port,
            "--memory-bytes-max": settings.store.memory_bytes_max,
        }
        flat = [str(word) for option in options.items() for word in option]
        argv = (*self.store, *flat, "--watch-stdin", "--quiet")
        return Launch(argv, is_ready=lambda: answers_ping(port), ready_within_s=600.0)


def store_path(settings: Settings) -> Path:
    """The embedded store's own directory."""
    return Path(settings.server.data_dir) / "store"


def store_url(settings: Settings, port: int, role: Role) -> str:
    """Where ClickHouse is, with credentials. `port`: the embedded store's. Raises `OSError`."""
    if settings.store.clickhouse != "embedded":
        return settings.store.clickhouse
    path = store_path(settings)
    try:
        return store_credentials(path).url(port, role)
    except msgspec.DecodeError as error:
        raise OSError(f"{path / FILE_NAME} is damaged; remove it and start again") from error


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
