"""What a caller is told about its call is what the database tells of it."""

from __future__ import annotations

import pytest

from proxy.endpoints import SUMMARY_COLUMNS, summary
from tests.unit.exporters import a_record


@pytest.mark.parametrize(("stream", "first"), [(True, 250.0), (False, None)])
def test_only_a_stream_has_a_first_token(stream: bool, first: float | None) -> None:
    record = a_record.record(stream=stream, start_ns=10**9, first_token_ns=10**9 + 250_000_000, end_ns=2 * 10**9)
    told = summary(record)
    assert (told["ttft_ms"], told["duration_ms"]) == (first, 1000.0)
    assert set(told) == set(SUMMARY_COLUMNS)
