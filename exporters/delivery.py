"""Brings the spool's records to one sink, in batches, each exactly once as far as the sink keeps tokens."""

from __future__ import annotations

import logging
import random
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from threading import Event
from typing import Final

import msgspec

from . import files
from .checkpoint import Checkpoint, Intent, SinkState, token_of
from .completion import where
from .gathering import Gathered, Gatherer, Item
from .record import CallRecord, Feedback, encode
from .sink import Batch, BatchRefused, Sink, SinkUnavailable
from .tail import Cursor

logger = logging.getLogger(__name__)

_BACKOFF_MIN_S: Final = 0.1


@dataclass(frozen=True)
class Limits:
    batch_records_max: int = 10_000
    batch_bytes_max: int = 32 * 1024 * 1024
    """Of encoded records; one record alone may be larger."""
    batch_age_max_s: float = 0.5
    """From the first record of a batch to its delivery."""
    poll_s: float = 0.1
    backoff_max_s: float = 30.0


class Stopped(Exception):
    """The recorder ends while a batch waits for its sink. The intent stays, and the next run takes it up."""


class Delivery:
    """One sink's way through the spool. `run` belongs to the sink's own thread; the rest may be read from others.

    While a batch is written the next one is gathered, in a second thread: memory holds two batches at most, however
    long the sink is down. Only the one being written has an intent; the other is gathered anew after a crash.
    """

    def __init__(
        self,
        sink: Sink,
        gatherer: Gatherer,
        checkpoint: Checkpoint,
        limits: Limits,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._sink = sink
        self._gatherer = gatherer
        self._checkpoint = checkpoint
        self._limits = limits
        self._monotonic = monotonic
        self._uniform = uniform
        self._throttle = files.Throttle(monotonic=monotonic)
        self._ahead = ThreadPoolExecutor(1, thread_name_prefix=f"gather-{sink.name}")
        self._writing = Event()
        self._is_reading = True
        self._written_ns: int | None = None
        self._gathered_ns: int | None = None
        self.retries = 0
        self.last_error = ""

    @property
    def name(self) -> str:
        return self._sink.name

    @property
    def state(self) -> SinkState:
        return self._checkpoint.state

    @property
    def oldest_ns(self) -> int | None:
        """End of the oldest exchange that is being written, or gathered; None when nothing waits."""
        return self._written_ns or self._gathered_ns

    def claimed(self, directory: str) -> Cursor | None:
        return self._gatherer.claimed(directory)

    def run(self, stop: Event) -> None:
        """Deliver until `stop` is set, and then what is left, as long as the sink takes it. Closes the sink."""
        try:
            while True:
                try:
                    self._deliver_all(stop)
                    return
                except Stopped:
                    return
                except Exception as error:  # noqa: BLE001  A defect here must not silence the sink for ever.
                    self._note("defect", where(error))
                    self._gatherer.forget()
                    if stop.wait(self._limits.backoff_max_s / 10):
                        return
        finally:
            self._ahead.shutdown()
            # A batch that was gathered and not written is held by nobody any more: the ledger must not count on it.
            self._gatherer.forget()
            self._sink.close()

    def _deliver_all(self, stop: Event) -> None:
        self._replay(stop)
        self._is_reading = True
        upcoming = self._ahead.submit(self._gather, stop)
        try:
            while True:
                gathered = upcoming.result()
                self._written_ns, self._gathered_ns = _oldest_ns(gathered.items), None
                if gathered.is_worth_a_commit:
                    self._writing.set()
                    upcoming = self._ahead.submit(self._gather, stop)
                    self._deliver(gathered, stop)
                elif gathered.is_last:
                    return
                else:
                    upcoming = self._ahead.submit(self._gather, stop)
                self._writing.clear()
        finally:
            self._writing.clear()
            self._is_reading = False
            _settle(upcoming)

    def _gather(self, stop: Event) -> Gathered:
        """A batch: as soon as there is enough, or the first record has waited long enough, or the recorder ends.

        As long as the batch before it is being written it may grow: it could not go out anyway.
        """
        gathered = Gathered(is_last=stop.is_set())
        limits = self._limits
        first_s: float | None = None
        while self._is_reading and gathered.count < limits.batch_records_max and gathered.size < limits.batch_bytes_max:
            progress = self._gatherer.pull(
                gathered, self.state.cursors, limits.batch_records_max, limits.batch_bytes_max
            )
            left_s = limits.poll_s
            if gathered.count:
                if first_s is None:
                    first_s = self._monotonic()
                    self._gathered_ns = _oldest_ns(gathered.items)
                left_s = first_s + limits.batch_age_max_s - self._monotonic()
                if left_s <= 0 and self._writing.is_set():
                    left_s = limits.poll_s
            if left_s <= 0 or (not progress and not gathered.count and gathered.is_worth_a_commit):
                break
            if not progress and stop.wait(min(limits.poll_s, left_s)):
                break
        gathered.cursors = self._gatherer.cursors(self.state.cursors)
        return gathered

    def _deliver(self, gathered: Gathered, stop: Event) -> None:
        ranges, items = gathered.ranges, gathered.items
        dropped = {reason: count for reason, count in gathered.dropped.items() if count}
        intent = Intent(token_of(ranges), ranges, gathered.cursors, dropped)
        if items:
            self._save(msgspec.structs.replace(self.state, intent=intent), stop)
        self._complete(intent, items, stop)

    def _replay(self, stop: Event) -> None:
        """Write again, with the same token, the batch that was being written when the recorder ended."""
        intent = self.state.intent
        if intent is None:
            return
        items = self._gatherer.again(intent)
        if items is None:
            # The quota took a part of it. What is left is gathered anew, what is gone is counted as a gap.
            self._save(msgspec.structs.replace(self.state, intent=None), stop)
            return
        self._complete(intent, items, stop)

    def _complete(self, intent: Intent, items: list[Item], stop: Event) -> None:
        """Write the batch, and commit what became of it."""
        refused = Counter[type](map(type, self._write(items, intent.token, stop)))
        sent = Counter[type](map(type, items)) - refused
        state = self.state
        dropped = Counter(state.dropped) + Counter(intent.dropped) + Counter(refused=refused[CallRecord])
        self._save(
            SinkState(
                cursors=intent.cursors,
                exported=state.exported + sent[CallRecord],
                dropped=dict(dropped),
                feedback_exported=state.feedback_exported + sent[Feedback],
                feedback_dropped=state.feedback_dropped + refused[Feedback],
            ),
            stop,
        )
        self._written_ns = None

    def _write(self, items: list[Item], token: str, stop: Event) -> list[Item]:
        """Write all items; those that the sink will never take are set aside and returned.

        A batch that is refused is halved, down to the culprits, each half under a token of its own.
        """
        refused = []
        waiting = [(0, len(items))] if items else []
        while waiting:
            low, high = waiting.pop()
            name = token if high - low == len(items) else f"{token}.{low}-{high}"
            try:
                self._attempt(_batch(name, items[low:high]), stop)
            except BatchRefused as error:
                if high - low > 1:
                    middle = (low + high) // 2
                    waiting += [(middle, high), (low, middle)]
                    continue
                refused.append(items[low])
                self._gatherer.aside.put(f"{token}-{low}.msgpack", encode(items[low]))
                if self._throttle.due("refused"):
                    aside = self._gatherer.aside.path
                    logger.error("Sink %s refuses a record, which is set aside in %s: %s", self.name, aside, error)
        return refused

    def _attempt(self, batch: Batch, stop: Event) -> None:
        """Write one batch, however long it takes. Raises `BatchRefused`, or `Stopped` when the recorder ends first."""
        for attempt in range(1 << 62):
            try:
                self._sink.write(batch)
            except BatchRefused:
                raise
            except SinkUnavailable as error:
                self._note("unavailable", str(error))
            except Exception as error:  # noqa: BLE001  A defect of a sink: kept out of the other sinks' way.
                self._note("defect", where(error))
            else:
                self.last_error = ""
                return
            self._back_off(attempt, stop)

    def _save(self, state: SinkState, stop: Event) -> None:
        """Without its checkpoint no batch is written, or it might be written twice."""
        for attempt in range(1 << 62):
            try:
                self._checkpoint.save(state)
                return
            except OSError as error:
                self._note("checkpoint", f"Cannot save the checkpoint: {error.strerror}")
            self._back_off(attempt, stop)

    def _back_off(self, attempt: int, stop: Event) -> None:
        """Exponential, with full jitter: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/"""
        self.retries += 1
        longest_s = min(self._limits.backoff_max_s, _BACKOFF_MIN_S * 2.0 ** min(attempt, 32))
        if stop.wait(self._uniform(0.0, longest_s)):
            raise Stopped

    def _note(self, kind: str, text: str) -> None:
        self.last_error = text
        if self._throttle.due(kind):
            logger.warning("Sink %s (%s): %s. It is tried again; its records wait in the spool.", self.name, kind, text)


def _settle(upcoming: Future[Gathered]) -> None:
    """Wait until nobody reads any more. What was gathered is let go; the cursors still stand before it."""
    if not upcoming.cancel():
        with suppress(Exception):  # Met again when it is gathered anew.
            upcoming.result()


def _batch(token: str, items: list[Item]) -> Batch:
    return Batch(
        token,
        [item for item in items if isinstance(item, CallRecord)],
        [item for item in items if isinstance(item, Feedback)],
    )


def _oldest_ns(items: list[Item]) -> int | None:
    return min((item.end_ns for item in items if isinstance(item, CallRecord)), default=None)
