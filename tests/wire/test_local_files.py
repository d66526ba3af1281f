"""The official SDK's code for files, against an upstream that has none."""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from sqlalchemy import select

from proxy.batching.local.files import PIECE_BYTES
from proxy.batching.tables import file_chunks, files
from proxy.settings import Batch

from .emulated import chat, emulated, said
from .proxied import PATIENCE_S, Caller, proxied


async def test_a_file_comes_back_as_it_went(tmp_path: Path) -> None:
    content = os.urandom(2 * PIECE_BYTES + 12_345)
    async with emulated(tmp_path) as local:
        file = await local.client.files.create(file=("Übung 1.bin", content), purpose="user_data")
        assert (file.bytes, file.purpose, file.status, file.expires_at) == (
            len(content),
            "user_data",
            "processed",
            None,
        )
        assert await local.client.files.retrieve(file.id) == file
        assert await local.client.files.wait_for_processing(file.id) == file
        found = await local.client.files.content(file.id)
        assert found.content == content
        assert found.response.headers["content-length"] == str(len(content))
        assert "%C3%9Cbung" in found.response.headers["content-disposition"]
        assert len(local.rows(select(file_chunks.c.number))) == 3
        deleted = await local.client.files.delete(file.id)
        assert (deleted.id, deleted.deleted, deleted.object) == (file.id, True, "file")
        with pytest.raises(openai.NotFoundError) as caught:
            await local.client.files.content(file.id)
        assert (caught.value.param, caught.value.type) == ("id", "invalid_request_error")
        while local.rows(select(file_chunks.c.number)):
            local.part._swept_ns = 0
            await asyncio.sleep(0.01)


async def test_the_blocking_client_is_served_alike(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_bytes(b'{"a": 1}\n')
    async with emulated(tmp_path / "data") as local:

        def call() -> bytes:
            with openai.OpenAI(base_url=local.proxy.url, api_key="sk", max_retries=0) as client:
                file = client.files.create(file=path, purpose="batch")
                assert file.filename == "in.jsonl"
                assert [each.id for each in client.files.list(purpose="batch")] == [file.id]
                return client.files.content(file.id).read()

        assert await asyncio.to_thread(call) == b'{"a": 1}\n'


async def test_files_are_listed_in_pages(tmp_path: Path) -> None:
    async with emulated(tmp_path) as local:
        client, made = local.client, []
        for n in range(5):
            purpose: Any = "batch" if n % 2 else "vision"
            made.append((await client.files.create(file=(f"{n}.jsonl", b"1"), purpose=purpose)).id)
        assert [file.id async for file in client.files.list()] == made[::-1]
        assert [file.id async for file in client.files.list(limit=2, order="asc")] == made
        assert [file.id async for file in client.files.list(purpose="batch")] == [made[3], made[1]]
        page = await client.files.list(limit=2, after=made[3])
        assert ([file.id for file in page.data], page.has_more) == ([made[2], made[1]], True)
        with pytest.raises(openai.BadRequestError):
            await client.files.list(limit=0)
        with pytest.raises(openai.NotFoundError):
            await client.files.list(after="file-unknown")


async def test_files_expire(tmp_path: Path) -> None:
    async with emulated(tmp_path) as local:
        client = local.client
        file = await client.files.create(file=("in.jsonl", b"1"), purpose="batch")
        assert file.expires_at == file.created_at + 30 * 86_400
        file = await client.files.create(
            file=("in.jsonl", b"1"), purpose="vision", expires_after={"anchor": "created_at", "seconds": 3600}
        )
        assert file.expires_at == file.created_at + 3600
        with local.database.transaction() as connection:
            connection.execute(files.update().where(files.c.id == file.id).values(expires_ns=1))
        with pytest.raises(openai.NotFoundError):
            await client.files.retrieve(file.id)


@pytest.mark.parametrize(
    ("file", "more", "param"),
    [
        (("in.jsonl", b"1"), {"purpose": "fun"}, "purpose"),
        (("in.jsonl", b"1"), {"purpose": "batch_output"}, "purpose"),
        (("in.txt", b"1"), {"purpose": "batch"}, "file"),
        (("in.jsonl", b""), {"purpose": "batch"}, "file"),
        (
            ("in.jsonl", b"1"),
            {"purpose": "batch", "expires_after": {"anchor": "created_at", "seconds": 1}},
            "expires_after[seconds]",
        ),
    ],
)
async def test_what_is_no_file_is_refused_and_leaves_nothing(
    tmp_path: Path, file: tuple[str, bytes], more: dict[str, Any], param: str
) -> None:
    async with emulated(tmp_path) as local:
        with pytest.raises(openai.BadRequestError) as caught:
            await local.client.files.create(file=file, **more)
        assert caught.value.param == param
        assert local.rows(select(files)) == []


async def test_a_form_without_a_file_is_refused(tmp_path: Path) -> None:
    async with emulated(tmp_path) as local, httpx.AsyncClient(base_url=local.proxy.url) as client:
        for body, status in (
            ({"json": {"purpose": "batch"}}, 400),
            ({"files": {"purpose": (None, "batch")}}, 400),
            ({"files": {"file": ("a.jsonl", b"1")}, "headers": {"content-encoding": "gzip"}}, 415),
        ):
            reply = await client.post("/files", **body)  # type: ignore[arg-type]
            assert reply.status_code == status
            assert reply.json()["error"]["type"] == "invalid_request_error"
        assert local.rows(select(files)) == []


async def test_a_caller_that_leaves_leaves_nothing_behind(tmp_path: Path) -> None:
    async with emulated(tmp_path) as local:
        caller = await Caller.connect(local.proxy)
        edge = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        head = b"POST /v1/files HTTP/1.1\r\nHost: p\r\nContent-Type: multipart/form-data; boundary=x\r\n"
        await caller.send(head + b"Content-Length: 9000000\r\n\r\n" + edge + b"1" * (PIECE_BYTES + 5))
        while not local.rows(select(file_chunks.c.number)):
            await asyncio.sleep(0.01)
        caller.close()
        while local.rows(select(files)):
            await asyncio.sleep(0.01)
        record = await local.proxy.record()
        assert record.outcome == "abandoned"


async def test_the_files_of_all_have_a_limit(tmp_path: Path) -> None:
    batch = Batch(queue_bytes_max=1000)
    async with emulated(tmp_path, batch=batch) as local:
        await local.client.files.create(file=("a", b"1" * 900), purpose="vision")
        with pytest.raises(openai.InternalServerError) as caught:
            await local.client.files.create(file=("b", b"1" * 101), purpose="vision")
        assert (caught.value.status_code, caught.value.code) == (503, "batch_files_full")
        await local.client.files.create(file=("b", b"1" * 100), purpose="vision")


async def test_the_input_of_a_batch_that_runs_is_not_deleted(tmp_path: Path) -> None:
    async with emulated(tmp_path) as local:
        local.answer = lambda row: None
        batch = await local.submit(chat("a"))
        with pytest.raises(openai.BadRequestError) as caught:
            await local.client.files.delete(batch.input_file_id)
        assert caught.value.code == "file_in_use"
        local.answer = said
        await local.over(batch.id)
        async with asyncio.timeout(PATIENCE_S):
            while True:
                with contextlib.suppress(openai.BadRequestError):
                    assert (await local.client.files.delete(batch.input_file_id)).deleted
                    break
                await asyncio.sleep(0.01)


async def test_a_file_that_is_deleted_while_it_is_read_breaks_off(tmp_path: Path) -> None:
    async with emulated(tmp_path) as local:
        content = b"1" * (40 * PIECE_BYTES)
        file = await local.client.files.create(file=("a", content), purpose="vision")
        caller = await Caller.connect(local.proxy)
        head = f"GET /v1/files/{file.id}/content HTTP/1.1\r\nHost: p\r\nAuthorization: Bearer sk-callers-own\r\n\r\n"
        await caller.send(head.encode())
        assert (await caller.head())[0] == 200
        with local.database.transaction() as connection:
            connection.execute(file_chunks.delete())
        with pytest.raises(asyncio.IncompleteReadError):
            await caller.reader.readexactly(len(content))
        caller.close()
        [record] = [record for record in local.proxy.records() if record.path.endswith("/content")]
        assert (record.outcome, record.error_type) == ("cut", "file_deleted")


async def test_a_body_beyond_the_servers_own_limit_is_refused(tmp_path: Path) -> None:
    async with (
        proxied(tmp_path, "http://127.0.0.1:9", upstream={"batch": "local"}, server={"body_bytes_max": 5000}) as proxy,
        openai.AsyncOpenAI(base_url=proxy.url, api_key="sk", max_retries=0) as client,
    ):
        with pytest.raises(openai.APIStatusError) as caught:
            await client.files.create(file=("a", b"1" * 6000), purpose="vision")
        assert caught.value.status_code == 413


async def test_methods_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    async with emulated(tmp_path) as local:
        for path in ("/batches/batch_1", "/files/file-1/content", "/files/a/b/c", "/batches/a/b"):
            with pytest.raises(openai.APIStatusError) as caught:
                await local.client.put(path, cast_to=object)
            assert caught.value.status_code == 405
