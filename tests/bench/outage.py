"""A store that stands still while calls go on: the worker does not grow, and afterwards everything arrives."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .figures import Figure
from .machine import ROOT, bench_upstream, cores, rss_mb
from .proxy import Measured, measured

RATE = 300
GROWTH_MB_MAX = 2.0
BEFORE_S = 5.0
CATCH_UP_WITHIN_S = 180.0


@dataclass(frozen=True, slots=True)
class Phase:
    """One stretch of load, and what the parts weighed meanwhile, in MB."""

    tally: dict[str, Any]
    worker_mb: list[float]
    recorder_mb: list[float]


def outage(tmp: Path, seconds: float) -> list[Figure]:
    """`RATE` calls a second, the store stopped by SIGSTOP for `seconds`."""
    own_core, other_core = cores()
    with bench_upstream(tmp, other_core) as upstream, measured(tmp, upstream, own_core, other_core) as penstock:
        before = _phase(penstock, other_core, BEFORE_S)
        penstock.wait_recorded(before.tally["answered"], 30)
        penstock.serve.disconnect()
        store = penstock.store
        store.suspend()
        try:
            during = _phase(penstock, other_core, seconds)
        finally:
            store.resume()
        answered = before.tally["answered"] + during.tally["answered"]
        began = time.monotonic()
        arrived = penstock.wait_recorded(answered, CATCH_UP_WITHIN_S)
        caught_up_s = time.monotonic() - began
        time.sleep(3)
        arrived = max(arrived, penstock.recorded())
    return _figures(before, during, arrived - answered, caught_up_s, seconds)


def _figures(before: Phase, during: Phase, surplus: int, caught_up_s: float, seconds: float) -> list[Figure]:
    grown = during.worker_mb[-1] - during.worker_mb[len(during.worker_mb) // 10]
    recorder_grown = max(during.recorder_mb) - before.recorder_mb[-1]
    waited = during.tally["p50_ms"] - before.tally["p50_ms"]
    calls = during.tally["answered"]
    return [
        Figure(f"worker RSS grown in {seconds:g} s without a store", grown, "MB", target=GROWTH_MB_MAX),
        Figure("recorder RSS grown meanwhile", recorder_grown, "MB"),
        Figure("median latency added meanwhile", waited, "ms"),
        Figure("calls that failed meanwhile", during.tally["failed"], "", target=0),
        Figure("rows missing or too many afterwards", abs(surplus), "", target=0, note=f"(of {calls:,} calls)"),
        Figure("until everything had arrived", caught_up_s, "s"),
    ]


def _phase(penstock: Measured, core: int, seconds: float) -> Phase:
    argv = ["taskset", "-c", str(core), sys.executable, "-m", "tests.bench.pace"]
    load = subprocess.Popen(
        [*argv, str(penstock.port), str(RATE), str(seconds)], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    worker_mb, recorder_mb = [], []
    recorder = penstock.recorder
    while load.poll() is None:
        time.sleep(min(0.5, seconds / 20))
        worker_mb.append(rss_mb(penstock.worker))
        recorder_mb.append(rss_mb(recorder))
    output, _ = load.communicate(timeout=10)
    return Phase(json.loads(output), worker_mb, recorder_mb)
