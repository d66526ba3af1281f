"""MLflow as a process: a real OTLP backend, asked for what it has stored over its REST interface.

It lives in an environment of its own (`make test` makes it), because it pins half of what Penstock is built on.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.ports import held_port

from .model import ROOT, answers

PROGRAM = ROOT / ".venv" / "mlflow" / "bin" / "mlflow"
READY_WITHIN_S = 300.0
"""It takes 20 seconds, and on a machine that runs other tests too many times that."""
TRACE_WITHIN_S = 60.0
ANSWER_WITHIN_S = 60.0


@dataclass(frozen=True)
class MLflow:
    url: str

    def new_experiment(self, name: str) -> str:
        made = httpx.post(f"{self.url}/api/2.0/mlflow/experiments/create", json={"name": name}, timeout=ANSWER_WITHIN_S)
        return str(made.raise_for_status().json()["experiment_id"])

    def trace(self, trace_id: str, spans: int) -> dict[str, Any]:
        """Its `trace_info`, and its `spans` by name with their attributes, once there are so many.

        Raises `AssertionError` when they stay away.
        """
        deadline = time.monotonic() + TRACE_WITHIN_S
        seen = ""
        while time.monotonic() < deadline:
            # In this order: what is said of the trace is of no earlier moment than its spans.
            kept = self._get(f"ajax-api/2.0/mlflow/get-trace-artifact?request_id=tr-{trace_id}")
            info = self._get(f"api/3.0/mlflow/traces/tr-{trace_id}")
            seen = f"{info.text[:300]} {kept.text[:300]}"
            if info.status_code == kept.status_code == 200 and len(found := kept.json()["spans"]) >= spans:
                by_name = {one["name"]: _attributes(one) | {"status": one["status"]} for one in found}
                return {"info": info.json()["trace"]["trace_info"], "spans": by_name}
            time.sleep(0.2)
        raise AssertionError(f"no {spans} spans of {trace_id}: {seen}")

    def _get(self, path: str) -> httpx.Response:
        return httpx.get(f"{self.url}/{path}", timeout=ANSWER_WITHIN_S)


def _attributes(span: dict[str, Any]) -> dict[str, Any]:
    """Every value is kept as JSON text, and what was JSON text before as that."""
    return {name: json.loads(value) for name, value in span["attributes"].items()}


@contextlib.contextmanager
def mlflow(tmp_path: Path) -> Iterator[MLflow]:
    """Raises `RuntimeError` with its output when it does not come up."""
    with held_port() as port, _running(tmp_path, port) as running:
        yield running


@contextlib.contextmanager
def _running(tmp_path: Path, port: int) -> Iterator[MLflow]:
    log = tmp_path / "mlflow.log"
    environ = {
        **os.environ,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "PYTHONWARNINGS": "ignore",
    }
    store = [
        "--backend-store-uri",
        f"sqlite:///{tmp_path}/mlflow.db",
        "--artifacts-destination",
        str(tmp_path / "kept"),
    ]
    command = [str(PROGRAM), "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1", *store]
    with open(log, "wb") as output:
        # A session of its own: its workers are children that it leaves behind when it is killed.
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, env=environ, cwd=tmp_path, start_new_session=True
        )
    try:
        deadline = time.monotonic() + READY_WITHIN_S
        while not answers(f"http://127.0.0.1:{port}/health"):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"MLflow did not come up:\n{log.read_text(errors='replace')[-4000:]}")
            time.sleep(0.2)
        yield MLflow(f"http://127.0.0.1:{port}")
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        pass
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(30)
