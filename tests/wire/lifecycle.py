"""A supervisor of stand-in children as a real process, and clients that keep it busy."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self, TypeVar

import msgspec

from proxy.data_dir import Serving, serving
from proxy.settings import Server, Settings, Store

STANDINS = Path(__file__).with_name("standins.py")
PATIENCE_S = 60.0
T = TypeVar("T")


def until(ask: Callable[[], T], what: str) -> T:
    """The first true answer; fails the test when there is none in time."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if answer := ask():
            return answer
        time.sleep(0.02)
    raise AssertionError(f"not within {PATIENCE_S} s: {what}")


class Supervised:
    """`with Supervised(folder) as house:` the process group is gone afterwards, whatever the test did to it."""

    def __init__(self, folder: Path, **server: Any) -> None:
        self.folder = folder
        self.data_dir = folder / "data"
        self.settings_path = folder / "settings.json"
        self.log_path = folder / "log"
        self._server = {"port": 0, "data_dir": str(self.data_dir), "shutdown_timeout_s": 30.0, **server}
        self.configure()
        self.process: subprocess.Popen[bytes] | None = None

    def configure(self, **server: Any) -> None:
        self._server |= server
        settings = Settings(server=Server(**self._server), store=Store(clickhouse="http://127.0.0.1:1"))
        self.settings_path.write_bytes(msgspec.json.encode(settings))

    def start(self) -> subprocess.Popen[bytes]:
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(STANDINS), "serve", str(self.settings_path)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return self.process

    def __enter__(self) -> Self:
        self.start()
        self.note = until(self.serving, "the note")
        until(lambda: self.fetch("/"), "the first reply")
        return self

    def __exit__(self, *exc: object) -> None:
        assert self.process is not None
        for send in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(send)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(20)
                break

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def log(self) -> str:
        return self.log_path.read_text()

    def serving(self) -> Serving | None:
        note = serving(self.data_dir)
        assert self.process is not None
        return note if note and note.pid == self.process.pid else None

    def served(self) -> Counter[bytes]:
        log = self.data_dir / "served.log"
        return Counter(log.read_bytes().split() if log.exists() else ())

    def begun(self) -> Counter[str]:
        """Who can be told to end by now, and will say so: of each role, how many ever."""
        path = self.data_dir / "begun"
        return Counter(path.read_text().split() if path.exists() else ())

    def fetch(self, path: str) -> tuple[int, int] | None:
        """The pid that answered and the generation of its settings; None when nobody does."""
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.note.port), PATIENCE_S) as peer:
            peer.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            _, _, body = peer.recv(4096).partition(b"\r\n\r\n")
            if body:
                pid, generation = body.split()
                return int(pid), int(generation)
        return None

    def children(self) -> set[int]:
        return children_of(self.pid)


def children_of(pid: int) -> set[int]:
    """Pids of the direct children, threads' included."""
    found: set[int] = set()
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found |= {int(child) for child in task.read_text().split()}
    return found


def alive(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


async def exchange(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str
) -> tuple[tuple[int, int], bool]:
    """One GET. Gives what the worker said of itself, and whether it is about to close the connection."""
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200"), head
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    pid, generation = (await reader.readexactly(length)).split()
    return (int(pid), int(generation)), b"connection: close" in head.lower()


class Load:
    """Clients that call without a pause on connections they keep. One failed call fails the test."""

    def __init__(self, port: int, clients: int = 8) -> None:
        self.port = port
        self.sent: list[bytes] = []
        self.answered_by: Counter[tuple[int, int]] = Counter()
        self._clients = clients
        self._enough = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._call(index)) for index in range(self._clients)]
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._enough.set()
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.gather(*self._tasks)

    async def until(self, ask: Callable[[], bool], what: str) -> None:
        """Go on until `ask` says so. A client that failed says so at once."""
        deadline = time.monotonic() + PATIENCE_S
        while not ask():
            assert time.monotonic() < deadline, f"not within {PATIENCE_S} s: {what}"
            for task in self._tasks:
                if task.done():
                    task.result()
            await asyncio.sleep(0.02)

    async def _call(self, client: int) -> None:
        number = 0
        while not self._enough.is_set():
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            closing = False
            while not closing and not self._enough.is_set():
                number += 1
                path = f"/{client}/{number}"
                self.sent.append(path.encode())
                who, closing = await exchange(reader, writer, path)
                self.answered_by[who] += 1
                await asyncio.sleep(0.002)
            writer.close()


def kill(pid: int, number: signal.Signals = signal.SIGKILL) -> None:
    os.kill(pid, number)
