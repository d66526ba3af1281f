"""A promotion with everything real: shares change under open streams, rows say who answered, and it is taken back."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest

from tests.unit.finetune.test_promote import evaluated, run
from tests.wire.scripted import Request, Script, json_reply, sse
from tests.wire.scripted_server import Conn

from .serve import Penstock, penstock
from .stage import Stage, chat_chunks, chat_reply

WORDS = ("one", "two", "three", "four", "five", "six", "seven", "eight")
SLOW_S = 0.4


def model(name: str) -> Script:
    """Answers with its name and the model it was asked for; streams take their time."""

    async def script(request: Request, conn: Conn) -> None:
        if request.method == "GET":
            await json_reply({"object": "list", "data": [{"id": name}]})(request, conn)
            return
        asked = json.loads(request.body)
        if asked.get("stream"):
            chunks = [{**chunk, "model": asked["model"]} for chunk in chat_chunks(*WORDS)]
            await sse(chunks, SLOW_S)(request, conn)
        else:
            await json_reply(chat_reply(f"{name} {asked['model']}"))(request, conn)

    return script


@pytest.fixture
def tuned() -> Iterator[Stage]:
    with Stage() as running:
        running.play(model("tuned"))
        yield running


def promote(proxy: Penstock, runs: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return proxy.command("promote", *arguments, "--alias", "bot", "--runs", str(runs), timeout_s=150)


async def streamed(client: openai.AsyncOpenAI, session: str) -> str:
    stream = await client.chat.completions.create(
        model="bot", messages=[{"role": "user", "content": "Count."}], stream=True, metadata={"session_id": session}
    )
    return "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])


async def asked(client: openai.AsyncOpenAI, session: str, **headers: str) -> tuple[str, str]:
    """The variant by the header, and what was said."""
    reply = await client.chat.completions.with_raw_response.create(
        model="bot",
        messages=[{"role": "user", "content": "Who?"}],
        metadata={"session_id": session},
        extra_headers=headers,
    )
    return reply.headers["x-penstock-variant"], reply.parse().choices[0].message.content or ""


def pids(proxy: Penstock) -> set[int]:
    return {one.pid for part in ("proxy.recording", "proxy.dispatching", "embedded") for one in proxy.child(part)}


@pytest.mark.timeout(400)
async def test_shares_change_under_open_streams_and_nobody_is_cut_off(
    tmp_path: Path, stage: Stage, tuned: Stage
) -> None:
    stage.play(model("base"))
    made = run(tmp_path, evaluated(0.1, 0.05, 0.2))
    runs = made.folder.parent
    with penstock(tmp_path, upstreams={"stage": f"{stage.url}/v1"}) as proxy:
        where = ("--url", f"{tuned.url}/v1", "--model", "tuned-1", "--base-model", "gpt-5-mini")
        done = await asyncio.to_thread(promote, proxy, runs, "v1", "--canary", "10%", *where)
        assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "In use."), done.stderr
        others = pids(proxy)
        async with openai.AsyncOpenAI(base_url=proxy.base_url, api_key="sk", max_retries=0, timeout=60) as client:
            sessions = [f"s{number}" for number in range(40)]
            before = dict(zip(sessions, await asyncio.gather(*(asked(client, one) for one in sessions)), strict=True))
            assert set(before.values()) == {("base", "base gpt-5-mini"), ("v1", "tuned tuned-1")}

            streams = [asyncio.ensure_future(streamed(client, one)) for one in sessions[:16]]
            await asyncio.sleep(2 * SLOW_S)
            done = await asyncio.to_thread(promote, proxy, runs, "v1", "--to", "50%")
            assert done.returncode == 0, done.stderr
            assert await asyncio.gather(*streams) == ["".join(WORDS)] * 16
        async with openai.AsyncOpenAI(base_url=proxy.base_url, api_key="sk", max_retries=0, timeout=60) as client:
            # On a connection of before, one more call may be answered by the worker that is being replaced.
            after = dict(zip(sessions, await asyncio.gather(*(asked(client, one) for one in sessions)), strict=True))
            assert all(after[one][0] == "v1" for one in sessions if before[one][0] == "v1")
            assert 8 < sum(variant == "v1" for variant, _ in after.values()) < 32
            assert pids(proxy) == others  # only workers were replaced

            text = proxy.config_path.read_text()
            forced = ("--url", f"{tuned.url}/v2", "--upstream", "other", "--api-key", "env:NOT_SET_THERE", "--force")
            done = await asyncio.to_thread(promote, proxy, runs, "v1", "--to", "100%", *forced)
            assert done.returncode == 1
            assert "was undone" in done.stderr
            assert "NOT_SET_THERE" in done.stderr
            assert proxy.config_path.read_text() == text
            assert (await asked(client, sessions[0], **{"x-penstock-variant": "v1"})) == ("v1", "tuned tuned-1")

            made.folder.rename(tmp_path / "gone")
            done = await asyncio.to_thread(promote, proxy, runs, "--rollback")
            assert done.returncode == 0, done.stderr
        async with openai.AsyncOpenAI(base_url=proxy.base_url, api_key="sk", max_retries=0, timeout=60) as client:
            assert {(await asked(client, one))[0] for one in sessions[:12]} == {"base"}
        calls = 2 * len(sessions) + 16 + 1 + 12
        rows = await asyncio.to_thread(proxy.wait_rows, "alias = 'bot'", {}, calls)
        assert {row["outcome"] for row in rows} == {"answered"}
        assert {(row["variant"], row["model"], row["upstream"]) for row in rows} == {
            ("base", "gpt-5-mini", "stage"),
            ("v1", "tuned-1", "v1"),
        }
        shown = json.loads(proxy.command("stats", "--by", "variant", "--alias", "bot", "--json").stdout)
        assert {row["variant"]: row["calls"] for row in shown} == {
            f"bot {name}": sum(row["variant"] == name for row in rows) for name in ("base", "v1")
        }
