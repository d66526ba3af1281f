"""Penstock's own Batch API and the tests' provider are told apart by nothing that the official SDK's code looks at."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.batch_provider import BatchProvider
from tests.batch_provider_replies import expected_text
from tests.batch_provider_replies import reply as asked_of_the_model

from .emulated import JSON, Answer, Emulated, chat, emulated, jsonl

IN = {"endpoint": "/v1/chat/completions", "completion_window": "24h"}
OVER = ("completed", "failed", "expired", "cancelled")
BEFORE = ("validating", "in_progress", "finalizing", "cancelling")


@dataclass
class Api:
    client: openai.AsyncOpenAI
    hold: Callable[[], None]
    """Nothing gets on from now."""
    proceed: Callable[[], None]

    async def submit(self, *lines: Any, **more: Any) -> openai.types.Batch:
        file = await self.client.files.create(file=("in.jsonl", jsonl(*lines)), purpose="batch")
        return await self.client.batches.create(input_file_id=file.id, **IN, **more)  # type: ignore[arg-type]

    async def over(self, batch_id: str) -> openai.types.Batch:
        async with asyncio.timeout(60):
            while True:
                batch = await self.client.batches.retrieve(batch_id)
                openai.types.Batch.model_validate(batch.model_dump(), strict=True)
                if batch.status in OVER:
                    return batch
                assert batch.status in BEFORE
                await asyncio.sleep(0.02)

    async def lines(self, file_id: str | None) -> list[dict[str, Any]]:
        assert file_id is not None
        return [json.loads(line) for line in (await self.client.files.content(file_id)).text.splitlines()]


def _answer(row: Any) -> Answer:
    status, body = asked_of_the_model(row.path, json.loads(row.body))
    return Answer(status=status, headers=JSON, body=json.dumps(body).encode())


@contextlib.asynccontextmanager
async def _penstock(tmp_path: Path) -> AsyncIterator[Api]:
    async with emulated(tmp_path) as local:
        one: Emulated = local
        one.answer = _answer
        yield Api(one.client, one.running.clear, one.running.set)


@contextlib.asynccontextmanager
async def _provider(tmp_path: Path) -> AsyncIterator[Api]:
    with BatchProvider(tmp_path) as provider:
        async with openai.AsyncOpenAI(base_url=provider.base_url, api_key="sk", max_retries=0, timeout=60) as client:

            def hold(validating_s: float = 3600.0) -> None:
                provider._server.set(validating_s=validating_s)

            yield Api(client, hold, lambda: hold(0.0))


@pytest.fixture(params=[_penstock, _provider], ids=["penstock", "provider"])
async def api(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Api]:
    async with request.param(tmp_path) as one:
        yield one


async def test_results(api: Api) -> None:
    lines = [chat("a", "One?"), chat("b", "fail with 422"), chat("c", "Three?")]
    batch = await api.submit(*lines, metadata={"team": "gate"})
    assert (batch.object, batch.status, batch.metadata) == ("batch", "validating", {"team": "gate"})
    assert (batch.endpoint, batch.completion_window) == ("/v1/chat/completions", "24h")
    over = await api.over(batch.id)
    assert (over.id, over.status, over.errors, over.input_file_id) == (batch.id, "completed", None, batch.input_file_id)
    assert over.request_counts is not None
    assert over.request_counts.model_dump() == {"total": 3, "completed": 2, "failed": 1}
    assert over.in_progress_at is not None
    assert over.completed_at is not None
    assert over.created_at <= over.in_progress_at <= over.completed_at
    assert (over.cancelled_at, over.expired_at, over.failed_at) == (None, None, None)
    done = {line["custom_id"]: line for line in await api.lines(over.output_file_id)}
    failed = {line["custom_id"]: line for line in await api.lines(over.error_file_id)}
    assert ({*done}, {*failed}) == ({"a", "c"}, {"b"})
    for asked in (lines[0], lines[2]):
        line = done[asked["custom_id"]]
        assert set(line) == {"id", "custom_id", "response", "error"}
        assert set(line["response"]) == {"status_code", "request_id", "body"}
        assert (line["error"], line["response"]["status_code"]) == (None, 200)
        completion = openai.types.chat.ChatCompletion.model_validate(line["response"]["body"])
        assert completion.choices[0].message.content == expected_text(asked["body"])
    assert failed["b"]["response"]["status_code"] == 422
    assert failed["b"]["response"]["body"]["error"]["code"] == "asked_for"
    output = await api.client.files.retrieve(over.output_file_id or "")
    assert (output.purpose, output.status, output.object) == ("batch_output", "processed", "file")


async def test_there_is_no_file_without_a_line(api: Api) -> None:
    over = await api.over((await api.submit(chat("a"))).id)
    assert (over.output_file_id is None, over.error_file_id) == (False, None)
    over = await api.over((await api.submit(chat("a", "fail with 400"))).id)
    assert (over.status, over.output_file_id, over.error_file_id is None) == ("completed", None, False)


async def test_a_file_with_faults(api: Api) -> None:
    over = await api.over((await api.submit(chat("a"), chat("a"), [], chat("b") | {"method": "GET"})).id)
    assert over.status == "failed"
    assert over.failed_at is not None
    assert (over.output_file_id, over.error_file_id) == (None, None)
    assert over.errors is not None
    assert over.errors.data is not None
    assert [(error.line, error.code) for error in over.errors.data] == [
        (2, "duplicate_custom_id"),
        (3, "invalid_json_line"),
        (4, "invalid_method"),
    ]


@pytest.mark.parametrize(
    ("changed", "param"),
    [
        ({"input_file_id": "file-unknown"}, "input_file_id"),
        ({"endpoint": "/v1/none"}, "endpoint"),
        ({"completion_window": "1h"}, "completion_window"),
        ({"metadata": {str(n): "" for n in range(17)}}, "metadata"),
    ],
)
async def test_what_is_no_batch(api: Api, changed: dict[str, Any], param: str) -> None:
    file = await api.client.files.create(file=("in.jsonl", jsonl(chat("a"))), purpose="batch")
    with pytest.raises(openai.BadRequestError) as caught:
        await api.client.batches.create(**({"input_file_id": file.id, **IN} | changed))  # type: ignore[call-overload]
    assert (caught.value.param, caught.value.type) == (param, "invalid_request_error")


async def test_what_is_no_file(api: Api) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        await api.client.files.create(file=("in.jsonl", b"1"), purpose="fun")  # type: ignore[arg-type]
    assert caught.value.param == "purpose"


async def test_what_is_not_there(api: Api) -> None:
    client = api.client
    for call in (
        client.files.retrieve("file-unknown"),
        client.files.content("file-unknown"),
        client.files.delete("file-unknown"),
        client.batches.retrieve("batch_unknown"),
        client.batches.cancel("batch_unknown"),
    ):
        with pytest.raises(openai.NotFoundError) as caught:
            await call
        assert caught.value.type == "invalid_request_error"


async def test_what_is_somebody_elses(api: Api) -> None:
    batch = await api.submit(chat("a"))
    other = api.client.with_options(api_key="sk-of-somebody-else")
    for call in (
        other.batches.retrieve(batch.id),
        other.batches.cancel(batch.id),
        other.files.retrieve(batch.input_file_id),
        other.files.delete(batch.input_file_id),
    ):
        with pytest.raises(openai.NotFoundError):
            await call
    assert [file async for file in other.files.list()] == []
    assert [each async for each in other.batches.list()] == []


async def test_a_cancelled_batch(api: Api) -> None:
    api.hold()
    batch = await api.submit(chat("a"))
    cancelled = await api.client.batches.cancel(batch.id)
    assert cancelled.status == "cancelling"
    assert cancelled.cancelling_at is not None
    api.proceed()


async def test_what_is_over_is_not_cancelled(api: Api) -> None:
    over = await api.over((await api.submit(chat("a"))).id)
    with pytest.raises(openai.ConflictError):
        await api.client.batches.cancel(over.id)


async def test_lists(api: Api) -> None:
    batches = [(await api.submit(chat("a"))).id for _ in range(3)]
    assert [batch.id async for batch in api.client.batches.list(limit=2)] == batches[::-1]
    page = await api.client.batches.list(limit=2)
    assert (len(page.data), page.has_more) == (2, True)
    for batch in batches:
        await api.over(batch)
    files = [file async for file in api.client.files.list(limit=1, purpose="batch")]
    assert len(files) == 3
    oldest_first = [file.id async for file in api.client.files.list(limit=2, purpose="batch", order="asc")]
    assert oldest_first == [file.id for file in files[::-1]]
    assert {file.purpose async for file in api.client.files.list(purpose="batch_output")} == {"batch_output"}


async def test_files(api: Api) -> None:
    content = jsonl(chat("ü"))
    file = await api.client.files.create(file=("in.jsonl", content), purpose="batch")
    assert (file.object, file.bytes, file.filename, file.purpose) == ("file", len(content), "in.jsonl", "batch")
    assert await api.client.files.wait_for_processing(file.id) == file
    assert (await api.client.files.content(file.id)).content == content
    deleted = await api.client.files.delete(file.id)
    assert (deleted.id, deleted.object, deleted.deleted) == (file.id, "file", True)
