"""Typed events to the response they describe: finished, and broken off at any event."""

from __future__ import annotations

import copy
import json
from typing import Any

import httpx
import openai
from hypothesis import given
from hypothesis import strategies as st

from proxy.openai.assemble import assemble

REASONING = {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Think."}]}
MESSAGE = {
    "type": "message",
    "id": "msg_1",
    "role": "assistant",
    "status": "completed",
    "content": [{"type": "output_text", "text": "Hello", "annotations": [], "logprobs": []}],
}
CALL = {
    "type": "function_call",
    "id": "fc_1",
    "call_id": "call_1",
    "name": "f",
    "arguments": '{"a":1}',
    "status": "completed",
}
OUTPUT = [REASONING, MESSAGE, CALL]
BEGUN: dict[str, Any] = {
    "id": "resp_1",
    "object": "response",
    "created_at": 7,
    "status": "in_progress",
    "model": "gpt-x",
    "output": [],
    "parallel_tool_calls": True,
    "tool_choice": "auto",
    "tools": [],
    "usage": None,
}
USAGE = {
    "input_tokens": 5,
    "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
    "output_tokens": 6,
    "output_tokens_details": {"reasoning_tokens": 2},
    "total_tokens": 11,
}
DONE = {**BEGUN, "status": "completed", "output": OUTPUT, "usage": USAGE}


def events() -> list[dict[str, Any]]:
    empty = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
    text = {"item_id": "msg_1", "output_index": 1, "content_index": 0, "logprobs": []}
    thought = {"item_id": "rs_1", "output_index": 0, "summary_index": 0}
    call = {"item_id": "fc_1", "output_index": 2}
    made = [
        {"type": "response.created", "response": BEGUN},
        {"type": "response.in_progress", "response": BEGUN},
        {"type": "response.output_item.added", "output_index": 0, "item": {**REASONING, "summary": []}},
        {
            "type": "response.reasoning_summary_part.added",
            **thought,
            "part": {"type": "summary_text", "text": ""},
        },
        {"type": "response.reasoning_summary_text.delta", **thought, "delta": "Thi"},
        {"type": "response.reasoning_summary_text.delta", **thought, "delta": "nk."},
        {"type": "response.output_item.done", "output_index": 0, "item": REASONING},
        {"type": "response.output_item.added", "output_index": 1, "item": {**MESSAGE, "content": []}},
        {"type": "response.content_part.added", **text, "part": empty},
        {"type": "response.output_text.delta", **text, "delta": "Hel"},
        {"type": "response.output_text.delta", **text, "delta": "lo"},
        {"type": "response.output_item.done", "output_index": 1, "item": MESSAGE},
        {"type": "response.output_item.added", "output_index": 2, "item": {**CALL, "arguments": ""}},
        {"type": "response.function_call_arguments.delta", **call, "delta": '{"a"'},
        {"type": "response.function_call_arguments.delta", **call, "delta": ":1}"},
        {"type": "response.output_item.done", "output_index": 2, "item": CALL},
        {"type": "response.completed", "response": DONE},
    ]
    return [{**copy.deepcopy(event), "sequence_number": number} for number, event in enumerate(made)]


def sse(values: list[dict[str, Any]]) -> bytes:
    return b"".join(
        b"event: %s\ndata: %s\n\n" % (str(value.get("type")).encode(), json.dumps(value).encode()) for value in values
    )


def test_the_final_object_is_the_reply() -> None:
    assert assemble("responses", sse(events())) == DONE


def test_without_the_final_event_the_items_are_the_same() -> None:
    assert assemble("responses", sse(events()[:-1])) == {**BEGUN, "output": OUTPUT}


def test_deltas_alone_give_what_the_done_events_say() -> None:
    grown = [event for event in events()[:-1] if not event["type"].endswith(".done")]
    assert assemble("responses", sse(grown))["output"] == OUTPUT


def test_deltas_of_items_whose_beginning_is_lost() -> None:
    lost = [event for event in events() if event["type"].endswith(".delta")]
    assert assemble("responses", sse(lost))["output"] == [
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Think."}]},
        {"type": "message", "content": [{"type": "output_text", "text": "Hello"}]},
        {"type": "function_call", "arguments": '{"a":1}'},
    ]


def test_broken_off_after_any_event() -> None:
    """The text grows with the events, and never shrinks."""
    shown = ""
    for count in range(len(events()) + 1):
        reply = assemble("responses", sse(events()[:count]))
        assert (reply.get("id") == "resp_1") is (count > 0)
        text = json.dumps(
            [{k: item.get(k) for k in ("summary", "content", "arguments")} for item in reply.get("output", [])]
        )
        assert len(text) >= len(shown)
        shown = text


def test_a_final_object_without_its_output_gets_it_from_the_items() -> None:
    stream = events()
    stream[-1]["response"]["output"] = None
    assert assemble("responses", sse(stream))["output"] == OUTPUT


def test_other_deltas() -> None:
    def delta(kind: str, index: int, text: Any = "x", **more: Any) -> dict[str, Any]:
        return {"type": f"response.{kind}.delta", "output_index": index, "delta": text, **more}

    stream = [
        delta("refusal", 0, "I "),
        delta("refusal", 0, "won't"),
        delta("reasoning_text", 1, content_index=0),
        delta("mcp_call_arguments", 2),
        delta("custom_tool_call_input", 3),
        delta("code_interpreter_call_code", 4),
        {
            "type": "response.output_text.annotation.added",
            "output_index": 5,
            "content_index": 0,
            "annotation": {"type": "file_path"},
        },
        {"type": "response.image_generation_call.partial_image", "output_index": 6, "partial_image_b64": "AA"},
        delta("output_text", 7, {"not": "text"}),
        delta("output_text", -1),
        delta("output_text", 7, content_index=10**9),
        delta("output_text", 7, content_index=5000),
        delta("unheard_of", 8),
    ]
    made = assemble("responses", sse(stream))["output"]
    assert made[:5] == [
        {"type": "message", "content": [{"type": "refusal", "refusal": "I won't"}]},
        {"type": "reasoning", "content": [{"type": "reasoning_text", "text": "x"}]},
        {"type": "mcp_call", "arguments": "x"},
        {"type": "custom_tool_call", "input": "x"},
        {"type": "code_interpreter_call", "code": "x"},
    ]
    assert made[5]["content"][0]["annotations"] == [{"type": "file_path"}]
    assert made[6]["result"] == "AA"
    assert made[7:] == [{"type": "message", "content": [{"type": "output_text", "text": ""}]}]


def test_an_error_event() -> None:
    reply = assemble("responses", sse([*events()[:3], {"type": "error", "code": "c", "message": "m", "param": None}]))
    assert reply["error"] == {"code": "c", "message": "m", "param": None}
    assert reply["id"] == "resp_1"


def test_as_the_official_sdk_does_it() -> None:
    stream = sse(events())
    transport = httpx.MockTransport(
        lambda request: httpx.Response(200, headers={"content-type": "text/event-stream"}, content=stream)
    )
    http = httpx.Client(transport=transport)
    with (
        openai.OpenAI(api_key="k", base_url="http://upstream/v1", http_client=http) as client,
        client.responses.stream(model="m", input="x") as seen,
    ):
        for _ in seen:
            pass
        theirs = seen.get_final_response()
    ours = assemble("responses", stream)
    assert openai.types.responses.Response.model_validate(ours).output_text == theirs.output_text == "Hello"
    assert [item["type"] for item in ours["output"]] == [item.type for item in theirs.output]
    assert ours["output"][2]["arguments"] == theirs.to_dict()["output"][2]["arguments"]  # type: ignore[index]


VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.integers(-2, 30) | st.text(max_size=2),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["text", "content", "type"]), inner),
    max_leaves=5,
)
EVENTS = st.builds(
    lambda kind, rest: {"type": kind, **rest},
    st.sampled_from([event["type"] for event in events()]),
    st.dictionaries(
        st.sampled_from(["item", "part", "delta", "output_index", "content_index", "summary_index", "response"]), VALUES
    ),
)


@given(st.lists(EVENTS, max_size=6))
def test_strange_events_never_raise(stream: list[dict[str, Any]]) -> None:
    assert isinstance(assemble("responses", sse(stream)), dict)
