"""Whole responses told as typed events: each of the type that the official SDK has for it, together the response."""

from __future__ import annotations

import json
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from openai.types.responses import ResponseStreamEvent
from pydantic import BaseModel

from proxy.openai.assemble import assemble
from proxy.openai.replay import as_events, as_reply, complete
from tests.unit.proxy.openai import replies
from tests.unit.proxy.openai.replies import (
    SENTENCE,
    custom_call,
    function_call,
    output_message,
    output_text,
    reasoning,
    response,
    token,
)

_TYPES: dict[str, type[BaseModel]] = {
    get_args(model.model_fields["type"].annotation)[0]: model for model in get_args(get_args(ResponseStreamEvent)[0])
}
CITATION = {"type": "url_citation", "url": "http://a.example/", "title": "A", "start_index": 0, "end_index": 3}
SEARCH = {
    "type": "web_search_call",
    "id": "ws_1",
    "status": "completed",
    "action": {"type": "search", "query": "flour", "queries": ["flour"]},
}
FILES = {
    "type": "file_search_call",
    "id": "fs_1",
    "status": "completed",
    "queries": ["flour"],
    "results": [{"file_id": "file_1", "text": "Flour.", "filename": "a.txt", "score": 0.5, "attributes": {}}],
}
PICTURE = {"type": "image_generation_call", "id": "ig_1", "status": "completed", "result": "AAAA" * 99}
CODE = {
    "type": "code_interpreter_call",
    "id": "ci_1",
    "status": "completed",
    "code": "print(1)",
    "container_id": "cntr_1",
    "outputs": [{"type": "logs", "logs": "1"}],
}
REMOTE = {
    "type": "mcp_call",
    "id": "mcp_1",
    "name": "weigh",
    "server_label": "scales",
    "arguments": "{}",
    "output": "12",
    "error": None,
    "status": "completed",
}
REMOTE_TOOLS: dict[str, Any] = {"type": "mcp_list_tools", "id": "mcpl_1", "server_label": "scales", "tools": []}
COMPUTER: dict[str, Any] = {
    "type": "computer_call",
    "id": "cu_1",
    "call_id": "call_cu",
    "status": "completed",
    "pending_safety_checks": [],
    "action": {"type": "screenshot"},
}
PATCH = {
    "type": "apply_patch_call",
    "id": "ap_1",
    "call_id": "call_ap",
    "status": "completed",
    "operation": {"type": "delete_file", "path": "a.txt"},
}
TEXT = output_text(annotations=[CITATION, CITATION])
REFUSAL = {"type": "refusal", "refusal": "I won't."}
THOUGHTS = reasoning("Is it heavy?", "It is.", content=[{"type": "reasoning_text", "text": "A sack weighs 12."}])
EVERYTHING = response(
    THOUGHTS,
    output_message(TEXT, REFUSAL),
    function_call(),
    custom_call(),
    SEARCH,
    FILES,
    PICTURE,
    CODE,
    REMOTE,
    REMOTE_TOOLS,
    COMPUTER,
    PATCH,
)


def told(reply: dict[str, Any]) -> list[dict[str, Any]]:
    """The events, and that they are framed and numbered as they must be."""
    found = []
    for event in as_events("responses", reply, include_usage=False):
        name, _, data = event.decode().partition("\n")
        assert data.endswith("}\n\n")
        assert data.count("\n") == 2
        value = json.loads(data.removeprefix("data: "))
        assert name == f"event: {value['type']}"
        found.append(value)
    assert [event["sequence_number"] for event in found] == list(range(len(found)))
    return found


def kinds(reply: dict[str, Any]) -> list[str]:
    """The types without those that repeat the one before."""
    made = [event["type"].removeprefix("response.") for event in told(reply)]
    return [kind for kind, before in zip(made, ["", *made], strict=False) if kind != before]


def test_a_message_in_the_order_of_openai() -> None:
    assert kinds(response(output_message(TEXT, REFUSAL))) == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.annotation.added",
        "output_text.done",
        "content_part.done",
        "content_part.added",
        "refusal.delta",
        "refusal.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]


def test_reasoning_and_calls_in_the_order_of_openai() -> None:
    assert kinds(response(THOUGHTS, function_call(), custom_call()))[2:-1] == [
        "output_item.added",
        *["reasoning_summary_part.added", "reasoning_summary_text.delta"],
        *["reasoning_summary_text.done", "reasoning_summary_part.done"],
        *["reasoning_summary_part.added", "reasoning_summary_text.delta"],
        *["reasoning_summary_text.done", "reasoning_summary_part.done"],
        *["content_part.added", "reasoning_text.delta", "reasoning_text.done", "content_part.done"],
        "output_item.done",
        *["output_item.added", "function_call_arguments.delta", "function_call_arguments.done", "output_item.done"],
        *["output_item.added", "custom_tool_call_input.delta", "custom_tool_call_input.done", "output_item.done"],
    ]


@pytest.mark.parametrize("item", [SEARCH, FILES, PICTURE, CODE, REMOTE, REMOTE_TOOLS, COMPUTER, PATCH])
def test_nothing_is_invented_of_what_tools_did(item: dict[str, Any]) -> None:
    assert kinds(response(item))[2:-1] == ["output_item.added", "output_item.done"]


def test_items_begin_empty_and_are_done_whole() -> None:
    events = told(EVERYTHING)
    added = [event["item"] for event in events if event["type"] == "response.output_item.added"]
    done = [event["item"] for event in events if event["type"] == "response.output_item.done"]
    assert done == EVERYTHING["output"]
    assert added[0] == {"type": "reasoning", "id": "rs_1", "summary": [], "content": []}
    assert added[1] == {**output_message(), "status": "in_progress", "content": []}
    assert added[2] == {**function_call(), "status": "in_progress", "arguments": ""}
    assert added[3] == {**custom_call(), "input": ""}
    assert added[6]["result"] is None
    parts = [event["part"] for event in events if event["type"] == "response.content_part.added"]
    assert parts[1:] == [{**TEXT, "text": "", "annotations": []}, {**REFUSAL, "refusal": ""}]
    assert [item["id"] for item in added] == [item["id"] for item in done]


def test_the_response_is_not_known_before_its_end() -> None:
    events = told(EVERYTHING)
    for begun in (events[0]["response"], events[1]["response"]):
        assert begun == {**EVERYTHING, "status": "in_progress", "output": [], "usage": None, "completed_at": None}
    assert events[-1] == {**events[-1], "type": "response.completed", "response": EVERYTHING}


@pytest.mark.parametrize("status", ["incomplete", "failed"])
def test_other_endings(status: str) -> None:
    details = {"incomplete_details": {"reason": "max_output_tokens"}, "error": {"code": "server_error", "message": "m"}}
    events = told(response(status=status, **details))
    assert events[-1]["type"] == f"response.{status}"
    assert events[0]["response"]["incomplete_details"] is None
    assert events[0]["response"]["error"] is None


def test_events_say_where_they_belong() -> None:
    events = told(EVERYTHING)
    for event in events[2:-1]:
        place = event["output_index"]
        own = EVERYTHING["output"][place]["id"]
        assert event.get("item_id", own) == own
    deltas = [event for event in events if event["type"] == "response.refusal.delta"]
    assert [(event["output_index"], event["content_index"]) for event in deltas] == [(1, 1)]
    called = next(event for event in events if event["type"] == "response.function_call_arguments.done")
    assert called["name"] == "weigh"
    parts = [event["summary_index"] for event in events if event["type"] == "response.reasoning_summary_part.added"]
    assert parts == [0, 1]


def test_log_probabilities_are_on_the_deltas_that_hold_their_tokens() -> None:
    words = [f" word{n}" for n in range(12)]
    odds = [token(word) for word in words]
    events = told(response(output_message(output_text("".join(words), logprobs=odds))))
    assert next(e["part"] for e in events if e["type"] == "response.content_part.added")["logprobs"] == []
    deltas = [event for event in events if event["type"] == "response.output_text.delta"]
    assert len(deltas) > 2
    for event in deltas:
        assert "".join(entry["token"] for entry in event["logprobs"]) == event["delta"]
    done = next(event for event in events if event["type"] == "response.output_text.done")
    assert done["logprobs"] == odds


def test_every_event_is_of_its_type_strictly() -> None:
    odds = [{**token(SENTENCE), "top_logprobs": [{"token": "The", "bytes": [1], "logprob": -1.0}]}]
    for reply in (EVERYTHING, response(output_message(output_text(logprobs=odds))), response(status="incomplete")):
        for event in told(reply):
            _TYPES[event["type"]].model_validate_json(json.dumps(event), strict=True)


@settings(max_examples=50)
@given(replies.responses())
def test_every_event_of_any_response_is_of_its_type_strictly(reply: dict[str, Any]) -> None:
    reply["output"] = [item for item in reply["output"] if item["type"] not in ("of_another_server", "web_search_call")]
    for event in told(reply):
        _TYPES[event["type"]].model_validate_json(json.dumps(event), strict=True)


@given(replies.responses())
def test_a_response_told_and_put_together_again_is_itself(reply: dict[str, Any]) -> None:
    stream = b"".join(as_events("responses", reply, include_usage=False))
    assert assemble("responses", stream) == reply
    assert complete("responses", stream, stream=True)
    assert json.loads(as_reply("responses", stream) or b"") == reply


@given(replies.responses())
def test_the_items_alone_tell_the_output(reply: dict[str, Any]) -> None:
    """Without the last event, which holds all of it; and without any event that repeats what was told in pieces."""
    events = told(reply)[:-1]
    grown = [event for event in events if not event["type"].endswith(".done") or event.get("item") in untold(reply)]
    for told_so in (events, grown):
        stream = "".join(f"event: {e['type']}\ndata: {json.dumps(e)}\n\n" for e in told_so)
        made = assemble("responses", stream.encode()).get("output", [])
        assert [_without_state(item) for item in made] == [_without_state(item) for item in reply["output"]]


def untold(reply: dict[str, Any]) -> list[dict[str, Any]]:
    """Items of which only the beginning and the end are known."""
    return [item for item in reply["output"] if item["type"] == "web_search_call"]


def _without_state(item: dict[str, Any]) -> dict[str, Any]:
    """Log probabilities are summed up in the done events alone."""
    parts = [{k: v for k, v in part.items() if k != "logprobs"} for part in item.get("content", [])]
    return {**item, "content": parts, "status": None}


@pytest.mark.parametrize(
    "reply",
    [
        {},
        response(output=None),
        response(output={}),
        response(output=["x"]),
        response(output=[{"id": "no type"}]),
        response(output=[{"type": "message", "id": 7}]),
        response(output_message(), output_message()),
        response(function_call("a"), {**function_call("b"), "call_id": "call_a"}),
        response(status="queued"),
        response(status="in_progress"),
        response(status="cancelled"),
        response(status=["completed"]),
    ],
)
def test_what_cannot_be_told_is_not(reply: dict[str, Any]) -> None:
    assert as_events("responses", reply, include_usage=False) == []


def test_parts_of_unknown_shape_are_added_and_done() -> None:
    odd = [{"type": "output_text", "text": None}, {"type": "unheard_of"}, {"type": "refusal"}, {}]
    events = told(response(output_message(*odd)))
    assert [event["part"] for event in events if event["type"] == "response.content_part.added"] == odd
    assert [event["part"] for event in events if event["type"] == "response.content_part.done"] == odd
    assert not any(event["type"].endswith(".delta") for event in events)


def test_items_without_an_id_are_told_without_one() -> None:
    item = {name: value for name, value in output_message().items() if name != "id"}
    events = told(response(item))
    assert {event["item_id"] for event in events if "item_id" in event} == {""}
    assert events[-1]["response"]["output"] == [item]
