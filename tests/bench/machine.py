"""Processes and their cores: start, pin, read their CPU time and memory, and end what was started."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[2]


def cores() -> tuple[int, int]:
    """The core of the measured process, and the one for all else."""
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < 2:
        raise SystemExit("The benches need two cores: one for what is measured, one for the load.")
    return allowed[0], allowed[1]


def describe() -> dict[str, str]:
    """The machine and the commit, for the report."""
    model = "unknown"
    with contextlib.suppress(OSError), open("/proc/cpuinfo") as lines:
        model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), model)
    git = ["git", "-C", str(ROOT)]
    commit = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    changed = subprocess.run([*git, "status", "--porcelain", "-uno"], capture_output=True, text=True, check=False)
    return {
        "cpu": model,
        "cores": str(len(os.sched_getaffinity(0))),
        "load": f"{os.getloadavg()[0]:.1f}",
        "commit": (commit.stdout.strip() or "unknown") + (" with changes" if changed.stdout.strip() else ""),
        "python": sys.version.split()[0],
    }


@contextlib.contextmanager
def started(argv: Sequence[str], core: int, *, log: Path) -> Iterator[subprocess.Popen[str]]:
    """A process of ours on `core` (its children inherit it), ended with SIGTERM, then SIGKILL."""
    with open(log, "ab") as errors:
        process = subprocess.Popen(
            ["taskset", "-c", str(core), *argv],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            cwd=ROOT,
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(40)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)
        if process.stdout is not None:
            process.stdout.close()


@contextlib.contextmanager
def bench_upstream(tmp: Path, core: int, *, chunks: int = 50, interval_ms: float = 5.0) -> Iterator[int]:
    """The port of a running `tests.bench.upstream`."""
    argv = [sys.executable, "-m", "tests.bench.upstream", "--chunks", str(chunks), "--interval-ms", str(interval_ms)]
    with started(argv, core, log=tmp / "upstream.log") as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line.strip():
            raise SystemExit(f"The bench upstream did not start:\n{(tmp / 'upstream.log').read_text()}")
        yield int(line)


def pin(process: psutil.Process, core: int) -> None:
    """Every thread of `process`, also those it has already started."""
    for thread in process.threads():
        with contextlib.suppress(ProcessLookupError):
            os.sched_setaffinity(thread.id, {core})


def cpu_s(process: psutil.Process) -> float:
    """User and system time, all threads."""
    times = process.cpu_times()
    return float(times.user + times.system)


def rss_mb(process: psutil.Process) -> float:
    return float(process.memory_info().rss) / 1e6
