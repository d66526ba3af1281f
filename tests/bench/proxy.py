"""Penstock as it is measured: one worker alone on its core; supervisor, recorder and store on the other."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil

from tests.e2e.serve import Penstock, until

from .machine import pin


class Measured:
    """A running Penstock and its parts."""

    def __init__(self, serve: Penstock, worker_core: int) -> None:
        self.serve = serve
        (self.worker,) = serve.child("proxy.worker")
        pin(self.worker, worker_core)

    @property
    def port(self) -> int:
        return self.serve.port

    @property
    def store(self) -> psutil.Process:
        (process,) = self.serve.child("exporters.clickhouse.embedded")
        return process

    @property
    def recorder(self) -> psutil.Process:
        (process,) = self.serve.child("proxy.recording")
        return process

    def recorded(self) -> int:
        """Rows in `generations`; 0 while the store cannot say."""
        found = self.serve.query("SELECT count() AS n FROM generations")
        return int(found[0]["n"]) if found else 0

    def wait_recorded(self, count: int, within_s: float) -> int:
        """How many rows there are when there are `count`, or after `within_s`."""
        return until(self.recorded, lambda n: n >= count, within_s)

    def settle(self, within_s: float = 60.0) -> None:
        """Wait until the recorder has nothing to do, so that it does not take the load's core from the next run."""
        deadline = time.monotonic() + within_s
        before = -1
        while time.monotonic() < deadline and (now := self.recorded()) != before:
            before = now
            time.sleep(1.0)


@contextlib.contextmanager
def measured(
    tmp: Path,
    upstream: int,
    worker_core: int,
    other_core: int,
    sections: Mapping[str, Mapping[str, Any]] | None = None,
) -> Iterator[Measured]:
    """Penstock with recording on, in front of `upstream`. Its output is shown when it does not start."""
    serve = Penstock(
        tmp / "penstock",
        upstreams={"openai": {"base_url": f"http://127.0.0.1:{upstream}/v1", "provider": "openai"}},
        sections=sections,
        prefix=("taskset", "-c", str(other_core)),
    )
    try:
        serve.start()
        until(lambda: bool(serve.query("SELECT count() FROM generations")), bool, 30.0)
        yield Measured(serve, worker_core)
    finally:
        serve.disconnect()
        if serve.process is not None:
            serve.stop()
