"""A line of any shape that is known becomes the conversation that it holds; any other is counted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from exporters.datasets.assembling.assembly import assemble
from exporters.datasets.example import Example, Message, Row
from exporters.datasets.formats import writers
from exporters.datasets.options import Options, Write
from exporters.datasets.reasons import Reason
from exporters.datasets.selecting.shapes import row_of

OPTIONS = Options(name="test")
SYSTEM = {"role": "system", "content": "Be brief."}
USER = {"role": "user", "content": "Weigh the gate."}
ANSWER = {"role": "assistant", "content": "12 kg"}
WORSE = {"role": "assistant", "content": "Why?"}
CALL = {"id": "call_1", "type": "function", "function": {"name": "weigh", "arguments": '{"gate":1}'}}
CALLED = {"role": "assistant", "content": None, "tool_calls": [CALL]}
RESULT = {"role": "tool", "tool_call_id": "call_1", "content": "12 kg"}
TOOL = {"type": "function", "function": {"name": "weigh", "parameters": {"type": "object"}}}
SPOKEN = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "12 kg"}]}
REPLY = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1_760_000_000,
    "model": "gpt-5-2026",
    "choices": [{"index": 0, "message": ANSWER, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 4},
}
RESPONSE = {
    "id": "resp_1",
    "object": "response",
    "created_at": 1_760_000_000,
    "model": "gpt-5-2026",
    "status": "completed",
    "output": [{"type": "reasoning", "summary": []}, SPOKEN],
    "usage": {"input_tokens": 3, "output_tokens": 4},
}


def row(line: Any) -> Row:
    return row_of(line, "file:1", lambda custom_id: None)


def example(line: Any) -> Example:
    made = assemble(row(line), OPTIONS)
    assert isinstance(made, Example), made
    return made


PLAIN: list[dict[str, Any]] = [
    {"messages": [USER, ANSWER]},
    {"request": {"messages": [USER]}, "response": REPLY},
    {"request": {"body": {"messages": [USER]}}, "response": {"status": 200, "body": REPLY}},
    {"request_body": json.dumps({"messages": [USER]}), "response_body": json.dumps(REPLY)},
    {"messages": [USER], "response": REPLY},
    {**REPLY, "messages": [USER]},
    {"request": {"input": "Weigh the gate."}, "response": RESPONSE},
    {"request": {"input": [{"role": "user", "content": [{"type": "input_text", "text": "Weigh the gate."}]}]}}
    | {"response": RESPONSE},
    {**RESPONSE, "input": "Weigh the gate."},
    {"request": {"prompt": "Weigh the gate."}, "response": {"choices": [{"text": "12 kg"}]}},
    {"prompt": "Weigh the gate.", "completion": "12 kg"},
    {"prompt": [USER], "completion": [ANSWER]},
    {"type": "GENERATION", "input": [USER], "output": ANSWER},
    {"input": {"messages": [USER]}, "output": "12 kg"},
    {"inputs": {"messages": [USER]}, "outputs": {"choices": [{"message": ANSWER}]}},
    {"inputs": {"messages": [USER]}, "outputs": {"messages": [USER, ANSWER]}},
    {"conversations": [{"from": "human", "value": "Weigh the gate."}, {"from": "gpt", "value": "12 kg"}]},
    {"conversations": [USER, ANSWER]},
    {"instruction": "Weigh the gate.", "input": "", "output": "12 kg"},
    {"input_messages": [{"role": "user", "parts": [{"type": "text", "content": "Weigh the gate."}]}]}
    | {"output_messages": '[{"role":"assistant","parts":[{"type":"text","content":"12 kg"}]}]'},
    {"attributes": {"llm": {"input_messages": [{"message": USER}], "output_messages": [{"message": ANSWER}]}}},
]


@pytest.mark.parametrize("line", PLAIN, ids=lambda line: ",".join(line))
def test_a_question_and_its_answer(line: dict[str, Any]) -> None:
    assert example(line).messages == [USER, ANSWER]
    assert row(line).request_id == line.get("id", "file:1")


PAIRS: list[dict[str, Any]] = [
    {"input": {"messages": [USER]}, "preferred_output": [ANSWER], "non_preferred_output": [WORSE]},
    {"prompt": [USER], "chosen": [ANSWER], "rejected": [WORSE]},
    {"prompt": "Weigh the gate.", "chosen": "12 kg", "rejected": "Why?"},
    {"chosen": [USER, ANSWER], "rejected": [USER, WORSE]},
]


@pytest.mark.parametrize("line", PAIRS, ids=lambda line: ",".join(line))
def test_a_preference(line: dict[str, Any]) -> None:
    made = example(line)
    assert (made.messages, made.rejected) == ([USER, ANSWER], [WORSE])


def test_what_a_reply_says_of_itself() -> None:
    for reply, asked in ((REPLY, {"messages": [USER]}), (RESPONSE, {"input": "x"})):
        found = row({"request": {"model": "gpt-5", **asked}, "response": reply})
        assert (found.model, found.response_model, found.response_id) == ("gpt-5", "gpt-5-2026", reply["id"])
        assert (found.input_tokens, found.output_tokens) == (3, 4)
        assert found.timestamp_ns == 1_760_000_000 * 10**9
    cut = {**RESPONSE, "status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}
    assert row({"request": {"input": "x"}, "response": cut}).finish_reasons == ["max_output_tokens"]
    failed = row({"request": {"messages": [USER]}, "response": {"status_code": 429, "body": {"error": {}}}})
    assert (failed.status, failed.outcome) == (429, "failed")
    assert row({"request": {"messages": [USER]}, "response": {"error": {"message": "x"}}}).outcome == "failed"


def test_what_a_line_says_of_itself() -> None:
    found = row(
        {"id": 7, "messages": [USER, ANSWER], "model": "m", "user": "ann", "session_id": "s"}
        | {"metadata": {"app": "x", "n": 1}, "created_at": "2026-11-01T10:00:00.5+01:00"}
    )
    assert (found.request_id, found.model, found.user, found.session) == ("7", "m", "ann", "s")
    assert found.tags == {"app": "x", "n": "1"}
    assert found.timestamp_ns == 1_793_523_600_500_000_000


@pytest.mark.parametrize(
    "time",
    ["2026-11-01T09:00:00Z", "2026-11-01 09:00:00", 1793523600, 1793523600.0, 1793523600000, 1793523600000000000],
)
def test_times_are_read_in_every_unit(time: Any) -> None:
    assert row({"messages": [USER, ANSWER], "timestamp": time}).timestamp_ns == 1_793_523_600 * 10**9


def test_a_chat_with_tools() -> None:
    line = {"messages": [SYSTEM, USER, CALLED, RESULT, ANSWER], "tools": [TOOL], "parallel_tool_calls": False}
    made = example(line)
    assert made.messages == line["messages"]
    assert (made.tools, made.parallel_tool_calls) == ([TOOL], False)
    assert example({"messages": [USER, ANSWER], "functions": [TOOL["function"]]}).tools == [TOOL]


def test_a_response_with_tools() -> None:
    items = [
        {"role": "user", "content": "Weigh the gate."},
        {"type": "function_call", "call_id": "call_1", "name": "weigh", "arguments": '{"gate":1}'},
        {"type": "function_call_output", "call_id": "call_1", "output": "12 kg"},
    ]
    asked = {"instructions": "Be brief.", "input": items, "tools": [{**TOOL["function"], "type": "function"}]}
    made = example({"request": asked, "response": RESPONSE})
    assert made.messages == [SYSTEM, USER, CALLED, RESULT, ANSWER]
    assert made.tools == [TOOL]
    called = {**RESPONSE, "output": [SPOKEN, items[1], {**items[1], "call_id": "call_2"}]}
    answer = example({"request": {"input": "x"}, "response": called}).messages[-1]
    assert answer["content"] == "12 kg"
    assert [call["id"] for call in answer["tool_calls"]] == ["call_1", "call_2"]


def test_an_answer_in_several_messages_is_one() -> None:
    twice = {**RESPONSE, "output": [SPOKEN, {**SPOKEN, "content": [{"type": "output_text", "text": "or 13"}]}]}
    answer = example({"request": {"input": "x"}, "response": twice}).messages[-1]
    assert [part["text"] for part in answer["content"]] == ["12 kg", "or 13"]


def test_a_refusal_and_a_picture_of_a_response() -> None:
    picture = {"type": "input_image", "image_url": "https://a.example/x.png", "detail": "low"}
    asked = {"input": [{"role": "user", "content": [picture]}]}
    refused = {**SPOKEN, "content": [{"type": "refusal", "refusal": "No."}]}
    made = example({"request": asked, "response": {**RESPONSE, "output": [refused]}})
    url = {"url": "https://a.example/x.png", "detail": "low"}
    assert made.messages[0]["content"] == [{"type": "image_url", "image_url": url}]
    assert made.messages[1] == {"role": "assistant", "content": None, "refusal": "No."}


@pytest.mark.parametrize("place", ["input", "output"])
def test_what_ran_at_the_provider_is_no_conversation(place: str) -> None:
    search = {"type": "web_search_call", "id": "ws_1"}
    request = {"input": [search, {"role": "user", "content": "x"}] if place == "input" else "x"}
    reply = {**RESPONSE, "output": [search, SPOKEN] if place == "output" else [SPOKEN]}
    assert assemble(row({"request": request, "response": reply}), OPTIONS) is Reason.NOT_A_CONVERSATION


def test_calls_of_sharegpt_get_ids() -> None:
    calls = [{"name": "weigh", "arguments": {"gate": 1}}, {"name": "look", "arguments": "x"}]
    line = {
        "conversations": [
            {"from": "human", "value": "Weigh the gate."},
            {"from": "function_call", "value": json.dumps(calls)},
            {"from": "observation", "value": "12 kg"},
            {"from": "observation", "value": "red"},
            {"from": "gpt", "value": "12 kg"},
        ],
        "system": "Be brief.",
        "tools": json.dumps([TOOL["function"]]),
    }
    made = example(line)
    found = made.messages[2]["tool_calls"]
    assert [call["function"] for call in found] == [CALL["function"], {"name": "look", "arguments": "x"}]
    assert [message.get("tool_call_id") for message in made.messages[3:5]] == [call["id"] for call in found]
    assert made.tools == [TOOL]


CONVERSATION = Example(
    request_id="r", timestamp_ns=1, messages=[SYSTEM, USER, ANSWER, USER, WORSE], model="m", rejected=[]
)
TOOLED = Example(request_id="r", timestamp_ns=1, messages=[SYSTEM, USER, CALLED, RESULT, ANSWER], tools=[TOOL])
PREFERRED = Example(request_id="r", timestamp_ns=1, messages=[USER, ANSWER], rejected=[WORSE])


@pytest.mark.parametrize(
    ("format", "written"),
    [
        *(("openai", CONVERSATION), ("openai", TOOLED), ("openai", PREFERRED)),
        *(("sharegpt", CONVERSATION), ("sharegpt", TOOLED), ("alpaca", CONVERSATION)),
    ],
)
def test_what_was_written_is_read_again(tmp_path: Path, format: Any, written: Example) -> None:  # noqa: A002
    made = writers(Write(formats=(format,)), tmp_path)
    for writer in made:
        writer.write("train", written)
    files = [path for writer in made for path in writer.close()]
    for path in files:
        for line in path.read_text().splitlines():
            found = example(json.loads(line))
            assert _without_ids(found.messages) == _without_ids(written.messages)
            assert found.tools == written.tools
            assert found.rejected == (written.rejected if "preferences" in path.name else [])
    assert files


def _without_ids(messages: list[Message]) -> list[Message]:
    """ShareGPT has no ids of calls."""
    return json.loads(json.dumps(messages).replace("call_2_0", "call_1").replace("call_1_0", "call_1"))


def test_a_line_of_the_live_export_has_every_column() -> None:
    full = Row(
        request_id="r",
        response_id="c",
        timestamp_ns=1_793_523_600_123_456_789,
        model="m",
        tags={"a": "b"},
        finish_reasons=["stop"],
        input_tokens=3,
        cost=0.5,
        truncated=True,
        input_messages="[]",
        output_messages="[]",
        parameters='{"temperature":1}',
    )
    line = {name: getattr(full, name) for name in Row.__struct_fields__} | {
        "timestamp": "2026-11-01T09:00:00.123456789Z"
    }
    del line["timestamp_ns"]
    line |= {
        "input_messages": [],
        "output_messages": [],
        "parameters": {"temperature": 1},
        "duration_ms": 3,
        "score": None,
    }
    assert row(line) == full
