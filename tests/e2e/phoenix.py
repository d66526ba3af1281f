"""Arize Phoenix as a process: a real OTLP backend, asked for what it has stored over its REST interface.

It lives in an environment of its own (`make test` makes it), because it pins half of what Penstock is built on.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.ports import held_port

from .model import ROOT, answers

PROGRAM = ROOT / ".venv" / "phoenix" / "bin" / "phoenix"
READY_WITHIN_S = 300.0
"""It takes 15 seconds, and on a machine that runs other tests too many times that."""
SPANS_WITHIN_S = 60.0
ANSWER_WITHIN_S = 60.0


@dataclass(frozen=True)
class Phoenix:
    url: str
    grpc_url: str

    def spans(self, trace_id: str, count: int) -> list[dict[str, Any]]:
        """The spans of a trace once there are `count`, the root first. Raises `AssertionError` when they stay away."""
        deadline = time.monotonic() + SPANS_WITHIN_S
        found: list[dict[str, Any]] = []
        while time.monotonic() < deadline:
            answer = httpx.get(
                f"{self.url}/v1/projects/default/spans",
                params={"trace_id": trace_id, "limit": 100},
                timeout=ANSWER_WITHIN_S,
            )
            if answer.status_code == 200:  # 404 until the first span has made the project
                found = answer.json()["data"]
                if len(found) >= count:
                    return sorted(found, key=lambda span: span["parent_id"] is not None)
            time.sleep(0.1)
        raise AssertionError(f"{len(found)} of {count} spans of {trace_id}")

    def shown(self, span: dict[str, Any]) -> dict[str, Any]:
        """What its page shows of a span: user, session, cost and counts as Phoenix itself reckons them."""
        return self._ask(_SPAN, id=span["id"])["node"]  # type: ignore[no-any-return]

    def session(self, session_id: str) -> dict[str, Any]:
        """A session by the name that the caller gave it."""
        return self._ask(_SESSION, id=session_id)["getProjectSessionById"]  # type: ignore[no-any-return]

    def _ask(self, query: str, **variables: Any) -> dict[str, Any]:
        body = {"query": query, "variables": variables}
        answer = httpx.post(f"{self.url}/graphql", json=body, timeout=ANSWER_WITHIN_S).raise_for_status().json()
        assert "errors" not in answer, answer["errors"]
        found: dict[str, Any] = answer["data"]
        return found


_SPAN = """query ($id: ID!) { node(id: $id) { ... on Span {
  userId metadata tokenCountPrompt tokenCountCompletion tokenCountTotal tokenPromptDetails { cacheRead cacheWrite }
  costSummary { prompt { cost } completion { cost } total { cost } } trace { session { sessionId } } } } }"""
_SESSION = """query ($id: String!) { getProjectSessionById(sessionId: $id) {
  sessionId numTraces userId firstInput { value } lastOutput { value } } }"""


@contextlib.contextmanager
def phoenix(tmp_path: Path) -> Iterator[Phoenix]:
    """Raises `RuntimeError` with its output when it does not come up."""
    with held_port() as port, held_port() as grpc_port, _running(tmp_path, port, grpc_port) as running:
        yield running


@contextlib.contextmanager
def _running(tmp_path: Path, port: int, grpc_port: int) -> Iterator[Phoenix]:
    log = tmp_path / "phoenix.log"
    environ = {
        **os.environ,
        "PHOENIX_WORKING_DIR": str(tmp_path),
        "PHOENIX_HOST": "127.0.0.1",
        "PHOENIX_PORT": str(port),
        "PHOENIX_GRPC_PORT": str(grpc_port),
        "PHOENIX_TELEMETRY_ENABLED": "false",
        "PHOENIX_ALLOW_EXTERNAL_RESOURCES": "false",
    }
    with open(log, "wb") as output:
        process = subprocess.Popen([PROGRAM, "serve"], stdout=output, stderr=subprocess.STDOUT, env=environ)
    try:
        deadline = time.monotonic() + READY_WITHIN_S
        while not answers(f"http://127.0.0.1:{port}/healthz"):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"Phoenix did not come up:\n{log.read_text(errors='replace')[-4000:]}")
            time.sleep(0.2)
        yield Phoenix(f"http://127.0.0.1:{port}", f"http://127.0.0.1:{grpc_port}")
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(30)
