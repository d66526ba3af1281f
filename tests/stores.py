"""The real embedded store, in a process of its own on a free port, for tests that need ClickHouse."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from exporters.clickhouse.credentials import Credentials, Role, store_credentials

ROOT = Path(__file__).parent.parent
START_WITHIN_S = 60.0
MEMORY_BYTES_MAX = 1024 * 1024 * 1024
_LISTENS = re.compile(r"listens on http://127\.0\.0\.1:(\d+)\n")


class StoreDied(Exception):
    """The store ended instead of listening; the message is what it said."""


@dataclass
class Store:
    """One life after the other of a store in `path`. The port may change from life to life."""

    path: Path
    memory_bytes_max: int = MEMORY_BYTES_MAX
    port: int = 0
    process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        """What the present life says on standard error."""
        return self.path.with_name(f"{self.path.name}.log")

    def start(self, *arguments: str, port: int = 0) -> None:
        """Returns when the store listens. Raises `StoreDied`."""
        command = [sys.executable, "-m", "exporters.clickhouse.embedded", "--path", str(self.path)]
        command += ["--port", str(port), "--memory-bytes-max", str(self.memory_bytes_max), "--watch-stdin", *arguments]
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("wb") as log:
            # Its standard input is a pipe that we hold, so that no store outlives a test run that is killed.
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=log, cwd=ROOT)
        deadline = time.monotonic() + START_WITHIN_S
        while (found := _LISTENS.search(self.log.read_text(errors="replace"))) is None:
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise StoreDied(self.log.read_text(errors="replace"))
            time.sleep(0.02)
        self.port = int(found[1])

    def kill(self) -> None:
        """`kill -9`."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """SIGTERM; returns the exit status."""
        return self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> int:
        if self.process is None:
            return 0
        self.process.send_signal(number)
        status = self.process.wait(60)
        if self.process.stdin is not None:
            self.process.stdin.close()
        self.process = None
        return status

    @property
    def credentials(self) -> Credentials:
        return store_credentials(self.path)

    def url(self, role: Role = "writer") -> str:
        """`http://user:password@127.0.0.1:port/penstock`."""
        return self.credentials.url(self.port, role)

    @property
    def resident_bytes(self) -> int:
        assert self.process is not None
        return int(psutil.Process(self.process.pid).memory_info().rss)


@contextmanager
def embedded_store(path: Path, *, memory_bytes_max: int = MEMORY_BYTES_MAX, port: int = 0) -> Iterator[Store]:
    """A running store in `path`/store; stopped at the end, whatever life it is in then. `port`: one that is held, for
    a store that is to have it in other lives too."""
    store = Store(path / "store", memory_bytes_max)
    store.start(port=port)
    try:
        yield store
    finally:
        store.stop()
