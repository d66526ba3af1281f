"""Stand-ins for the supervisor's children, and a supervisor of them: `python standins.py serve SETTINGS.json`.

A `worker` answers every GET with its pid and the `concurrent_max` of its settings, after noting the path in the file
`served.log` of the data directory: what is noted twice was doubled, what is missing was lost. The header limit tells
it how to start: 13 not at all, 14 when there is a file `go`. All say in the file `begun` when they can be told to end,
and in `ended` when they have.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import time
from pathlib import Path

import msgspec
import uvloop

from proxy.job import Job, announce_ready, follow_supervisor, receive_job
from proxy.logs import configure_logging
from proxy.programs import Programs
from proxy.settings import Settings
from proxy.supervisor import ConfigurationRefused, Supervisor

ME = str(Path(__file__).absolute())


class Worker:
    def __init__(self) -> None:
        self.job = receive_job()
        server = self.job.settings.server
        follow_supervisor(server.shutdown_timeout_s + 5)
        self.log = os.open(Path(server.data_dir) / "served.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self.stopping = asyncio.Event()
        self.open = 0

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self.stopping.set)
        note(self.job, "begun", "worker")
        await self.may_serve()
        servers = [await asyncio.start_server(self.serve, sock=socket.socket(fileno=fd)) for fd in self.job.listen_fds]
        announce_ready(self.job)
        await self.stopping.wait()
        for server in servers:
            server.close()
        for _ in range(5):  # what was accepted is some turns of the loop away from being served
            await asyncio.sleep(0)
        deadline = time.monotonic() + self.job.settings.server.shutdown_timeout_s
        while self.open and time.monotonic() < deadline:
            await asyncio.sleep(0.01)
        note_end(self.job, "worker")

    async def may_serve(self) -> None:
        server = self.job.settings.server
        if server.header_bytes_max == 13:
            sys.exit("told not to become ready")
        go = Path(server.data_dir) / "go"
        while server.header_bytes_max == 14 and not go.exists() and not self.stopping.is_set():
            await asyncio.sleep(0.01)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                path = head.split(b" ", 2)[1]
                if path == b"/crash":
                    os._exit(3)
                os.write(self.log, path + b"\n")
                if path == b"/hang":
                    signal.signal(signal.SIGTERM, signal.SIG_IGN)
                    time.sleep(600)  # noqa: ASYNC251 - it hangs on purpose
                if path == b"/slow":
                    await asyncio.sleep(0.5)
                body = b"%d %d" % (os.getpid(), self.job.settings.server.concurrent_max)
                closing = b"Connection: close\r\n" if self.stopping.is_set() else b""
                writer.write(b"HTTP/1.1 200 OK\r\n%sContent-Length: %d\r\n\r\n%s" % (closing, len(body), body))
                await writer.drain()
                if closing:
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.open -= 1
            writer.close()


def note_end(job: Job, role: str) -> None:
    note(job, "ended", role)


def note(job: Job, file: str, role: str) -> None:
    with (Path(job.settings.server.data_dir) / file).open("a") as log:
        log.write(f"{role}\n")


def idle(role: str) -> None:
    job = receive_job()
    follow_supervisor(5)
    note(job, "begun", role)  # ... so that a SIGTERM from now on is noticed.
    announce_ready(job)
    signal.sigwait({signal.SIGTERM})
    note_end(job, role)


async def serve(settings_path: Path) -> int:
    def load() -> Settings:
        try:
            return msgspec.json.decode(settings_path.read_bytes(), type=Settings)
        except msgspec.DecodeError as error:
            raise ConfigurationRefused(str(error)) from error

    commands = {role: (sys.executable, ME, role) for role in ("worker", "recorder", "dispatcher")}
    programs = Programs(**commands)
    return await Supervisor(load(), load=load, programs=programs).run()


if __name__ == "__main__":
    role = sys.argv[1]
    configure_logging(role)
    if role == "worker":
        uvloop.run(Worker().run())  # as the real one: it has what it accepted before it closes its sockets
    elif role in ("recorder", "dispatcher"):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        idle(role)
    else:
        sys.exit(asyncio.run(serve(Path(sys.argv[2]))))
