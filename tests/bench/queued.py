"""Calls that are queued for a batch, against the same calls that are proxied at once."""

from __future__ import annotations

import statistics
from pathlib import Path

from .calls import Cost, cost_of
from .figures import Figure
from .load import Wrk
from .machine import bench_upstream, cores
from .proxy import measured

RATE_RATIO_MIN = 0.5
CONNECTIONS = 64
ROUNDS = 3


def queued(tmp: Path, seconds: float) -> list[Figure]:
    """64 connections, each call another question; the queue is on disk, committed before the caller hears 202."""
    own_core, other_core = cores()
    plain = Wrk(tmp, other_core, questions=0)
    deferred = Wrk(tmp, other_core, headers={"x-penstock-batch": "async"}, questions=0)
    # Nothing is sent meanwhile: what is measured is the way in.
    batch = {"window_s": 100_000.0, "window_items_max": 50_000, "queue_items_max": 10_000_000}
    with (
        bench_upstream(tmp, other_core, chunks=50) as upstream,
        measured(tmp, upstream, own_core, other_core, {"batch": batch}) as penstock,
    ):
        deferred.run(penstock.port, CONNECTIONS, 1)  # the queue is opened at its first use
        found: tuple[list[Cost], list[Cost]] = ([], [])
        for _ in range(ROUNDS):
            for load, costs in zip((plain, deferred), found, strict=True):
                penstock.settle()
                costs.append(cost_of(load, penstock.port, penstock.worker, CONNECTIONS, seconds))
    rates = [statistics.median(cost.counted.requests / cost.counted.seconds for cost in costs) for costs in found]
    cpu = [statistics.median(cost.cpu_us for cost in costs) for costs in found]
    items = sum(cost.counted.requests for cost in found[1])
    return [
        Figure("calls queued", rates[1], "/s", rates[0], RATE_RATIO_MIN, at_least=True, note="(baseline: proxied)"),
        Figure("CPU per call queued", cpu[1], "µs", cpu[0], note=f"(proxied; {items:,} items in the queue)"),
    ]
