"""Files and batches of several machines: the same in PostgreSQL, where any worker answers for any file."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import openai
import pytest

from proxy.batching.local.files import PIECE_BYTES
from proxy.batching.tables import file_chunks
from proxy.settings import Batch
from tests.postgres import postgresql

from .emulated import chat, emulated
from .proxied import PATIENCE_S, proxied


async def test_files_and_batches_live_in_postgresql(tmp_path: Path) -> None:
    content = os.urandom(PIECE_BYTES + 5)
    with postgresql() as server:
        batch = Batch(url=server.new(), secret="sixteen letters and more")
        async with (
            emulated(tmp_path / "one", batch=batch) as local,
            proxied(tmp_path / "two", "http://127.0.0.1:9", upstream={"batch": "local"}, batch=batch) as second,
            openai.AsyncOpenAI(base_url=second.url, api_key="sk-callers-own", max_retries=0) as elsewhere,
        ):
            kept = await local.client.files.create(file=("a.bin", content), purpose="vision")
            assert (await elsewhere.files.content(kept.id)).content == content
            made = [await local.submit(chat("a"), chat("b", "fail")) for _ in range(3)]
            for one in made:
                over = await local.over(one.id)
                assert (over.status, len(await local.lines(over.output_file_id))) == ("completed", 1)
            assert [one.id async for one in elsewhere.batches.list(limit=1)] == [one.id for one in made[::-1]]
            files = [file.id async for file in elsewhere.files.list(limit=2)]
            assert files == [file.id async for file in local.client.files.list(order="asc", limit=3)][::-1]
            assert len(files) == 10

            local.answer = lambda row: None
            running = await local.submit(chat("a"))
            await local.until(running.id, "in_progress")
            assert (await elsewhere.batches.cancel(running.id)).status == "cancelling"
            assert (await local.over(running.id)).status == "cancelled"
            with pytest.raises(openai.NotFoundError):
                await elsewhere.batches.retrieve("batch_%00")

            assert (await elsewhere.files.delete(kept.id)).deleted
            async with asyncio.timeout(PATIENCE_S):
                while local.rows(file_chunks.select().where(file_chunks.c.file_id == kept.id)):
                    local.part._swept_ns = 0
                    await asyncio.sleep(0.01)
