"""A batch for a real language model whose server has no Batch API, through a real Penstock and the official SDK."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import openai
import psutil
import pytest
from openai.types import Batch
from openai.types.chat import ChatCompletion

from .model import Model
from .serve import Penstock, penstock, until

LINES = 50
pytestmark = pytest.mark.timeout(400)
WITHIN_S = 240.0


@pytest.fixture(scope="module")
def house(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Penstock]:
    upstreams = {"model": {"base_url": model.base_url, "batch": "local"}}
    sections = {"server": {"workers": 2}, "batch": {"local_concurrency": 4}}
    with penstock(tmp_path_factory.mktemp("local-batch"), upstreams=upstreams, sections=sections) as running:
        yield running


@pytest.fixture
def client(house: Penstock) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=house.base_url, api_key="sk-callers-own", max_retries=2, timeout=60) as sdk:
        yield sdk


def submit(client: openai.OpenAI, model: Model, call_id: str, count: int = LINES) -> Batch:
    asked = {"model": model.name, "max_tokens": 4}
    lines = [
        {
            "custom_id": f"line {n}",
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": {**asked, "messages": [{"role": "user", "content": f"Say {n}."}], "user": f"user {n}"},
        }
        for n in range(count)
    ]
    data = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    file = client.files.create(file=("lines.jsonl", data), purpose="batch")
    assert client.files.wait_for_processing(file.id).status == "processed"
    return client.batches.create(
        input_file_id=file.id,
        endpoint="/v1/chat/completions",
        completion_window="24h",
        metadata={"call_id": call_id},
    )


def over(client: openai.OpenAI, batch: Batch) -> Batch:
    return until(
        lambda: client.batches.retrieve(batch.id),
        lambda seen: seen.status in ("completed", "failed", "expired", "cancelled"),
        WITHIN_S,
    )


def generations(house: Penstock, batch: Batch) -> list[dict[str, Any]]:
    """Of the lines of the batch."""
    assert batch.request_counts is not None
    return house.wait_rows("batch_id = {id:String}", {"id": batch.id}, batch.request_counts.total)


def test_fifty_lines_become_fifty_results_and_fifty_generations(
    house: Penstock, client: openai.OpenAI, model: Model, call_id: str
) -> None:
    batch = over(client, submit(client, model, call_id))
    assert (batch.status, batch.error_file_id) == ("completed", None)
    assert batch.request_counts is not None
    assert batch.request_counts.model_dump() == {"total": LINES, "completed": LINES, "failed": 0}
    assert batch.output_file_id is not None
    results = [json.loads(line) for line in client.files.content(batch.output_file_id).text.splitlines()]
    assert [result["custom_id"] for result in results] == [f"line {n}" for n in range(LINES)]
    completions = [ChatCompletion.model_validate(result["response"]["body"]) for result in results]
    assert all(completion.choices[0].message.content for completion in completions)

    rows = generations(house, batch)
    assert {row["tags"]["call_id"] for row in rows} == {call_id}
    assert {row["user"] for row in rows} == {f"user {n}" for n in range(LINES)}
    assert {(row["outcome"], row["upstream"], row["status"]) for row in rows} == {("answered", "model", 200)}
    assert batch.usage is not None
    assert sum(row["output_tokens"] for row in rows) == batch.usage.output_tokens > 0
    assert sum(row["input_tokens"] for row in rows) == batch.usage.input_tokens > 0


def test_a_dispatcher_that_is_killed_loses_and_doubles_nothing(
    house: Penstock, client: openai.OpenAI, model: Model, call_id: str
) -> None:
    batch = submit(client, model, call_id, 16)
    for done in (0, 6, 12):
        until(lambda: client.batches.retrieve(batch.id), lambda seen, done=done: _done(seen) >= done, WITHIN_S)
        _kill_dispatcher(house)
    ended = over(client, batch)
    assert ended.status == "completed"
    assert ended.output_file_id is not None
    results = [json.loads(line) for line in client.files.content(ended.output_file_id).text.splitlines()]
    assert Counter(result["custom_id"] for result in results) == Counter(f"line {n}" for n in range(16))
    assert len({row["request_id"] for row in generations(house, ended)}) == 16


def test_live_calls_are_answered_while_a_batch_runs(
    house: Penstock, client: openai.OpenAI, model: Model, call_id: str
) -> None:
    # Far more than it does in the time that all of this takes, so that there is something to cancel.
    batch = submit(client, model, call_id, 1000)
    until(lambda: client.batches.retrieve(batch.id), lambda seen: _done(seen) > 0, WITHIN_S)
    reply = client.chat.completions.create(
        model=model.name, messages=[{"role": "user", "content": "Now."}], max_tokens=4
    )
    assert reply.choices[0].message.content
    assert client.batches.retrieve(batch.id).status == "in_progress"
    cancelled = client.batches.cancel(batch.id)
    assert cancelled.status in ("cancelling", "cancelled")
    ended = over(client, batch)
    assert (ended.status, ended.request_counts is not None) == ("cancelled", True)


def _done(batch: Batch) -> int:
    counts = batch.request_counts
    return 0 if counts is None else counts.completed + counts.failed


def _kill_dispatcher(house: Penstock) -> None:
    """With what it is asking; the next one is there in a moment."""
    found: list[psutil.Process] = until(lambda: house.child("proxy.dispatching"), bool, 60)
    assert len(found) == 1
    found[0].kill()
    found[0].wait(60)
