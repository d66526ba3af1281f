"""What a sink is: the one thing the recorder knows about ClickHouse, OTLP endpoints, the terminal and the metrics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from .record import CallRecord, Feedback


class SinkUnavailable(Exception):
    """The batch may succeed later, unchanged: the database is down, busy or restarting. The recorder retries it."""


class BatchRefused(Exception):
    """The batch will never succeed as it is. The recorder halves it to find the culprit, sets that aside and counts."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Records in spool order, already completed. A retry has the same `token` and the same content."""

    token: str
    records: Sequence[CallRecord]
    feedback: Sequence[Feedback] = field(default=())


class Sink(Protocol):
    """Called from one thread, the sink's own; may block. A slow or dead sink delays only itself."""

    @property
    def name(self) -> str:
        """Names the checkpoint file: stable over restarts, unique among the sinks."""

    def write(self, batch: Batch) -> None:
        """Return only when the batch is safe. Writing the same token twice must have the effect of writing it once.

        Raises `SinkUnavailable` or `BatchRefused`; any other exception is a defect and is treated as the former.
        """

    def close(self) -> None: ...
