"""A Penstock of the demo's own, in a folder: its configuration, its process, its command line."""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import clickhouse_connect
from clickhouse_connect.driver.exceptions import DatabaseError

READY_WITHIN_S: Final = 120.0
COMMAND_WITHIN_S: Final = 3600.0
KEY: Final = "sk-demo"


class DemoFailed(Exception):
    """A command of the loop did not do what it should; the line says which."""


class Penstock:
    """`penstock serve` in `folder`, and `penstock ...` beside it."""

    def __init__(self, folder: Path, teacher: str, *, threads: int = 0) -> None:
        """`threads`: of PyTorch; 0: one for each processor."""
        self.folder = folder
        self._environment = {**_ENVIRONMENT, **({"OMP_NUM_THREADS": str(threads)} if threads else {})}
        self.port = free_port()
        self.store_port = free_port()
        self.commands: list[str] = []
        """As a person would have typed them."""
        self.configuration.write_text(
            f"""\
[server]
port = {self.port}

[store]
http_port = {self.store_port}

[metrics]
port = 0

[[upstreams]]
name = "teacher"
base_url = "{teacher}"
models = ["teacher-*"]
provider = "demo"
"""
        )
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def configuration(self) -> Path:
        return self.folder / "penstock.toml"

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @contextmanager
    def serving(self) -> Iterator[None]:
        """While it serves. Raises `DemoFailed` when it does not begin."""
        with (self.folder / "serve.log").open("wb") as log:
            self._process = subprocess.Popen(
                [*_PENSTOCK, "serve", "--quiet"], cwd=self.folder, env=self._environment, stdout=log, stderr=log
            )
        try:
            self._wait()
            yield
        finally:
            self._process.terminate()
            try:
                self._process.wait(60)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(10)

    def run(self, *words: str, echo: bool = True) -> str:
        """One command, whose output is shown and returned. Raises `DemoFailed` for any status but 0."""
        self.commands.append("penstock " + shlex.join(words))
        if echo:
            print(f"\n$ {self.commands[-1]}", flush=True)
        lines = []
        with subprocess.Popen(
            [*_PENSTOCK, *words], cwd=self.folder, env=self._environment, stdout=subprocess.PIPE, stderr=None, text=True
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                lines.append(line)
                if echo:
                    print(line, end="", flush=True)
            status = process.wait(COMMAND_WITHIN_S)
        if status:
            raise DemoFailed(f"`{self.commands[-1]}` ended with status {status}")
        return "".join(lines)

    def begin(self, *words: str) -> tuple[subprocess.Popen[bytes], Path]:
        """A command that goes on until it is ended, and the file of what it says."""
        self.commands.append("penstock " + shlex.join(words) + " &")
        print(f"\n$ {self.commands[-1]}", flush=True)
        path = self.folder / f"{'-'.join(word for word in words[:3] if word.isascii())}-{len(self.commands)}.log"
        with path.open("wb") as log:
            process = subprocess.Popen(
                [*_PENSTOCK, *words], cwd=self.folder, env=self._environment, stdout=log, stderr=log
            )
        return process, path

    def reload(self) -> None:
        """Have it load the configuration anew, and wait until it has. Raises `DemoFailed`."""
        assert self._process is not None
        since = time.time()
        self._process.send_signal(signal.SIGHUP)
        while time.time() < since + READY_WITHIN_S and self._process.poll() is None:
            note = json.loads((self.folder / "penstock-data/serve.json").read_text())
            if note["loaded"] >= since:
                return
            if note["refused"] >= since:
                raise DemoFailed(f"Penstock did not take its configuration: {note['refusal']}")
            time.sleep(0.1)
        raise DemoFailed(f"Penstock did not load its configuration; {self.folder / 'serve.log'} says why.")

    def report(self, *words: str) -> Any:
        """What a command says with `--json`."""
        return json.loads(self.run(*words, "--json", echo=False))

    def query(self, sql: str) -> list[list[Any]]:
        """Rows, from the store's ClickHouse interface, as the user that may only read."""
        secret = json.loads((self.folder / "penstock-data/store/credentials.json").read_text())["reader"]["password"]
        client = clickhouse_connect.get_client(
            host="127.0.0.1", port=self.store_port, username="reader", password=secret, database="penstock"
        )
        try:
            return [list(row) for row in client.query(sql).result_rows]
        finally:
            client.close()

    def until(self, sql: str, wanted: int) -> None:
        """Wait until a count of the store is at least `wanted`. Raises `DemoFailed`."""
        deadline = time.monotonic() + READY_WITHIN_S
        while time.monotonic() < deadline:
            try:
                if int(self.query(sql)[0][0]) >= wanted:
                    return
            except DatabaseError as error:
                if "UNKNOWN_TABLE" not in str(error):
                    raise
                # Tables are made with the first call that is stored.
            time.sleep(0.2)
        raise DemoFailed(f"After {READY_WITHIN_S:.0f} s the store still has less than {wanted}: {sql}")

    def _wait(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + READY_WITHIN_S
        while time.monotonic() < deadline and self._process.poll() is None:
            if _answers(f"http://127.0.0.1:{self.port}/penstock/ready") and _answers(
                f"http://127.0.0.1:{self.store_port}/ping"
            ):
                return
            time.sleep(0.1)
        raise DemoFailed(f"Penstock did not begin to serve; {self.folder / 'serve.log'} says why.")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as reply:
            return bool(reply.status == 200)
    except (urllib.error.URLError, OSError):
        return False


_ROOT: Final = Path(__file__).parents[2]
_PENSTOCK: Final[Sequence[str]] = (sys.executable, "-m", "proxy")
_ENVIRONMENT: Final = {**os.environ, "PYTHONPATH": str(_ROOT), "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
