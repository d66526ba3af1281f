"""The official SDK's code for batches, against an upstream that has none."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import openai
import pytest
from sqlalchemy import select, update

from exporters.record import decode_record
from proxy.batching.item import Answer
from proxy.batching.local import api as local_api
from proxy.batching.tables import batches, credentials, items, outbox
from proxy.settings import Upstream

from .emulated import JSON, chat, emulated, jsonl, said
from .proxied import proxied
from .scripted import ScriptedUpstream
from .scripted import json_reply as scripted_json


async def test_a_batch_runs_from_its_file_to_its_results(tmp_path: Path) -> None:
    async with emulated(tmp_path) as local:
        batch = await local.submit(chat("a", "One?"), chat("b", "fail"), chat("c", "Three?"), metadata={"team": "gate"})
        assert (batch.status, batch.metadata, batch.endpoint) == (
            "validating",
            {"team": "gate"},
            "/v1/chat/completions",
        )
        assert batch.expires_at == batch.created_at + 24 * 3600
        over = await local.over(batch.id)
        assert (over.status, over.model) == ("completed", "tiny")
        assert over.request_counts is not None
        assert over.request_counts.model_dump() == {"total": 3, "completed": 2, "failed": 1}
        assert over.usage is not None
        assert (over.usage.input_tokens, over.usage.output_tokens) == (6, 4)
        done, failed = await local.lines(over.output_file_id), await local.lines(over.error_file_id)
        assert [line["custom_id"] for line in done] == ["a", "c"]
        parsed = openai.types.chat.ChatCompletion.model_validate(done[1]["response"]["body"], strict=True)
        assert parsed.choices[0].message.content == "Three?"
        assert (done[0]["response"]["status_code"], done[0]["response"]["request_id"]) == (200, "req_upstream")
        assert failed[0]["response"]["body"]["error"]["message"] == "It will not."
        assert (failed[0]["error"], failed[0]["response"]["status_code"]) == (None, 400)


async def test_a_failed_validation_names_the_lines(tmp_path: Path) -> None:
    async with emulated(tmp_path) as local:
        batch = await local.submit(chat("a"), chat("a"), {"custom_id": "b"}, chat("c", stream=True))
        over = await local.over(batch.id)
        assert over.status == "failed"
        assert over.errors is not None
        assert over.errors.data is not None
        assert [(error.line, error.code, error.param) for error in over.errors.data] == [
            (2, "duplicate_custom_id", "custom_id"),
            (3, "missing_required_parameter", "method"),
            (4, "invalid_value", "body.stream"),
        ]
        assert over.failed_at is not None
        assert (over.output_file_id, local.asked) == (None, [])


@pytest.mark.parametrize(
    ("changed", "param"),
    [
        ({"endpoint": "/v1/images/generations"}, "endpoint"),
        ({"completion_window": "1h"}, "completion_window"),
        ({"input_file_id": "file-unknown"}, "input_file_id"),
        ({"input_file_id": "file-ü"}, "input_file_id"),
        ({"metadata": {"a": "x" * 513}}, "metadata"),
        ({"output_expires_after": {"anchor": "created_at", "seconds": 60}}, "output_expires_after[seconds]"),
    ],
)
async def test_what_is_no_batch_is_refused(tmp_path: Path, changed: dict[str, Any], param: str) -> None:
    async with emulated(tmp_path) as local:
        file = await local.client.files.create(file=("in.jsonl", jsonl(chat("a"))), purpose="batch")
        good = {"input_file_id": file.id, "endpoint": "/v1/chat/completions", "completion_window": "24h"}
        with pytest.raises(openai.BadRequestError) as caught:
            await local.client.batches.create(**(good | changed))  # type: ignore[arg-type]
        assert (caught.value.param, caught.value.type) == (param, "invalid_request_error")
        assert local.rows(select(batches)) == []


async def test_the_input_must_be_uploaded_for_a_batch(tmp_path: Path) -> None:
    async with emulated(tmp_path) as local:
        file = await local.client.files.create(file=("in.jsonl", jsonl(chat("a"))), purpose="user_data")
        with pytest.raises(openai.BadRequestError) as caught:
            await local.client.batches.create(
                input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h"
            )
        assert (caught.value.code, caught.value.param) == ("invalid_purpose", "input_file_id")


async def test_so_many_batches_are_open_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_api, "UNFINISHED_MAX", 1)
    async with emulated(tmp_path) as local:
        local.running.clear()
        await local.submit(chat("a"))
        with pytest.raises(openai.InternalServerError) as caught:
            await local.submit(chat("a"))
        assert (caught.value.status_code, caught.value.code) == (503, "batch_queue_full")


async def test_lists_come_in_pages_newest_first(tmp_path: Path) -> None:
    async with emulated(tmp_path) as local:
        made = [(await local.submit(chat("a"))).id for _ in range(5)]
        found = [batch.id async for batch in local.client.batches.list(limit=2)]
        assert found == made[::-1]
        page = await local.client.batches.list(limit=2)
        assert (len(page.data), page.has_more) == (2, True)
        with pytest.raises(openai.NotFoundError):
            await local.client.batches.list(after="batch_unknown")


async def test_a_batch_is_cancelled_in_the_middle(tmp_path: Path) -> None:
    async with emulated(tmp_path) as local:
        local.answer = lambda row: said(row) if row.custom_id in ("a", "b") else None
        batch = await local.submit(*(chat(name) for name in "abcd"))
        while len(local.asked) < 2:
            await asyncio.sleep(0.01)
        local.running.clear()
        cancelling = await local.client.batches.cancel(batch.id)
        assert cancelling.status == "cancelling"
        assert cancelling.cancelling_at is not None
        local.running.set()
        over = await local.over(batch.id)
        assert (over.status, over.cancelled_at is not None) == ("cancelled", True)
        assert over.request_counts is not None
        assert over.request_counts.model_dump() == {"total": 4, "completed": 2, "failed": 0}
        assert [line["custom_id"] for line in await local.lines(over.output_file_id)] == ["a", "b"]
        errors = await local.lines(over.error_file_id)
        assert [(line["custom_id"], line["error"]["code"]) for line in errors] == [
            ("c", "batch_cancelled"),
            ("d", "batch_cancelled"),
        ]
        assert (await local.client.batches.cancel(batch.id)).status == "cancelled"


async def test_what_is_over_cannot_be_cancelled(tmp_path: Path) -> None:
    async with emulated(tmp_path) as local:
        batch = await local.submit(chat("a"))
        await local.over(batch.id)
        with pytest.raises(openai.ConflictError) as caught:
            await local.client.with_options(max_retries=2).batches.cancel(batch.id)
        assert caught.value.response.headers["x-should-retry"] == "false"
        for unknown in ("batch_unknown", "%FF", "x" * 300):
            with pytest.raises(openai.NotFoundError):
                await local.client.batches.cancel(unknown)
            with pytest.raises(openai.NotFoundError):
                await local.client.batches.retrieve(unknown)


async def test_a_batch_expires_after_its_window(tmp_path: Path) -> None:
    async with emulated(tmp_path) as local:
        local.answer = lambda row: said(row) if row.custom_id == "a" else None
        batch = await local.submit(chat("a"), chat("b"))
        while not local.asked:
            await asyncio.sleep(0.01)
        with local.database.transaction() as connection:
            connection.execute(update(batches).values(expires_ns=1))
        over = await local.over(batch.id)
        assert (over.status, over.expired_at is not None) == ("expired", True)
        assert [line["custom_id"] for line in await local.lines(over.output_file_id)] == ["a"]
        assert (await local.lines(over.error_file_id))[0]["error"]["code"] == "batch_expired"


async def test_nobody_else_finds_files_and_batches(tmp_path: Path) -> None:
    async with emulated(tmp_path) as local:
        batch = await local.submit(chat("a"))
        over = await local.over(batch.id)
        assert over.output_file_id is not None
        other = local.client.with_options(api_key="sk-somebody-else")
        for call in (
            other.batches.retrieve(batch.id),
            other.batches.cancel(batch.id),
            other.files.retrieve(over.output_file_id),
            other.files.content(over.output_file_id),
            other.files.delete(over.output_file_id),
        ):
            with pytest.raises(openai.NotFoundError):
                await call
        assert [file.id async for file in other.files.list()] == []
        assert [each.id async for each in other.batches.list()] == []
        with pytest.raises(openai.BadRequestError):
            await other.batches.create(
                input_file_id=batch.input_file_id, endpoint="/v1/chat/completions", completion_window="24h"
            )
        assert (await local.client.files.retrieve(over.output_file_id)).id == over.output_file_id


async def test_the_callers_key_is_sealed_while_the_batch_needs_it(tmp_path: Path) -> None:
    async with emulated(tmp_path) as local:
        local.answer = lambda row: None
        batch = await local.submit(chat("a"))
        await local.until(batch.id, "in_progress")
        while not local.rows(select(items)):
            await asyncio.sleep(0.01)
        [item], [kept] = local.rows(select(items)), local.rows(select(credentials))
        assert (item.credential, batch.id) == (kept.id, item.batch_id)
        stored = b""
        while b"Is it open?" not in stored:  # it moves from one of the files to another now and then
            stored = b"".join(path.read_bytes() for path in (tmp_path / "batch").glob("queue.db*"))
        assert b"callers-own" not in stored
        local.answer = said
        await local.over(batch.id)
        assert local.rows(select(credentials)) == []


async def test_an_upstream_with_a_key_of_its_own_needs_none_of_the_callers(tmp_path: Path) -> None:
    async with emulated(tmp_path, upstream={"api_key": "sk-ours"}) as local:
        batch = await local.submit(chat("a"))
        await local.over(batch.id)
        [row] = local.rows(select(batches))
        assert (row.credential, local.rows(select(credentials))) == ("", [])


async def test_labels_of_the_call_and_of_each_line_are_recorded(tmp_path: Path) -> None:
    async with emulated(tmp_path) as local:
        batch = await local.submit(
            chat("a", metadata={"line": "1"}, user="Ada"),
            chat("b"),
            metadata={"team": "gate", "session_id": "s1"},
            extra_headers={"x-penstock-user": "Bob"},
        )
        await local.over(batch.id)
        records = [decode_record(row.record) for row in local.rows(select(outbox).order_by(outbox.c.id))]
        assert [record.kind for record in records] == ["call", "call", "batch"]
        first, second, whole = records
        assert (first.user, second.user, whole.user) == ("Ada", "Bob", "Bob")
        assert (first.tags["team"], first.tags["line"], second.session) == ("gate", "1", "s1")
        assert {record.batch_id for record in records} == {batch.id}
        assert len({record.request_id for record in records}) == 3
        calls = [record for record in local.proxy.records() if record.path == "/v1/batches"]
        assert [(call.upstream, call.method, call.status) for call in calls] == [("scripted", "POST", 200)]
        assert whole.parent_span_id == calls[0].span_id


async def test_replies_without_json_and_over_several_lines_stay_lines(tmp_path: Path) -> None:
    async with emulated(tmp_path) as local:
        bodies = {"a": b'{\n "said": "\\n"\n}', "b": b"<html>\nnot here</html>"}
        local.answer = lambda row: Answer(status=200, headers=JSON, body=bodies[row.custom_id])
        over = await local.over((await local.submit(chat("a"), chat("b"))).id)
        found = await local.lines(over.output_file_id)
        assert found[0]["response"]["body"] == {"said": "\n"}
        assert found[1]["response"]["body"]["error"]["code"] == "invalid_reply"


async def test_all_else_goes_to_the_upstream(tmp_path: Path) -> None:
    async with ScriptedUpstream(scripted_json({"object": "list", "data": [], "ours": False})) as upstream:
        async with (
            proxied(tmp_path, upstream.url, upstream={"batch": "local"}) as proxy,
            openai.AsyncOpenAI(base_url=proxy.url, api_key="sk", max_retries=0) as client,
        ):
            await client.models.list()
            for path in ("/files_of_others", "/batching", "/uploads"):
                await client.get(path, cast_to=object)
            assert len((await client.files.list()).data) == 0
        assert [request.target for request in upstream.requests] == [
            "/v1/models",
            "/v1/files_of_others",
            "/v1/batching",
            "/v1/uploads",
        ]


async def test_the_header_says_whose_batches_are_meant(tmp_path: Path) -> None:
    async with ScriptedUpstream(scripted_json({"object": "list", "data": [], "has_more": False})) as upstream:
        more = (
            Upstream(name="provider", base_url=f"{upstream.url}/v1"),
            Upstream(name="second", base_url=f"{upstream.url}/v1", batch="local"),
        )
        async with (
            proxied(tmp_path, upstream.url, upstream={"batch": "local"}, more=more) as proxy,
            openai.AsyncOpenAI(base_url=proxy.url, api_key="sk", max_retries=0) as client,
        ):
            file = await client.files.create(file=("in.jsonl", b"1"), purpose="batch")
            batch = await client.batches.create(
                input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h"
            )
            assert [each.id async for each in client.files.list()] == [file.id]
            with pytest.raises(openai.NotFoundError):
                await client.batches.retrieve(batch.id, extra_headers={"x-penstock-upstream": "second"})
            for name, requests in (("second", 0), ("provider", 1)):
                header = {"x-penstock-upstream": name}
                assert [each.id async for each in client.files.list(extra_headers=header)] == []
                assert len(upstream.requests) == requests
            with pytest.raises(openai.NotFoundError) as caught:
                await client.files.list(extra_headers={"x-penstock-upstream": "none"})
            assert caught.value.code == "upstream_not_found"


async def test_a_queue_that_is_down_is_told(tmp_path: Path) -> None:
    (tmp_path / "batch").write_text("not a folder")
    async with (
        proxied(tmp_path, "http://127.0.0.1:9", upstream={"batch": "local"}) as proxy,
        openai.AsyncOpenAI(base_url=proxy.url, api_key="sk", max_retries=0) as client,
    ):
        with pytest.raises(openai.InternalServerError) as caught:
            await client.batches.list()
    assert (caught.value.status_code, caught.value.code) == (503, "batch_queue_unavailable")
    assert int(caught.value.response.headers["retry-after"]) > 0
