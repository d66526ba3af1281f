"""What a call cost is told with its reply."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.settings import Price
from tests.wire.proxied import Caller, post, proxied
from tests.wire.scripted import ScriptedUpstream, json_reply
from tests.wire.test_transparency import ANSWER, CHAT

CACHED = ANSWER | {
    "usage": {
        "prompt_tokens": 1000,
        "completion_tokens": 100,
        "total_tokens": 1100,
        "prompt_tokens_details": {"cached_tokens": 400},
    },
    "service_tier": "flex",
}
PRICE = Price(input=2.0, cached=0.5, output=10.0, tiers={"flex": 0.5})


@pytest.mark.parametrize(
    ("prices", "cost"), [({"gpt-5*": PRICE}, (600 * 2.0 + 400 * 0.5 + 100 * 10.0) / 1e6 / 2), ({}, None)]
)
async def test_the_reply_says_what_it_cost_or_nothing(
    tmp_path: Path, prices: dict[str, Price], cost: float | None
) -> None:
    async with (
        ScriptedUpstream(json_reply(CACHED)) as upstream,
        proxied(tmp_path, upstream.url, prices=prices) as proxy,
    ):
        caller = await Caller.connect(proxy)
        await caller.send(post("/v1/chat/completions", CHAT))
        _, headers, _ = await caller.reply()
        record = await proxy.record()
        caller.close()
    told = dict(headers)
    assert told["x-penstock-tokens"] == "input=1000, cached=400, output=100"
    assert record.cost == (None if cost is None else pytest.approx(cost))
    assert told.get("x-penstock-cost-usd") == (None if cost is None else f"{cost:.10g}")
