"""The other endpoints through the official SDK: parsed ones, and those that only pass through."""

from __future__ import annotations

import json

import openai
import pytest

from tests.wire.scripted import json_reply

from .model import NAME
from .serve import Penstock
from .stage import Stage
from .test_sdk_chat import texts


def test_completions(proxy: Penstock, client: openai.OpenAI) -> None:
    raw = client.completions.with_raw_response.create(model=NAME, prompt="The gate", max_tokens=6)
    reply = raw.parse()
    row = proxy.row(raw.headers["x-penstock-request-id"])
    assert (row["endpoint"], row["operation"]) == ("completions", "text_completion")
    assert texts(row["input_messages"]) == ["The gate"]
    assert texts(row["output_messages"]) == [reply.choices[0].text]
    assert reply.usage is not None
    assert (row["input_tokens"], row["output_tokens"]) == (reply.usage.prompt_tokens, reply.usage.completion_tokens)


def test_a_stream_of_completions(proxy: Penstock, client: openai.OpenAI) -> None:
    raw = client.completions.with_raw_response.create(model=NAME, prompt="The gate", max_tokens=6, stream=True)
    with raw.parse() as stream:
        text = "".join(chunk.choices[0].text for chunk in stream)
    row = proxy.row(raw.headers["x-penstock-request-id"])
    assert texts(row["output_messages"]) == [text]
    assert (row["usage_source"], row["stream"]) == ("upstream", True)


def test_responses(proxy: Penstock, client: openai.OpenAI) -> None:
    raw = client.responses.with_raw_response.create(
        model=NAME, input="Say hello.", instructions="Answer briefly.", max_output_tokens=8
    )
    reply = raw.parse()
    row = proxy.row(raw.headers["x-penstock-request-id"])
    assert (row["endpoint"], row["operation"], row["outcome"]) == ("responses", "chat", "answered")
    assert row["response_id"] == reply.id
    assert texts(row["input_messages"]) == ["Say hello."]
    assert "Answer briefly." in row["system_instructions"]
    assert texts(row["output_messages"]) == [reply.output_text]
    assert reply.usage is not None
    assert (row["input_tokens"], row["output_tokens"]) == (reply.usage.input_tokens, reply.usage.output_tokens)


def test_a_stream_of_responses(proxy: Penstock, client: openai.OpenAI, call_id: str) -> None:
    headers = {"x-penstock-tags": f"call={call_id}"}
    with client.responses.create(
        model=NAME, input="Say hello.", max_output_tokens=8, stream=True, extra_headers=headers
    ) as stream:
        events = list(stream)
    assert events[-1].type == "response.completed"
    row = proxy.row_of_tag("call", call_id)
    assert texts(row["output_messages"]) == [events[-1].response.output_text]
    usage = events[-1].response.usage
    assert usage is not None
    assert (row["input_tokens"], row["output_tokens"]) == (usage.input_tokens, usage.output_tokens)
    assert (row["stream"], row["response_id"]) == (True, events[-1].response.id)
    assert 0 < row["ttft_ms"] < row["duration_ms"]


def test_embeddings_that_the_model_refuses_raise_its_own_error(proxy: Penstock, client: openai.OpenAI) -> None:
    with pytest.raises(openai.InternalServerError) as caught:
        client.embeddings.create(model=NAME, input="the gate")
    assert caught.value.status_code == 501
    row = proxy.row(caught.value.response.headers["x-penstock-request-id"])
    assert (row["endpoint"], row["status"], row["outcome"]) == ("embeddings", 501, "answered")
    assert row["error_type"]


def test_embeddings_are_metered(proxy: Penstock, stage: Stage, client: openai.OpenAI) -> None:
    vector = {"object": "embedding", "index": 0, "embedding": [0.25, -0.5]}
    usage = {"prompt_tokens": 5, "total_tokens": 5}
    stage.play(json_reply({"object": "list", "data": [vector], "model": "text-embedding-3-small", "usage": usage}))
    raw = client.embeddings.with_raw_response.create(
        model="text-embedding-3-small", input="the gate", encoding_format="float"
    )
    assert raw.parse().data[0].embedding == [0.25, -0.5]
    row = proxy.row(raw.headers["x-penstock-request-id"])
    assert (row["operation"], row["input_tokens"], row["outcome"]) == ("embeddings", 5, "answered")
    assert row["cost"] == pytest.approx(5 * 0.02 / 1e6)


def test_the_list_of_models_passes_through(proxy: Penstock, client: openai.OpenAI) -> None:
    raw = client.models.with_raw_response.list()
    assert NAME in [found.id for found in raw.parse()]
    row = proxy.row(raw.headers["x-penstock-request-id"])
    assert (row["endpoint"], row["method"], row["path"], row["status"]) == ("other", "GET", "/v1/models", 200)
    assert (row["outcome"], row["model"]) == ("answered", "")
    assert row["response_bytes"] > 0


def test_a_file_is_uploaded_byte_for_byte(proxy: Penstock, stage: Stage, client: openai.OpenAI) -> None:
    uploaded = {"id": "file-1", "object": "file", "bytes": 3_000_000, "created_at": 1, "filename": "a.jsonl"}
    stage.play(json_reply({**uploaded, "purpose": "batch", "status": "processed"}))
    content = bytes(range(256)) * 12_000
    raw = client.files.with_raw_response.create(
        file=("a.jsonl", content), purpose="batch", extra_headers={"x-penstock-upstream": "stage"}
    )
    assert raw.parse().id == "file-1"
    (request,) = stage.requests
    assert content in request.body
    assert (request.header("content-type") or "").startswith("multipart/form-data; boundary=")
    row = proxy.row(raw.headers["x-penstock-request-id"])
    assert (row["path"], row["outcome"], row["request_bytes"]) == ("/v1/files", "answered", len(request.body))
    assert row["input_messages"] == ""


def test_a_path_nobody_knows_yet_passes_through_and_is_recorded(
    proxy: Penstock, stage: Stage, client: openai.OpenAI
) -> None:
    stage.play(json_reply({"ok": True}))
    reply = client.post(
        "/future/things?a=1&a=2",
        cast_to=object,
        body={"model": "gpt-next", "depth": 3},
        options={"headers": {"x-penstock-upstream": "stage"}},
    )
    assert reply == {"ok": True}
    (request,) = stage.requests
    assert request.target == "/v1/future/things?a=1&a=2"
    assert json.loads(request.body) == {"model": "gpt-next", "depth": 3}
    (row,) = proxy.wait_rows("path = {path:String}", {"path": "/v1/future/things"})
    assert (row["endpoint"], row["model"], row["outcome"]) == ("other", "gpt-next", "answered")
