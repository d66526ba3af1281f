"""`penstock serve` as a process: free ports, a data directory of its own, and its rows read back over HTTP.

with penstock(tmp_path, upstreams={"openai": url}) as proxy:
    ...  # call proxy.base_url
    row = proxy.row(request_id)
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import clickhouse_connect
import psutil
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from exporters.clickhouse.credentials import store_credentials

from .model import answers

ROOT = Path(__file__).resolve().parents[2]
READY_WITHIN_S = 90.0
ROW_WITHIN_S = 60.0
"""Rows come within two seconds; on a machine that runs other tests too they may take longer."""

T = TypeVar("T")


class Penstock:
    """One data directory and, most of the time, one running `penstock serve`."""

    def __init__(
        self,
        tmp_path: Path,
        *,
        upstreams: Mapping[str, str | Mapping[str, Any]],
        config: str = "",
        sections: Mapping[str, Mapping[str, Any]] | None = None,
        environ: Mapping[str, str] | None = None,
        prefix: Sequence[str] = (),
    ) -> None:
        """`upstreams`: base URLs, or whole tables, by name. `sections`: more keys by table. `config`: more TOML."""
        tmp_path.mkdir(parents=True, exist_ok=True)
        self.data_dir = tmp_path / "data"
        self.config_path = tmp_path / "penstock.toml"
        self.output_path = tmp_path / "penstock.log"
        self.process: subprocess.Popen[bytes] | None = None
        self._environ = {**os.environ, **(environ or {})}
        self._prefix = list(prefix)
        self._client: Client | None = None
        self.port = 0
        self.write_config(upstreams, config, sections or {})

    def write_config(
        self,
        upstreams: Mapping[str, str | Mapping[str, Any]],
        config: str = "",
        sections: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        tables: dict[str, dict[str, Any]] = {
            "server": {"port": self.port, "data_dir": str(self.data_dir), "shutdown_timeout_s": 5.0},
            "store": {"http_port": 0},
            "metrics": {"port": 0},
        }
        for name, more in (sections or {}).items():
            tables.setdefault(name, {}).update(more)
        lines = [line for name, table in tables.items() for line in (f"[{name}]", *_keys(table))]
        for name, upstream in upstreams.items():
            table = {"base_url": upstream} if isinstance(upstream, str) else dict(upstream)
            lines += ["[[upstreams]]", *_keys({"name": name, **table})]
        self.config_path.write_text("\n".join([*lines, config, ""]))

    # Life.

    def start(self) -> None:
        """Start and wait until calls are served. Raises `RuntimeError` with the output when that does not happen."""
        assert self.process is None
        with open(self.output_path, "ab") as output:
            self.process = subprocess.Popen(
                [*self._prefix, sys.executable, "-m", "proxy", "serve", "--config", str(self.config_path)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=ROOT,
                env=self._environ,
            )
        self._wait_ready()

    def _wait_ready(self) -> None:
        assert self.process is not None
        deadline = time.monotonic() + READY_WITHIN_S
        while time.monotonic() < deadline and self.process.poll() is None:
            with contextlib.suppress(OSError, ValueError):
                note = self.note()
                if note["pid"] == self.process.pid:
                    self.port = note["port"]
                    if answers(f"{self.url}/penstock/ready"):
                        return
            time.sleep(0.05)
        raise RuntimeError(f"penstock serve did not come up (status {self.process.poll()}):\n{self.output()[-6000:]}")

    def note(self) -> dict[str, Any]:
        """`serve.json` as it is now. Raises `OSError` or `ValueError` when there is none."""
        found: dict[str, Any] = json.loads((self.data_dir / "serve.json").read_bytes())
        return found

    def stop(self, timeout_s: float = 90.0) -> int:
        """SIGTERM, and its exit status."""
        return self._end(signal.SIGTERM, timeout_s)

    def kill(self) -> None:
        """SIGKILL to the supervisor alone: its children notice by themselves."""
        self._end(signal.SIGKILL, 60)

    def reload(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGHUP)

    def _end(self, number: signal.Signals, timeout_s: float) -> int:
        assert self.process is not None
        self.disconnect()
        self.process.send_signal(number)
        try:
            return self.process.wait(timeout_s)
        finally:
            if self.process.poll() is None:
                self._kill_all()
            self.process = None

    def _kill_all(self) -> None:
        assert self.process is not None
        family = [psutil.Process(self.process.pid), *psutil.Process(self.process.pid).children(recursive=True)]
        for member in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                member.kill()
        self.process.wait(60)

    def child(self, part: str) -> list[psutil.Process]:
        """The living children whose command holds `part`: proxy.worker, proxy.recording, embedded."""
        assert self.process is not None
        found = []
        with contextlib.suppress(psutil.NoSuchProcess):
            for process in psutil.Process(self.process.pid).children():
                with contextlib.suppress(psutil.NoSuchProcess):
                    if part in " ".join(process.cmdline()):
                        found.append(process)
        return found

    def output(self) -> str:
        return self.output_path.read_text(errors="replace") if self.output_path.exists() else ""

    # Addresses.

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def base_url(self) -> str:
        """What `OPENAI_BASE_URL` is set to."""
        return f"{self.url}/v1"

    @property
    def store_url(self) -> str:
        return str(self.note()["store_url"])

    # What was recorded.

    def client(self) -> Client:
        """A reader of the store, as any other command of the project connects."""
        if self._client is None:
            self._client = _connect(self.store_url, self.data_dir)
        return self._client

    def disconnect(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    def query(self, sql: str, parameters: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        """Rows by column name; none while the store or its tables are not there yet."""
        try:
            found = self.client().query(sql, parameters=dict(parameters or {}))
        except (ClickHouseError, OSError):
            self.disconnect()
            return []
        return [dict(zip(found.column_names, row, strict=True)) for row in found.result_rows]

    def rows(self, where: str = "1", parameters: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        return self.query(f"SELECT * FROM generations WHERE {where} ORDER BY timestamp", parameters)

    def wait_rows(
        self, where: str, parameters: Mapping[str, Any], count: int = 1, within_s: float = ROW_WITHIN_S
    ) -> list[dict[str, Any]]:
        """Exactly `count` rows. Raises `AssertionError` when there are more, or after `within_s` fewer."""
        rows = until(lambda: self.rows(where, parameters), lambda rows: len(rows) >= count, within_s)
        assert len(rows) == count, f"{len(rows)} rows instead of {count} where {where} {dict(parameters)}"
        return rows

    def row(self, request_id: str, within_s: float = ROW_WITHIN_S) -> dict[str, Any]:
        """The one row of an exchange."""
        return self.wait_rows("request_id = {id:String}", {"id": request_id}, within_s=within_s)[0]

    def row_of_tag(self, name: str, value: str, within_s: float = ROW_WITHIN_S) -> dict[str, Any]:
        """The one row with a tag, for callers that never saw a reply's head."""
        wanted = {"name": name, "value": value}
        return self.wait_rows("tags[{name:String}] = {value:String}", wanted, within_s=within_s)[0]

    def command(self, *arguments: str, timeout_s: float = 60.0) -> subprocess.CompletedProcess[str]:
        """`penstock ...` with this configuration."""
        return subprocess.run(
            [sys.executable, "-m", "proxy", *arguments, "--config", str(self.config_path)],
            capture_output=True,
            text=True,
            timeout=timeout_s,
            cwd=ROOT,
            env={**self._environ, "NO_COLOR": "1", "COLUMNS": "200"},
            check=False,
        )


def _keys(table: Mapping[str, Any]) -> list[str]:
    """Lines of a TOML table, whose scalars and lists are spelled as in JSON."""
    return [f"{name} = {json.dumps(value)}" for name, value in table.items()]


def until(look: Callable[[], T], enough: Callable[[T], bool], within_s: float) -> T:
    """What `look` saw when it was enough, or at last."""
    deadline = time.monotonic() + within_s
    while not enough(seen := look()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return seen


@contextlib.contextmanager
def penstock(tmp_path: Path, **options: Any) -> Iterator[Penstock]:
    """A running Penstock, stopped at the end. The options are those of `Penstock`."""
    proxy = Penstock(tmp_path, **options)
    try:
        proxy.start()
        yield proxy
    finally:
        proxy.disconnect()
        if proxy.process is not None:
            proxy.stop()


def _connect(store_url: str, data_dir: Path) -> Client:
    port = urlsplit(store_url).port
    assert port is not None, "there is no embedded store"
    dsn = store_credentials(data_dir / "store").url(port, "reader")
    return clickhouse_connect.get_client(dsn=dsn, autogenerate_session_id=False, connect_timeout=5)
