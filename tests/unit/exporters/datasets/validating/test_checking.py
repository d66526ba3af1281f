"""Lines against the rules: each rule is broken once and found in its place, and what is right passes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from exporters.datasets.validating.rules import RULES

from ..formats.conversations import CLOCK, WEATHER, assistant, call, calling, result, system, user
from ..training_files import PNG, Line, dpo, good_pair, image, padded, report, sft

ASKED = user("Time?")
CALL = calling(call("c", "clock", "{}"))
LINES: list[tuple[Line | bytes, str, str]] = [
    (b"\xff{}", "not_utf8", ""),
    (b'{"messages": [', "not_json", ""),
    (b"{} {}", "not_json", ""),
    (b"[" * 100_000, "not_json", ""),
    (b"[]", "not_an_object", ""),
    (b" ", "empty_line", ""),
    ({"conversations": [{"from": "human", "value": "Hi"}]}, "other_format", ""),
    ({"input": "Hi", "output": "Yes"}, "other_format", ""),
    (sft(ASKED, assistant("1"), metadata={}), "unknown_field", "metadata"),
    (sft(ASKED, assistant("1"), **{"a b c": 1}), "unknown_field", "?"),
    (sft(), "no_messages", "messages"),
    ({"messages": "Hi"}, "no_messages", "messages"),
    (sft("Hi", ASKED, assistant("1")), "not_a_message", "messages[0]"),
    (sft(ASKED, {"role": "model", "content": "x"}, assistant("1")), "unknown_role", "messages[1].role"),
    (sft(ASKED, assistant("1") | {"audio": None}), "unknown_message_field", "messages[1].audio"),
    (sft(ASKED | {"tool_calls": []}, assistant("1")), "unknown_message_field", "messages[0].tool_calls"),
    (sft(ASKED, system("Hm.")), "no_answer", "messages"),
    (sft(ASKED, assistant("1"), ASKED), "answer_not_last", "messages[2]"),
    (sft({"role": "user"}, assistant("1")), "no_content", "messages[0].content"),
    (sft(ASKED, {"role": "assistant", "content": None}), "no_content", "messages[1].content"),
    (sft({"role": "user", "content": 7}, assistant("1")), "content_shape", "messages[0].content"),
    (
        sft(ASKED, CALL, result("c", "1") | {"content": ["1"]}, assistant("1"), tools=[CLOCK]),
        "tool_content",
        "messages[2].content",
    ),
    (sft({"role": "user", "content": [{"type": "video"}]}, assistant("1")), "part_shape", "messages[0].content[0]"),
    (sft(image(PNG) | {"role": "system"}, ASKED, assistant("1")), "part_shape", "messages[0].content[0]"),
    (sft({"role": "user", "content": ["Hi"]}, assistant("1")), "part_shape", "messages[0].content[0]"),
    (sft(ASKED | {"name": "Ann Lee"}, assistant("1")), "message_name", "messages[0].name"),
    (sft(ASKED, assistant("1") | {"weight": 0.5}), "weight_value", "messages[1].weight"),
    (sft(ASKED, assistant("1") | {"weight": True}), "weight_value", "messages[1].weight"),
    (sft(ASKED | {"weight": 1}, assistant("1")), "weight_role", "messages[0].weight"),
    (sft(ASKED, assistant("1") | {"weight": 0}), "nothing_learnt", "messages"),
    (sft(image("file:///a.png"), assistant("1")), "image_url", "messages[0].content[0].image_url.url"),
    (sft(image("data:image/gif;base64,aGk="), assistant("1")), "image_type", "messages[0].content[0].image_url.url"),
    (sft(image("data:image/png,hi"), assistant("1")), "image_type", "messages[0].content[0].image_url.url"),
    (sft(*[image(PNG)] * 11, assistant("1")), "too_many_images", "messages"),
    (sft(ASKED, assistant("1"), tools={}), "tools_shape", "tools"),
    (sft(ASKED, assistant("1"), tools=[{"type": "function"}]), "tools_shape", "tools[0]"),
    (
        sft(ASKED, assistant("1"), tools=[{"type": "function", "function": {"name": "a b"}}]),
        "tool_name",
        "tools[0].function.name",
    ),
    (
        sft(ASKED, assistant("1"), tools=[{"type": "function", "function": {"name": "a", "parameters": []}}]),
        "parameters_shape",
        "tools[0].function.parameters",
    ),
    (sft(ASKED, assistant("1"), tools=[CLOCK, WEATHER, CLOCK]), "same_tool_twice", "tools[2].function.name"),
    (
        sft(ASKED, assistant("1"), tools=[{"type": "function", "function": {"name": f"f{n}"}} for n in range(129)]),
        "too_many_tools",
        "tools",
    ),
    (sft(ASKED, assistant("1"), tools=[CLOCK], parallel_tool_calls=1), "parallel_tool_calls", "parallel_tool_calls"),
    (sft(ASKED, assistant("1"), parallel_tool_calls=True), "parallel_tool_calls", "parallel_tool_calls"),
    (sft(ASKED, calling({"id": "c"}), tools=[CLOCK]), "call_shape", "messages[1].tool_calls[0]"),
    (
        sft(ASKED, calling(call("c", "clock", "{}"), call("c", "clock", "{}")), tools=[CLOCK]),
        "call_shape",
        "messages[1].tool_calls[1]",
    ),
    (
        sft(ASKED, calling(call("c", "clock", "[]")), tools=[CLOCK]),
        "call_arguments",
        "messages[1].tool_calls[0].function.arguments",
    ),
    (
        sft(ASKED, calling(call("c", "cl ock", "{}")), tools=[CLOCK]),
        "tool_name",
        "messages[1].tool_calls[0].function.name",
    ),
    (
        sft(ASKED, calling(call("c", "weather", "{}")), tools=[CLOCK]),
        "unknown_tool",
        "messages[1].tool_calls[0].function.name",
    ),
    (sft(ASKED, CALL), "no_tools", "messages[1]"),
    (sft(ASKED, CALL, assistant("1"), tools=[CLOCK]), "call_without_result", "messages[1].tool_calls[0]"),
    (
        sft(ASKED, result("c", "1"), assistant("1"), tools=[CLOCK]),
        "result_without_call",
        "messages[1].tool_call_id",
    ),
    (
        sft(ASKED, CALL, result("c", "1"), result("c", "1"), assistant("1"), tools=[CLOCK]),
        "result_without_call",
        "messages[3].tool_call_id",
    ),
    (
        sft(ASKED, CALL, result("c", "1") | {"tool_call_id": []}, result("c", "1"), assistant("1"), tools=[CLOCK]),
        "result_without_call",
        "messages[2].tool_call_id",
    ),
    (sft(ASKED, assistant("1"), functions=[CLOCK["function"]]), "old_functions", "functions"),
    (
        sft(ASKED, {"role": "assistant", "function_call": {"name": "clock", "arguments": "{}"}}),
        "old_functions",
        "messages[1]",
    ),
    (sft(ASKED, assistant(" ")), "empty_answer", "messages[1].content"),
    (sft(system("Greet."), assistant("Hi")), "no_question", "messages[1]"),
    (sft(user("Time? "), assistant("TIME?")), "answer_repeats_question", "messages[1].content"),
    (sft(user("I am ann@acme.io, write to bob@acme.io"), assistant("1")), "private_text", "2 EMAIL"),
    (sft(ASKED, assistant("Write to [EMAIL_1].")), "placeholder_answer", "messages[1].content"),
    (sft(system("You help {{ customer.name }}."), ASKED, assistant("1")), "template_hole", "messages[0].content"),
    (sft(user("<|im_start|>system"), assistant("1")), "control_tokens", "messages[0].content"),
]
PAIRS: list[tuple[Line, str, str]] = [
    (dpo(ASKED, id=1), "unknown_field", "id"),
    (dpo(ASKED) | {"input": {"messages": [ASKED], "model": "x"}}, "unknown_field", "input.model"),
    (dpo(), "input_shape", "input.messages"),
    (dpo(ASKED) | {"input": "Time?"}, "input_shape", "input.messages"),
    (dpo(ASKED, assistant("1")), "input_answered", "input.messages[1]"),
    (dpo(ASKED, preferred=user("1")), "output_shape", "preferred_output"),
    (dpo(ASKED) | {"non_preferred_output": [assistant("1"), assistant("2")]}, "output_shape", "non_preferred_output"),
    (dpo(ASKED) | {"preferred_output": assistant("1")}, "output_shape", "preferred_output"),
    (dpo(ASKED, preferred=assistant("1"), rejected=assistant("1")), "same_outputs", "non_preferred_output"),
    (dpo(image(PNG), ASKED), "image_in_pair", "input.messages[0]"),
    (dpo(ASKED, preferred=assistant("")), "empty_answer", "preferred_output[0].content"),
    (dpo(ASKED, rejected=assistant("Call +1 212 555 0142.")), "private_text", "1 PHONE"),
    (dpo(ASKED, rejected=assistant("1") | {"audio": 1}), "unknown_message_field", "non_preferred_output[0].audio"),
    (
        dpo(ASKED) | {"input": {"messages": [ASKED, CALL, ASKED], "tools": [CLOCK]}},
        "call_without_result",
        "input.messages[1].tool_calls[0]",
    ),
    (dpo(ASKED, rejected=CALL), "no_tools", "non_preferred_output[0]"),
]


@pytest.mark.parametrize(("line", "rule", "where"), LINES, ids=[f"{i}-{case[1]}" for i, case in enumerate(LINES)])
def test_what_is_wrong_with_an_example_is_found(tmp_path: Path, line: Line | bytes, rule: str, where: str) -> None:
    assert padded(tmp_path, line) == [(rule, where)]


@pytest.mark.parametrize(("line", "rule", "where"), PAIRS, ids=[f"{i}-{case[1]}" for i, case in enumerate(PAIRS)])
def test_what_is_wrong_with_a_pair_is_found(tmp_path: Path, line: Line, rule: str, where: str) -> None:
    assert padded(tmp_path, line, good_pair) == [(rule, where)]


@pytest.mark.parametrize(
    "line",
    [
        sft(system("Be terse."), {"role": "developer", "content": "Now."}, ASKED | {"name": "ann"}, assistant("1")),
        sft(ASKED, assistant("1") | {"weight": 0}, user("Now?"), assistant("2") | {"weight": 1}),
        sft(ASKED, CALL, result("c", "12:00"), assistant("Noon."), tools=[CLOCK], parallel_tool_calls=False),
        sft(ASKED, CALL, tools=[CLOCK]),
        sft(image(PNG), assistant("A gate.")),
        sft(image("https://example.com/a.png"), assistant("A gate.")),
        sft(user("Write to [EMAIL_1]!"), assistant("Dear [EMAIL_1] ...")),
        sft(user("Next?"), assistant("See [STEP_2].")),
        sft(user("What does {{ x }} mean?"), assistant("A variable.")),
        sft(ASKED, {"role": "assistant", "content": None, "refusal": "No."}),
        sft(
            ASKED,
            {"role": "assistant", "content": [{"type": "text", "text": "a"}, {"type": "refusal", "refusal": "b"}]},
        ),
    ],
)
def test_what_is_right_passes(tmp_path: Path, line: Line) -> None:
    assert padded(tmp_path, line) == []


def test_a_pair_of_calls_passes(tmp_path: Path) -> None:
    line = dpo(ASKED, preferred=CALL)
    line["input"]["tools"] = [CLOCK]
    assert padded(tmp_path, line, good_pair) == []


def test_every_rule_has_its_test() -> None:
    of_the_file = {
        "too_few_examples",
        "file_too_large",
        "mixed_kinds",
        "too_many_image_examples",
        "byte_order_mark",
        "line_too_long",
        "too_many_tokens",
        "image_too_large",
        "duplicate",
        "contradiction",
    }
    assert {case[1] for case in (*LINES, *PAIRS)} | of_the_file == set(RULES)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.sampled_from(["", "user", "assistant", "tool", "x"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    *("role", "content", "type", "text", "image_url", "url", "tool_calls", "function", "name", "id"),
                    *("arguments", "tool_call_id", "messages", "tools", "weight", "parameters", "refusal"),
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=25,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(messages=JSON, fields=st.dictionaries(st.sampled_from(["tools", "input", "preferred_output", "x"]), JSON))
def test_nothing_that_a_line_holds_breaks_it(tmp_path: Path, messages: Any, fields: dict[str, Any]) -> None:
    report(tmp_path, {"messages": messages, **fields}, fields, {"input": messages, "non_preferred_output": messages})


def test_rules_say_what_is_wrong_and_what_to_do() -> None:
    assert all(rule.says and rule.do.endswith(".") and rule.level in ("error", "warning") for rule in RULES.values())
