"""From recorded calls to preference pairs: the live export of a real Penstock is made a dataset, a stronger model
behind the same Penstock answers it in a batch, and a second time out of the cache."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import openai
import pytest

from tests.e2e.serve import Penstock, penstock
from tests.wire.scripted import Conn, Request, ScriptedUpstream, json_reply

CALLS = 16
RULES = "You answer customers of a shop for garden tools. Be polite, and never promise a date of delivery.\n"
PRICES = """
[prices."weak-1"]
input = 1.0
output = 2.0
[prices."strong-1"]
input = 10.0
output = 20.0
tiers = { batch = 0.5 }
"""


class Models:
    """`weak-1` and `strong-1`, which say who they are."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()

    async def __call__(self, request: Request, conn: Conn) -> None:
        body = json.loads(request.body)
        self.asked[body["model"]] += 1
        said = f"{body['model']} says: {body['messages'][-1]['content']}"
        choice = {"index": 0, "message": {"role": "assistant", "content": said}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 40, "completion_tokens": 10, "total_tokens": 50}
        reply = {"id": "c-1", "object": "chat.completion", "created": 1, "model": body["model"], "usage": usage}
        await json_reply(reply | {"choices": [choice]})(request, conn)


async def asked_the_weak_model(proxy: Penstock) -> None:
    async with openai.AsyncOpenAI(base_url=proxy.base_url, api_key="sk-callers-own") as client:
        for number in range(CALLS):
            await client.chat.completions.create(
                model="weak-1",
                messages=[
                    {"role": "system", "content": f"{RULES}The customer's number is {number}."},
                    {"role": "user", "content": f"Where is order number {number}, which I paid for last week?"},
                ],
                user=f"customer-{number % 8}",
            )


async def command(proxy: Penstock, root: Path, *words: str, status: int = 0) -> Any:
    done: CompletedProcess[str] = await asyncio.to_thread(
        proxy.command, "dataset", *words, "--root", str(root), "--json", timeout_s=90
    )
    assert done.returncode == status, done.stderr
    return json.loads(done.stdout) if status == 0 else done.stderr


def pairs(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for path in folder.glob("preferences.*.jsonl") for line in path.read_text().splitlines()]


def lines_of(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


async def until_exported(path: Path, count: int) -> None:
    async with asyncio.timeout(60):
        while lines_of(path) < count:
            await asyncio.sleep(0.1)


@pytest.mark.timeout(400)
async def test_from_the_live_export_to_preference_pairs(tmp_path: Path) -> None:
    models, root, exported = Models(), tmp_path / "datasets", tmp_path / "exports" / "calls.jsonl"
    async with ScriptedUpstream(models) as upstream:
        sections = {"export": {"jsonl": str(exported)}, "batch": {"window_s": 0.2, "poll_s": 0.2}}
        upstreams = {"models": {"base_url": f"{upstream.url}/v1", "batch": "local", "api_key": "env:KEY"}}
        running = penstock(
            tmp_path / "proxy", upstreams=upstreams, sections=sections, config=PRICES, environ={"KEY": "sk-upstream"}
        )
        proxy = await asyncio.to_thread(running.__enter__)
        try:
            await asked_the_weak_model(proxy)
            await until_exported(exported, CALLS)
            quick = ["--from", str(exported), "--no-near", "--benchmark", "none"]
            await command(proxy, root, "build", "support", *quick)
            asking = ["relabel", "support", "--model", "strong-1", "--yes", "--url", proxy.base_url]
            first = await command(proxy, root, *asking, "--max-usd", "1")
            assert models.asked == {"weak-1": CALLS, "strong-1": CALLS}
            assert (first["dataset"], first["relabeled"], first["failures"]) == ("support-relabeled", CALLS, {})
            assert 0 < first["usd"] <= CALLS * (40 * 10 + 10 * 20) / 1e6 + 1e-9

            again = await command(proxy, root, *asking, "--as", "again", "--batch", "off")
            assert models.asked["strong-1"] == CALLS, "the second time it is in the cache"
            assert (again["relabeled"], again["usd"]) == (CALLS, 0.0)
            await until_exported(exported, 3 * CALLS)
        finally:
            await asyncio.to_thread(running.__exit__, None, None, None)
        found = pairs(root / "support-relabeled")
        assert len(found) == CALLS
        for pair in found:
            question = pair["input"]["messages"][-1]["content"]
            assert pair["preferred_output"][0]["content"] == f"strong-1 says: {question}"
            assert pair["non_preferred_output"][0]["content"] == f"weak-1 says: {question}"
        assert pairs(root / "again") == found
        tagged = [json.loads(line) for line in exported.read_text().splitlines()]
        assert Counter(line["tags"].get("dataset") for line in tagged if line["model"] == "strong-1") == {
            "support": 2 * CALLS
        }

        pruned = await command(proxy, root, "prune", "support-relabeled", "--apply", "--as", "short")
        (cut,) = [one for one in pruned["beginnings"] if one["cut"]]
        assert cut["text"] == RULES.rstrip()
        assert all(RULES.rstrip() not in json.dumps(pair) for pair in pairs(root / "short"))
        rest = {pair["input"]["messages"][0]["content"].partition(" is ")[0] for pair in pairs(root / "short")}
        assert rest == {"The customer's number"}
