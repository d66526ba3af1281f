"""Streams that end early, and what can be asked about a call afterwards."""

from __future__ import annotations

import json
import urllib.request
from typing import Any

import openai
import pytest

from tests.wire.scripted import SSE_HEAD, Conn, Request, chunk, event, sse

from .model import NAME
from .serve import Penstock, until
from .stage import Stage, chat_chunks
from .test_sdk_chat import texts

HELLO: Any = [{"role": "user", "content": "Count to one hundred in words."}]
LONG = 1800
ENDLESS = {"ignore_eos": True}
"""Of llama.cpp: it says no end, so that whoever leaves after three chunks has not heard all of it, however late."""


def get(url: str) -> dict[str, Any]:
    with urllib.request.urlopen(url, timeout=30) as reply:
        found: dict[str, Any] = json.load(reply)
    return found


def test_a_stream_left_after_three_chunks_is_abandoned_with_what_was_received(
    proxy: Penstock, client: openai.OpenAI
) -> None:
    raw = client.chat.completions.with_raw_response.create(
        model=NAME, messages=HELLO, max_tokens=LONG, stream=True, extra_body=ENDLESS
    )
    received = []
    with raw.parse() as stream:
        for piece in stream:
            received.append(piece.choices[0].delta.content or "")
            if len(received) == 3:
                break
    row = proxy.row(raw.headers["x-penstock-request-id"])
    assert (row["outcome"], row["error_type"]) == ("abandoned", "client_disconnected")
    (recorded,) = texts(row["output_messages"])
    assert recorded.startswith("".join(received))
    assert row["usage_source"] == "estimated"
    assert 0 < row["output_tokens"] < LONG


def test_the_upstream_is_left_alone_when_the_caller_leaves(
    proxy: Penstock, stage: Stage, client: openai.OpenAI
) -> None:
    async def endless(request: Request, conn: Conn) -> None:
        await conn.send(SSE_HEAD)
        while not conn.peer_closed.is_set():
            await conn.send(chunk(event(chat_chunks("more")[1])))
            await conn.sleep(0.01)

    stage.play(endless)
    with client.chat.completions.create(model="gpt-4o-mini", messages=HELLO, stream=True) as stream:
        next(iter(stream))
    assert until(lambda: stage.requests[0].closed.is_set(), bool, 50), "the upstream still sends to nobody"


def test_the_summary_comes_as_a_comment_that_the_sdk_skips(
    proxy: Penstock, stage: Stage, client: openai.OpenAI
) -> None:
    stage.play(sse(chat_chunks("The gate", " is open.", prompt_tokens=19, completion_tokens=10, total_tokens=29)))
    with client.chat.completions.with_streaming_response.create(
        model="gpt-4o-mini", messages=HELLO, stream=True, extra_headers={"x-penstock-stream-summary": "1"}
    ) as raw:
        body = b"".join(raw.iter_bytes()).decode()
        request_id = raw.headers["x-penstock-request-id"]
    last = body.rstrip("\n").rpartition("\n\n")[2]
    assert last.startswith(": penstock ")
    told = json.loads(last.removeprefix(": penstock "))
    assert (told["request_id"], told["input_tokens"], told["output_tokens"]) == (request_id, 19, 10)
    assert told["cost_usd"] == pytest.approx((19 * 0.15 + 10 * 0.60) / 1e6)
    assert body.index("data: [DONE]") < body.index(": penstock ")

    with client.chat.completions.create(
        model="gpt-4o-mini", messages=HELLO, stream=True, extra_headers={"x-penstock-stream-summary": "1"}
    ) as stream:
        assert "".join(c.choices[0].delta.content or "" for c in stream) == "The gate is open."


def test_a_stream_is_byte_for_byte_the_upstreams(proxy: Penstock, stage: Stage, client: openai.OpenAI) -> None:
    pieces = [b": hello\r\n\r\n", b'data:{"choices":[{"index":0,"delta":{"content":"\xc3', b'\xa9"}}]}\r\n\r\n']
    stage.play(sse([*pieces, b"event: x\nid: 7\ndata: {}\n\n"]))
    with client.chat.completions.with_streaming_response.create(
        model="gpt-4o-mini", messages=HELLO, stream=True
    ) as raw:
        body = b"".join(raw.iter_bytes())
    assert body == b"".join(pieces) + b"event: x\nid: 7\ndata: {}\n\n" + b"data: [DONE]\n\n"


def test_a_call_can_be_asked_about_at_once_and_later(proxy: Penstock, client: openai.OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(model=NAME, messages=HELLO, max_tokens=4, stream=True)
    with raw.parse() as stream:
        list(stream)
    request_id = raw.headers["x-penstock-request-id"]
    at_once = get(f"{proxy.url}/penstock/requests/{request_id}")
    row = proxy.row(request_id)
    assert at_once["output_tokens"] == row["output_tokens"] > 0
    assert (at_once["outcome"], at_once["model"], at_once["stream"]) == ("answered", NAME, True)
    assert at_once["ttft_ms"] == pytest.approx(row["ttft_ms"], rel=0.01)


def test_feedback_finds_the_reply_it_is_about(proxy: Penstock, client: openai.OpenAI, call_id: str) -> None:
    reply = client.chat.completions.create(model=NAME, messages=HELLO, max_tokens=4)
    feedback = {
        "response_id": reply.id,
        "score": 0.25,
        "label": "wrong",
        "comment": f"not a number {call_id}",
        "correction": [{"role": "assistant", "content": "one"}],
    }
    request = urllib.request.Request(
        f"{proxy.url}/penstock/feedback", json.dumps(feedback).encode(), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as accepted:
        assert accepted.status == 202
        feedback_id = json.load(accepted)["id"]
    sql = "SELECT * FROM feedback FINAL WHERE id = {id:String}"
    (row,) = until(lambda: proxy.query(sql, {"id": feedback_id}), bool, 60)
    assert (row["response_id"], row["score"], row["label"]) == (reply.id, 0.25, "wrong")
    assert row["comment"] == feedback["comment"]
    assert json.loads(row["correction"]) == feedback["correction"]
