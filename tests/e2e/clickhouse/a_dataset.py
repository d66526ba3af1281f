"""Generations of one test: told from those of other tests by their key, written by the real sink."""

from __future__ import annotations

import json
import secrets
import time
from dataclasses import dataclass, field
from typing import Any

from exporters.clickhouse.sink import ClickHouseSink
from exporters.datasets.example import Row
from exporters.datasets.options import Options, Select
from exporters.datasets.selecting.select import ClickHouseSource
from exporters.datasets.selecting.source import Slice
from exporters.record import CallRecord, Feedback
from exporters.sink import Batch
from tests.e2e.clickhouse.spans_in import fresh_record
from tests.stores import Store

START_NS = time.time_ns() // (3600 * 10**9) * 3600 * 10**9 - 2 * 3600 * 10**9
"""An hour that is over."""


@dataclass
class Planted:
    """Calls and opinions of a test. `key` is on every row, as a prefix of none other."""

    store: Store
    sink: ClickHouseSink
    key: str = field(default_factory=lambda: f"key-{secrets.token_hex(6)}")

    def write(self, *records: CallRecord) -> None:
        self.sink.write(Batch(secrets.token_hex(8), records))

    def say(self, *feedback: Feedback) -> None:
        self.sink.write(Batch(secrets.token_hex(8), [], feedback))

    def call(self, name: str, *, at_ns: int = 0, **changes: Any) -> CallRecord:
        """Its request id is `name` of this test; its answer repeats it."""
        answer = [{"role": "assistant", "parts": [{"type": "text", "content": name}], "finish_reason": "stop"}]
        fields: dict[str, Any] = {
            "request_id": f"{self.key}-{name}",
            "response_id": f"reply-{self.key}-{name}",
            "key_id": self.key,
            "start_ns": START_NS + at_ns,
            "end_ns": START_NS + at_ns + 10**9,
            "outcome": "answered",
            "output_messages": json.dumps(answer),
            "finish_reasons": ["stop"],
            "attempts": [],
        }
        return fresh_record(**fields | changes)

    def opinion(self, of: str = "", *, at_ns: int = 0, **changes: Any) -> Feedback:
        fields: dict[str, Any] = {
            "id": secrets.token_hex(8),
            "at_ns": START_NS + at_ns,
            "request_id": f"{self.key}-{of}" if of else "",
        }
        return Feedback(**fields | changes)

    def source(self, limits: dict[str, int] | None = None, **select: Any) -> ClickHouseSource:
        chosen = Select(**{"keys": (self.key,), **select})
        return ClickHouseSource(self.store.url("reader"), Options(name="of-a-test", select=chosen), **limits or {})

    def rows(self, **select: Any) -> list[Row]:
        return read(self.source(**select))

    def names(self, **select: Any) -> list[str]:
        """Of the rows that are selected, in their order."""
        return [row.request_id.removeprefix(f"{self.key}-") for row in self.rows(**select)]


def read(source: ClickHouseSource, slices: list[Slice] | None = None) -> list[Row]:
    try:
        return [row for part in slices or source.slices() for row in source.read(part)]
    finally:
        source.close()
