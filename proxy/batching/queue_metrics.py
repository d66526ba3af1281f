"""How full the queue is and how late: for `/metrics`, and for the samples of `health`.

Read by the recorder, which is one process for each data directory. Nothing of SQLAlchemy is loaded before there is a
queue.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from exporters.files import Throttle

from ..settings import Settings
from .refusal import QueueUnavailable

if TYPE_CHECKING:
    from sqlalchemy import Connection

_log = logging.getLogger(__name__)

LOOK_WITHIN_S: Final = 3.0
"""A queue that answers later is not told about."""
STATES: Final = ("queued", "batched", "running")
MODES: Final = ("hold", "async", "file")
_SHARE: Final = 50
"""Of all time, no more than one in so many is spent on looking: a hundred thousand items take half a second."""


@dataclass(frozen=True, slots=True)
class Reading:
    """The queue at one moment."""

    items: dict[tuple[str, str], int] = field(default_factory=dict)
    """Those without an answer, by state and mode."""
    oldest_s: float = 0.0
    """Age of the oldest of them; 0: there is none."""
    overdue: int = 0
    """... and those whose deadline has passed."""
    batches: dict[str, int] = field(default_factory=dict)
    """Batches that are not over, by status in the provider's words, or by state until the provider has one."""


class QueueMetrics:
    """A collector of prometheus_client over what `refresh` read last, so that no scrape waits for a database.

    Nothing of a queue that nobody made, or that cannot be read (counted in `penstock_queue_look_failures_total`). All
    zeros of one in a shared database while another machine's dispatcher has the lease: that machine tells, so that sums
    over all instances are right. What there is nothing of any more is 0, so that its last number does not stand.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        within_s: float = LOOK_WITHIN_S,
        clock: Callable[[], int] = time.time_ns,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`within_s`: for one look."""
        self._settings = settings
        self._within_s = within_s
        self._clock = clock
        self._folder = Path(settings.server.data_dir) / "batch"
        self._monotonic = monotonic
        self._reading: Reading | None = None
        self._failures = 0
        self._statuses: set[str] = set()
        self._rest_until = float("-inf")
        self._throttle = Throttle(monotonic=monotonic)

    def refresh(self) -> None:
        """Look at the queue, unless the last look took so long that it is too early. Takes seconds at most."""
        started = self._monotonic()
        if started < self._rest_until:
            return
        try:
            self._reading = self._look() if self._exists() else None
            if self._reading is not None:
                self._statuses = {*self._statuses, *self._reading.batches}
        except QueueUnavailable as error:
            self._reading = None
            self._failures += 1
            if self._throttle.due("look"):
                _log.warning("The batch queue cannot be looked at: %s.", error)
        ended = self._monotonic()
        self._rest_until = ended + (ended - started) * (_SHARE - 1)

    def collect(self) -> Iterator[Metric]:
        yield CounterMetricFamily(
            "penstock_queue_look_failures", "Looks at the batch queue that failed.", value=self._failures
        )
        if (reading := self._reading) is None:
            return
        waiting = GaugeMetricFamily(
            "penstock_queue_items", "Calls in the batch queue without an answer.", labels=["state", "mode"]
        )
        for state in STATES:
            for mode in MODES:
                waiting.add_metric([state, mode], reading.items.get((state, mode), 0))
        open_batches = GaugeMetricFamily("penstock_queue_batches", "Batches that are not over.", labels=["state"])
        for state in sorted(self._statuses):
            open_batches.add_metric([state], reading.batches.get(state, 0))
        yield from (waiting, open_batches)
        yield GaugeMetricFamily(
            "penstock_queue_oldest_seconds", "Age of the oldest call without an answer.", value=reading.oldest_s
        )
        yield GaugeMetricFamily(
            "penstock_queue_overdue", "Calls without an answer whose deadline has passed.", value=reading.overdue
        )

    def describe(self) -> Iterator[Metric]:
        return iter(())

    def _exists(self) -> bool:
        batch = self._settings.batch
        return batch.enabled and (bool(batch.url) or (self._folder / "queue.db").exists())

    def _look(self) -> Reading | None:
        from .database import looking, now_ns, queue_url

        with looking(queue_url(self._settings), within_s=self._within_s) as connection:
            if connection is None:
                return None
            at_ns = now_ns(connection, self._clock)
            if self._settings.batch.url and _is_told_by_another(connection, at_ns, self._instance()):
                return Reading()
            return _read(connection, at_ns)

    def _instance(self) -> str:
        """By what name the dispatcher of this data directory has the lease."""
        try:
            return (self._folder / "instance").read_text()
        except OSError:
            return ""


def _is_told_by_another(connection: Connection, at_ns: int, instance: str) -> bool:
    from sqlalchemy import select

    from .tables import leases

    held = (leases.c.expires_ns > at_ns) & (leases.c.holder != instance)
    return connection.execute(select(leases.c.name).where(held).limit(1)).first() is not None


def _read(connection: Connection, at_ns: int) -> Reading:
    from sqlalchemy import and_, case, func, not_, select

    from .finishing import PENDING
    from .report import DONE, OVER
    from .tables import batches, items

    late = (items.c.deadline_ns > 0) & (items.c.deadline_ns < at_ns)
    waiting = connection.execute(
        select(
            items.c.state,
            items.c.mode,
            func.count(),
            func.min(items.c.created_ns),
            func.sum(case((late, 1), else_=0)),
        )
        .where(items.c.state.in_(PENDING))
        .group_by(items.c.state, items.c.mode)
    ).all()
    is_over = batches.c.state.in_(sorted(DONE)) | and_(batches.c.kind == "local", batches.c.status.in_(sorted(OVER)))
    status = case((batches.c.status == "", batches.c.state), else_=batches.c.status).label("status")
    running = connection.execute(select(status, func.count()).where(not_(is_over)).group_by(status)).all()
    oldest_ns = min((row[3] for row in waiting), default=at_ns)
    return Reading(
        items={(state, mode): int(count) for state, mode, count, _, _ in waiting},
        oldest_s=max(0, at_ns - oldest_ns) / 1e9,
        overdue=sum(int(row[4]) for row in waiting),
        batches={name: int(count) for name, count in running},
    )
