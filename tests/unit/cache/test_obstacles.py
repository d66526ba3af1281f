"""Which replies must not be kept, and that nothing else is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cache.key import Question

FUNCTION = {"type": "function", "function": {"name": "f", "parameters": {}}}
DATA = "data:image/png;base64,AAAA"
FAR = "https://example.com/chart.png"


def obstacle(endpoint: str, **document: Any) -> str:
    question = Question.read(endpoint, json.dumps({"model": "gpt-5", **document}).encode())
    assert question is not None
    return question.obstacle


@pytest.mark.parametrize(
    ("document", "names"),
    [
        ({"store": True}, "store"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"web_search_options": {}}, "web_search_options"),
        ({"search_parameters": {"mode": "auto"}}, "search_parameters"),
        ({"plugins": [{"id": "web"}]}, "plugins"),
        ({"data_sources": [{"type": "azure_search"}]}, "data_sources"),
        ({"mcp_servers": [{}]}, "mcp_servers"),
        ({"deferred": True}, "deferred"),
        ({"tools": [FUNCTION, {"type": "web_search"}]}, "tools"),
        ({"tools": [{"google_search": {}}]}, "tools"),
        ({"model": "gpt-4o-search-preview"}, "model"),
        ({"model": "sonar-pro"}, "model"),
        ({"model": "groq/compound-mini"}, "model"),
        ({"model": "meta/llama-4:online"}, "model"),
        ({"messages": [{"role": "assistant", "audio": {"id": "audio_1"}}]}, "messages"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": FAR}}]}]}, "messages"),
        ({"messages": [{"role": "user", "content": [{"type": "video_url", "video_url": FAR}]}]}, "messages"),
    ],
)
def test_a_chat_that_depends_on_more_than_its_body_has_an_obstacle(document: dict[str, Any], names: str) -> None:
    assert obstacle("chat", **document).startswith(names)


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"store": False},
        {"store": None},
        {"modalities": ["text"]},
        {"web_search_options": None},
        {"deferred": False},
        {"tools": [FUNCTION, {"type": "custom", "custom": {"name": "c"}}]},
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": DATA}}]}]},
        {"messages": [{"role": "user", "content": [{"type": "file", "file": {"file_id": "file-1"}}]}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": f"look at {FAR}"}]}]},
        {"messages": [{"role": "user", "content": "search https://example.com"}]},
        {"temperature": 1.7},
    ],
)
def test_any_other_chat_has_none(document: dict[str, Any]) -> None:
    assert obstacle("chat", **document) == ""


@pytest.mark.parametrize(
    ("document", "names"),
    [
        ({"store": None}, "store"),
        ({"store": True}, "store"),
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"conversation": {"id": "conv_1"}}, "conversation"),
        ({"background": True}, "background"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt"),
        ({"prompt": {"id": "pmpt_1", "version": None}}, "prompt"),
        (
            {"prompt": {"id": "p", "version": "2", "variables": {"a": {"type": "input_image", "image_url": FAR}}}},
            "prompt",
        ),
        ({"tools": [{"type": "file_search", "vector_store_ids": ["vs_1"]}]}, "tools"),
        ({"tools": [{"type": "mcp", "server_url": FAR}]}, "tools"),
        ({"tools": [{"type": "code_interpreter", "container": {"type": "auto"}}]}, "tools"),
        ({"model": "o4-mini-deep-research"}, "model"),
        ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "input"),
        ({"input": [{"role": "user", "content": [{"type": "input_image", "image_url": FAR}]}]}, "input"),
        ({"input": [{"role": "user", "content": [{"type": "input_file", "file_url": FAR}]}]}, "input"),
        ({"input": [{"type": "function_call_output", "output": [{"type": "input_image", "image_url": FAR}]}]}, "input"),
    ],
)
def test_a_response_that_depends_on_state_has_an_obstacle(document: dict[str, Any], names: str) -> None:
    assert obstacle("responses", **{"store": False, "input": "x", **document}).startswith(names)


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"background": False, "previous_response_id": None, "conversation": None},
        {"prompt": {"id": "pmpt_1", "version": "2", "variables": {"city": "Paris"}}},
        {"tools": [{"type": "function", "name": "f"}, {"type": "custom", "name": "c"}]},
        {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": DATA}]}]},
        {"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "file-1"}]}]},
    ],
)
def test_any_other_response_has_none(document: dict[str, Any]) -> None:
    assert obstacle("responses", **{"store": False, "input": "x", **document}) == ""


def test_moderations_of_far_pictures_have_one_and_embeddings_never() -> None:
    assert obstacle("moderations", input=[{"type": "image_url", "image_url": {"url": FAR}}]).startswith("input")
    assert obstacle("moderations", input=[{"type": "image_url", "image_url": {"url": DATA}}]) == ""
    assert obstacle("moderations", input="x") == ""
    assert obstacle("embeddings", input="x", model="text-search-ada-doc-001") == ""
    assert obstacle("completions", prompt="x") == ""


@pytest.mark.parametrize("endpoint", ["chat", "responses", "completions", "moderations"])
@pytest.mark.parametrize("odd", [7, "x", [7, None, []], {"a": 1}, True])
def test_fields_of_odd_types_do_not_raise(endpoint: str, odd: Any) -> None:
    names = ("messages", "input", "tools", "model", "modalities", "prompt", "web_search_options", "store")
    for name in names:
        assert isinstance(obstacle(endpoint, **{"store": False, name: odd}), str)
