"""CPU per unary call and per stream, against nginx."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from pathlib import Path

import psutil

from .figures import Figure
from .load import Counted, Wrk
from .machine import bench_upstream, cores, cpu_s
from .nginx import nginx
from .proxy import measured

CHUNKS = 50
UNARY_RATIO_MAX = 8.5
STREAM_RATIO_MAX = 4.5
ROUNDS = 5


@dataclass(frozen=True, slots=True)
class Cost:
    cpu_us: float
    """Of the measured process, per call."""
    counted: Counted
    core_share: float
    """How much of its core the process had: 1.0 when the core was what limited it."""


def unary(tmp: Path, seconds: float) -> list[Figure]:
    """64 connections, a request of 1.8 KB and a reply of 1.2 KB with usage."""
    return _compare(tmp, "unary call", seconds, connections=64, stream=False, target=UNARY_RATIO_MAX)


def streams(tmp: Path, seconds: float) -> list[Figure]:
    """32 streams at a time, each of 50 chunks 5 ms apart."""
    return _compare(tmp, "stream", seconds, connections=32, stream=True, target=STREAM_RATIO_MAX)


def _compare(tmp: Path, what: str, seconds: float, *, connections: int, stream: bool, target: float) -> list[Figure]:
    own_core, other_core = cores()
    wrk = Wrk(tmp, other_core, stream=stream)
    theirs: list[Cost] = []
    ours: list[Cost] = []
    with (
        bench_upstream(tmp, other_core, chunks=CHUNKS) as upstream,
        nginx(tmp, upstream, own_core, buffering=not stream) as (nginx_port, nginx_worker),
        measured(tmp, upstream, own_core, other_core) as penstock,
    ):
        wrk.run(nginx_port, connections, 1)
        wrk.run(penstock.port, connections, 2)
        for _ in range(ROUNDS):
            penstock.settle()
            theirs.append(cost_of(wrk, nginx_port, nginx_worker, connections, seconds))
            ours.append(cost_of(wrk, penstock.port, penstock.worker, connections, seconds))
    per_call = statistics.median(cost.cpu_us for cost in ours)
    baseline = statistics.median(cost.cpu_us for cost in theirs)
    note = f"of {CHUNKS} chunks (baseline: nginx)" if stream else "(baseline: nginx)"
    figures = [Figure(f"CPU per {what}", per_call, "µs", baseline, target, note=note)]
    if stream:
        figures.append(Figure("CPU per streamed chunk", per_call / (CHUNKS + 1), "µs", baseline / (CHUNKS + 1)))
    figures.append(_rate(f"{what}s per second", ours, theirs))
    p50 = statistics.median(cost.counted.p50_ms for cost in ours)
    figures.append(Figure(f"median latency of a {what}, {connections} at a time", p50, "ms", _p50(theirs)))
    return figures


def _p50(costs: list[Cost]) -> float:
    return statistics.median(cost.counted.p50_ms for cost in costs)


def _rate(name: str, ours: list[Cost], theirs: list[Cost]) -> Figure:
    def rate(costs: list[Cost]) -> float:
        return statistics.median(cost.counted.requests / cost.counted.seconds for cost in costs)

    share = statistics.median(cost.core_share for cost in ours)
    return Figure(name, rate(ours), "/s", rate(theirs), note=f"(worker's core {share:.0%} busy)")


def cost_of(wrk: Wrk, port: int, process: psutil.Process, connections: int, seconds: float) -> Cost:
    before = cpu_s(process)
    counted = wrk.run(port, connections, seconds)
    spent = cpu_s(process) - before
    return Cost(spent / counted.requests * 1e6, counted, spent / counted.seconds)
