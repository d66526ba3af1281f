"""A whole Penstock keeps samples of its own health: every series of /metrics that is not of the traffic."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.ports import held_port

from .serve import penstock, until
from .stage import Stage

OF_THE_TRAFFIC = ("gen_ai_", "penstock_requests", "penstock_request_bytes", "penstock_response_bytes", "penstock_cost")
OF_THE_TRAFFIC += ("penstock_savings", "penstock_cache_calls")


def series(text: str) -> set[tuple[str, tuple[tuple[str, str], ...]]]:
    return {
        (sample.name, tuple(sorted(sample.labels.items())))
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if not sample.name.startswith(OF_THE_TRAFFIC)
    }


@pytest.fixture
def port() -> Iterator[int]:
    with held_port() as held:
        yield held


def test_what_is_exposed_is_sampled(stage: Stage, tmp_path: Path, port: int) -> None:
    """The queue too, once there is one; and the process ends no later for it."""
    options: dict[str, Any] = {
        "upstreams": {"openai": f"{stage.url}/v1"},
        "sections": {"metrics": {"port": port}, "batch": {"window_s": 3600.0}},
        "environ": {"OTEL_RESOURCE_ATTRIBUTES": "service.instance.id=here"},
    }
    with penstock(tmp_path, **options) as proxy:
        answer = httpx.post(
            f"{proxy.base_url}/chat/completions",
            json={"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hello"}]},
            headers={"x-penstock-batch": "async", "authorization": "Bearer sk-callers-own"},
            timeout=60,
        )
        assert answer.status_code == 202, answer.text
        sql = "SELECT metric, labels, value FROM health WHERE instance = 'here' AND timestamp = "
        sql += "(SELECT max(timestamp) FROM health WHERE metric = 'penstock_queue_items')"

        def look() -> tuple[list[dict[str, Any]], set[Any], set[Any]]:
            """Rows, their series, and what is exposed: each series begins with what it first counts, and is exposed
            up to 15 s before it is in a sample."""
            rows = proxy.query(sql)
            exposed: set[Any] = set()
            with contextlib.suppress(httpx.ConnectError):  # They listen a moment later than the proxy.
                exposed = series(httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=60).text)
            return rows, {(row["metric"], tuple(sorted(row["labels"].items()))) for row in rows}, exposed

        rows, sampled, exposed = until(look, lambda seen: seen[1] == seen[2] != set(), 80.0)
        assert sampled == exposed
        values = {(row["metric"], *row["labels"].values()): row["value"] for row in rows}
        assert values["penstock_queue_items", "queued", "async"] == 1
        assert values["penstock_queue_overdue",] == 0
        assert values["penstock_queue_oldest_seconds",] > 0
        assert proxy.stop() == 0
