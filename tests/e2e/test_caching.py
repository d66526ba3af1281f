"""The cache with real parts: a language model, the official SDK, two workers, restarts, and the rows that remain."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import psutil
import pytest

from tests.wire.scripted import sse

from .model import Model
from .serve import Penstock, penstock, until
from .stage import Stage, chat_chunks

ON = {"x-penstock-cache": "on"}
MESSAGES: Any = [{"role": "user", "content": "Name three rivers of Europe."}]
USAGE = {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}


@pytest.fixture(scope="module")
def house(model: Model, stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Penstock]:
    upstreams = {
        "model": {"base_url": model.base_url, "models": ["smollm2-*"]},
        "stage": {"base_url": f"{stage.url}/v1", "models": ["gpt-*"], "provider": "openai"},
    }
    workers = {"server": {"workers": 2}}
    with penstock(tmp_path_factory.mktemp("caching"), upstreams=upstreams, sections=workers) as running:
        yield running


def sdk(house: Penstock, key: str = "sk-one") -> openai.OpenAI:
    return openai.OpenAI(base_url=house.base_url, api_key=key, max_retries=0, timeout=60)


def test_a_real_models_reply_is_given_in_both_shapes(house: Penstock) -> None:
    asked: Any = {"model": "smollm2-135m", "messages": MESSAGES, "max_tokens": 24, "temperature": 1.5}
    asked |= {"extra_body": {"ignore_eos": True}}  # of llama.cpp: the reply is not empty
    before = on_disk(house)
    with sdk(house) as client:
        streamed, ending, usage = _heard(client.chat.completions.create(**asked, stream=True, extra_headers=ON))
        wait_on_disk(house, before + 1)
        whole = client.chat.completions.with_raw_response.create(**asked, extra_headers=ON)
        with_usage = {**asked, "stream": True, "stream_options": {"include_usage": True}}
        again, _, told = _heard(client.chat.completions.create(**with_usage, extra_headers=ON))
    reply = whole.parse()
    assert whole.headers["x-penstock-cache"] == "hit"
    assert reply.choices[0].message.content == streamed == again != ""
    assert (reply.choices[0].finish_reason, usage) == (ending, None)
    assert reply.usage is not None
    assert reply.usage.total_tokens == told > 0
    row = house.row(whole.headers["x-penstock-request-id"])
    assert (row["outcome"], row["cache_status"], row["cost"]) == ("cached", "hit", 0.0)
    assert row["output_tokens"] == reply.usage.completion_tokens


def on_disk(house: Penstock) -> int:
    """How many replies are kept where every worker finds them."""
    tiers = httpx.get(f"{house.url}/penstock/cache", timeout=60).raise_for_status().json()["tiers"]
    return next(int(tier["entries"]) for tier in tiers if tier["tier"] == "disk")


def wait_on_disk(house: Penstock, count: int) -> None:
    """A reply is written behind the call, so that another worker may not have it at once."""
    assert until(lambda: on_disk(house), lambda found: found >= count, 60) == count


def _heard(stream: Any) -> tuple[str, str | None, int | None]:
    """Text, finish reason and total tokens of a stream."""
    text, ending, usage = "", None, None
    for part in stream:
        for choice in part.choices:
            text += choice.delta.content or ""
            ending = choice.finish_reason or ending
        usage = part.usage.total_tokens if part.usage else usage
    return text, ending, usage


def test_workers_share_what_was_kept_and_a_killed_one_takes_nothing_with_it(house: Penstock, stage: Stage) -> None:
    stage.play(sse(chat_chunks("Once.", model="gpt-4o-mini", **USAGE)))
    asked: Any = {"model": "gpt-4o-mini", "messages": MESSAGES, "stream": True, "user": "workers"}

    def ask() -> str:
        with sdk(house) as client:
            reply = client.chat.completions.with_raw_response.create(**asked, extra_headers=ON)
            for _ in reply.parse():
                pass
            return str(reply.headers["x-penstock-cache"])

    before, kept = len(stage.requests), on_disk(house)
    first = ask()
    wait_on_disk(house, kept + 1)
    said = Counter(ask() for _ in range(20))
    assert (first, set(said)) == ("miss", {"hit"}), "each on a connection of its own, so that both workers are met"
    victims = house.child("proxy.worker")
    for worker in victims:
        worker.kill()
    psutil.wait_procs(victims, timeout=60)
    until(lambda: len(house.child("proxy.worker")), lambda count: count == 2, 60)
    assert until(lambda: _tried(ask), lambda status: status != "", 60) == "hit"
    assert len(stage.requests) - before == 1
    rows = house.wait_rows("user = 'workers'", {}, count=22)
    assert Counter((row["outcome"], row["cache_status"]) for row in rows) == {
        ("answered", "miss"): 1,
        ("cached", "hit"): 21,
    }
    paid = next(row["cost"] for row in rows if row["cost"])
    assert sum(row["savings"].get("response_cache", 0.0) for row in rows) == pytest.approx(21 * paid)


def _tried(ask: Any) -> str:
    try:
        return str(ask())
    except openai.APIConnectionError:
        return ""


def test_savings_and_contents_are_reported(house: Penstock) -> None:
    report = json.loads(house.command("stats", "--savings", "--json").stdout)
    assert "response_cache" in json.dumps(report)
    contents = json.loads(house.command("cache", "stats", "--json").stdout)
    assert sum(tier["entries"] for tier in contents["tiers"]) >= 2
    gone = house.command("cache", "purge", "--model", "smollm2-*", "--yes")
    assert gone.returncode == 0, gone.stderr
    left = json.loads(house.command("cache", "stats", "--json").stdout)
    assert {group["model"] for group in left["contents"]} == {"gpt-4o-mini"}


def test_one_tenant_never_sees_anothers_reply(house: Penstock, stage: Stage) -> None:
    stage.play(sse(chat_chunks("Only for one.", model="gpt-4o-mini", **USAGE)))
    asked: Any = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "What is my secret?"}]}
    said, before = [], on_disk(house)
    for number, key in enumerate(("sk-one", "sk-two", "sk-one", "sk-two"), 1):
        with sdk(house, key) as client:
            reply = client.chat.completions.with_raw_response.create(**asked, stream=True, extra_headers=ON)
            for _ in reply.parse():
                pass
            said.append(reply.headers["x-penstock-cache"])
        wait_on_disk(house, before + min(number, 2))
    assert said == ["miss", "miss", "hit", "hit"]


def test_nothing_is_left_of_it_when_it_is_switched_off(stage: Stage, tmp_path: Path) -> None:
    stage.play(sse(chat_chunks("Each time.", model="gpt-4o-mini", **USAGE)))
    upstream = {"base_url": f"{stage.url}/v1", "provider": "openai"}
    with penstock(tmp_path, upstreams={"stage": upstream}, sections={"cache": {"enabled": False}}) as off:
        before = len(stage.requests)
        with sdk(off) as client:
            for _ in range(2):
                asked: Any = {"model": "gpt-4o-mini", "messages": MESSAGES, "stream": True}
                reply = client.chat.completions.with_raw_response.create(**asked, extra_headers=ON)
                for _ in reply.parse():
                    pass
                assert "x-penstock-cache" not in reply.headers
        assert len(stage.requests) - before == 2
    assert not (off.data_dir / "cache").exists()
