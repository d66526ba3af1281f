"""What a caller is told about its call is what the database tells of it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, Literal, cast

import msgspec
import pytest

from proxy.endpoints import SUMMARY_COLUMNS, LookupFailed, Own, summary
from proxy.entry import Recent
from tests.unit.exporters import a_record
from tests.unit.proxy.caching.exchanges import exchange


@pytest.mark.parametrize(("stream", "first"), [(True, 250.0), (False, None)])
def test_only_a_stream_has_a_first_token(stream: bool, first: float | None) -> None:
    record = a_record.record(stream=stream, start_ns=10**9, first_token_ns=10**9 + 250_000_000, end_ns=2 * 10**9)
    told = summary(record)
    assert (told["ttft_ms"], told["duration_ms"]) == (first, 1000.0)
    assert set(told) == set(SUMMARY_COLUMNS)


def own(found: dict[str, Any] | Exception | None, kind: Literal["call", "deferral"]) -> Own:
    """With one record in the worker's memory, and a store that answers `found`."""

    def lookup(wanted: str) -> dict[str, Any] | None:
        if isinstance(found, Exception):
            raise found
        return found

    recent = Recent()
    recent.add(a_record.record(request_id="r1", kind=kind, status=202 if kind == "deferral" else 200))
    journal: Any = SimpleNamespace(recent=recent)
    return Own(journal, lookup, None, str, None, str)


async def asked(handler: Own) -> Any:
    question = exchange(path="/penstock/requests/r1")
    question.method = "GET"
    reply = await handler(question)
    return msgspec.json.decode(cast(bytes, reply.body))


async def test_a_call_that_was_put_off_is_the_one_that_answered_it_once_that_is_there() -> None:
    assert (await asked(own({"status": 200, "cost": 1.5}, "deferral"))) == {"status": 200, "cost": 1.5}
    assert (await asked(own(None, "deferral")))["status"] == 202
    assert (await asked(own(LookupFailed("down"), "deferral")))["status"] == 202


async def test_a_call_that_was_answered_is_told_from_memory() -> None:
    assert (await asked(own({"status": 500}, "call")))["status"] == 200
