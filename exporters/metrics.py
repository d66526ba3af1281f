"""Metrics of the traffic for Prometheus: a sink that counts, in the names and buckets of the GenAI conventions.

The names are spelled for Prometheus as OpenTelemetry's exporter spells them: dots become underscores, the unit and
`_total` are appended. Being a sink with a checkpoint, it counts each record once over the life of the process; a
restart begins at zero, which Prometheus knows how to read. Source: semantic-conventions-genai, gen-ai-metrics.

Series are kept as plain numbers and handed to prometheus_client at a scrape: its own instruments take 47 us a record,
which at 10,000 records a second is half a core.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.utils import floatToGoString

from .record import CallRecord
from .sink import Batch
from .spans import error_type, operation

TOKEN_BUCKETS: Final = tuple(4**power for power in range(14))
SECONDS_BUCKETS: Final = tuple(0.01 * 2**power for power in range(14))
SERVER_SECONDS_BUCKETS: Final = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5),
    *(0.75, 1.0, 2.5, 5.0, 7.5, 10.0),
)

LABEL_VALUES_MAX: Final = 200
"""Distinct values of one label (models, error types, ...); those that come later are counted as `other`."""

CALLS_MAX: Final = 2000
"""Distinct combinations of operation, provider and models; beyond, only operation and provider are told apart."""

TOKENS_REMEMBERED: Final = 1000
"""Batches whose repetition is recognised. A sink retries its last batch, so one would do."""

_CALL: Final = (
    "gen_ai_operation_name",
    "gen_ai_provider_name",
    "gen_ai_request_model",
    "gen_ai_response_model",
)


class _Vocabulary:
    """The values that a label has had, up to a limit. Strangers may send any model name: one becomes a label of its
    own only when an upstream has answered for it."""

    def __init__(self, values_max: int) -> None:
        self._known: set[str] = set()
        self._max = values_max

    def label(self, value: str, *, proven: bool = True) -> str:
        if not value or value in self._known:
            return value
        if not proven or len(self._known) >= self._max:
            return "other"
        self._known.add(value)
        return value


Labels = tuple[str, ...]


class _Counter:
    def __init__(self, name: str, help_text: str, labels: Sequence[str]) -> None:
        self._describe = (name, help_text)
        self._labels = labels
        self._values: dict[Labels, float] = {}

    def add(self, labels: Labels, amount: float) -> None:
        self._values[labels] = self._values.get(labels, 0.0) + amount

    def family(self) -> Metric:
        family = CounterMetricFamily(*self._describe, labels=self._labels)
        for labels, value in self._values.items():
            family.add_metric(labels, value)
        return family


class _Histogram:
    def __init__(self, name: str, help_text: str, labels: Sequence[str], bounds: Sequence[float]) -> None:
        self._describe = (name, help_text)
        self._labels = labels
        self._bounds = bounds
        self._names = [*(str(floatToGoString(bound)) for bound in bounds), "+Inf"]  # type: ignore[no-untyped-call]
        self._counts: dict[Labels, list[int]] = {}
        self._sums: dict[Labels, float] = {}

    def observe(self, labels: Labels, value: float) -> None:
        counts = self._counts.get(labels)
        if counts is None:
            counts = self._counts[labels] = [0] * len(self._names)
            self._sums[labels] = 0.0
        # A bucket holds what is at most its bound.
        counts[bisect_left(self._bounds, value)] += 1
        self._sums[labels] += value

    def family(self) -> Metric:
        family = HistogramMetricFamily(*self._describe, labels=self._labels)
        for labels, counts in self._counts.items():
            buckets, total = [], 0
            for name, count in zip(self._names, counts, strict=True):
                total += count
                buckets.append((name, float(total)))
            family.add_metric(labels, buckets, self._sums[labels])
        return family


class MetricsSink:
    """A `Sink` whose backend is a registry of prometheus_client. Never refuses a batch."""

    name = "metrics"

    def __init__(
        self, registry: CollectorRegistry, *, label_values_max: int = LABEL_VALUES_MAX, calls_max: int = CALLS_MAX
    ) -> None:
        self._lock = threading.Lock()
        self._tokens: OrderedDict[str, None] = OrderedDict()
        self._calls: set[Labels] = set()
        self._calls_max = calls_max
        self._request_models = _Vocabulary(label_values_max)
        self._response_models = _Vocabulary(label_values_max)
        self._providers = _Vocabulary(label_values_max)
        self._errors = _Vocabulary(label_values_max)
        self._strategies = _Vocabulary(label_values_max)
        self._usage = _Histogram(
            "gen_ai_client_token_usage",
            "Tokens of one call that were bought, input and output apart.",
            (*_CALL, "gen_ai_token_type"),
            TOKEN_BUCKETS,
        )
        self._duration = _Histogram(
            "gen_ai_client_operation_duration_seconds",
            "From the request's arrival to the end of the reply.",
            (*_CALL, "error_type"),
            SECONDS_BUCKETS,
        )
        self._first_chunk = _Histogram(
            "gen_ai_client_operation_time_to_first_chunk_seconds",
            "From the request's arrival to the first content of a streamed reply.",
            _CALL,
            SECONDS_BUCKETS,
        )
        self._first_token = _Histogram(
            "gen_ai_server_time_to_first_token_seconds",
            "From the last attempt's start to the first content of a streamed reply: the upstream's part of the wait.",
            _CALL,
            SERVER_SECONDS_BUCKETS,
        )
        self._requests = _Counter(
            "penstock_requests", "Exchanges by how they ended.", ("endpoint", "outcome", "status", "error_type")
        )
        self._request_bytes = _Counter("penstock_request_bytes", "Bytes of request bodies.", ("endpoint",))
        self._response_bytes = _Counter("penstock_response_bytes", "Bytes of reply bodies.", ("endpoint",))
        self._cost = _Counter("penstock_cost_usd", "US dollars, where the price is known.", _CALL)
        self._unpriced = _Counter("penstock_cost_unknown", "Exchanges with tokens whose price is not known.", _CALL)
        self._savings = _Counter("penstock_savings_usd", "US dollars saved.", ("strategy",))
        self._cache = _Counter(
            "penstock_cache_calls", "Exchanges by what the response cache did.", ("endpoint", "cache")
        )
        self._all = (self._usage, self._duration, self._first_chunk, self._first_token, self._requests)
        self._others = (
            self._request_bytes,
            self._response_bytes,
            self._cost,
            self._unpriced,
            self._savings,
            self._cache,
        )
        registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """For the registry: everything at one moment, between two batches."""
        with self._lock:
            return iter([instrument.family() for instrument in (*self._all, *self._others)])

    def write(self, batch: Batch) -> None:
        with self._lock:
            if batch.token in self._tokens:
                return
            for record in batch.records:
                self._count(record)
            self._tokens[batch.token] = None
            if len(self._tokens) > TOKENS_REMEMBERED:
                self._tokens.popitem(last=False)

    def close(self) -> None:
        """Nothing to let go of; whoever made the registry serves it."""

    def _count(self, record: CallRecord) -> None:
        if record.kind == "batch":
            return  # its lines are counted
        outcome = "deferred" if record.kind == "deferral" else record.outcome
        error = self._errors.label(error_type(record))
        self._requests.add((record.endpoint, outcome, str(record.status), error), 1)
        self._request_bytes.add((record.endpoint,), record.request_bytes)
        self._response_bytes.add((record.endpoint,), record.response_bytes)
        for strategy, saved in record.savings.items():
            self._savings.add((self._strategies.label(strategy),), max(0.0, saved))
        if record.cache_status and record.kind == "call":
            self._cache.add((record.endpoint, record.cache_status), 1)
        if name := operation(record):
            self._count_call(record, name, error)

    def _count_call(self, record: CallRecord, name: str, error: str) -> None:
        proven = 200 <= record.status < 300
        call = (
            name,
            self._providers.label(record.provider),
            self._request_models.label(record.request_model, proven=proven),
            self._response_models.label(record.response_model, proven=proven),
        )
        if call not in self._calls:
            if len(self._calls) >= self._calls_max:
                call = (name, call[1], "other", "other")
            self._calls.add(call)
        if not record.batch_id or record.attempts:  # How long a batch takes says nothing about how fast a model is.
            self._duration.observe((*call, error), max(0, record.end_ns - record.start_ns) / 1e9)
        if not record.reused:
            # The conventions: where tokens used and tokens billed differ, those that are billed.
            if record.input_tokens is not None:
                self._usage.observe((*call, "input"), record.input_tokens)
            if record.output_tokens is not None:
                self._usage.observe((*call, "output"), record.output_tokens)
        if record.stream and record.first_token_ns:
            self._first_chunk.observe(call, max(0, record.first_token_ns - record.start_ns) / 1e9)
            if record.attempts:
                waited_ns = record.first_token_ns - record.attempts[-1].start_ns
                self._first_token.observe(call, max(0, waited_ns) / 1e9)
        if record.cost is not None:
            self._cost.add(call, max(0.0, record.cost))
        elif record.input_tokens is not None or record.output_tokens is not None:
            self._unpriced.add(call, 1)
