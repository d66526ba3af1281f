"""Cleaning: each reason is told from what is fine, in the order of the reasons, and little that is fine is lost."""

from __future__ import annotations

from typing import Any

import pytest

from exporters.datasets.assembling.cleaning import Cleaner, is_refusal
from exporters.datasets.example import Example, Message, Row
from exporters.datasets.options import Clean
from exporters.datasets.reasons import Reason

ANSWER: Message = {"role": "assistant", "content": "It leaves at nine."}
TOOLS = [{"type": "function", "function": {"name": "look_up", "parameters": {}}}]


def example(*messages: Message, **fields: Any) -> Example:
    said = list(messages) or [{"role": "user", "content": "When does it leave?"}, ANSWER]
    return Example(**{"request_id": "r", "timestamp_ns": 1, "messages": said, "tokens": 20, **fields})


def row(**fields: Any) -> Row:
    return Row(**{"request_id": "r", "finish_reasons": ["stop"], **fields})


def judge(told: Example, recorded: Row | None = None, **options: Any) -> Reason:
    return Cleaner(Clean(**options)).judge(recorded or row(), told)


def call(call_id: str = "c1", name: str = "look_up", arguments: Any = '{"q": "train"}') -> Message:
    function = {"name": name, "arguments": arguments}
    return {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": call_id, "type": "function", "function": function}],
    }


def calls(*made: Message) -> Message:
    return {**made[0], "tool_calls": [one["tool_calls"][0] for one in made]}


def result(call_id: str = "c1") -> Message:
    return {"role": "tool", "tool_call_id": call_id, "content": "9:00"}


def test_what_is_fine_is_kept() -> None:
    assert judge(example()) is Reason.KEPT
    assert judge(example(), row(outcome="cached", finish_reasons=[])) is Reason.KEPT


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"status": 429}, Reason.FAILED),
        ({"outcome": "cut"}, Reason.FAILED),
        ({"outcome": "abandoned"}, Reason.FAILED),
        ({"finish_reasons": ["error"]}, Reason.FAILED),
        ({"finish_reasons": ["length"]}, Reason.INCOMPLETE),
        ({"finish_reasons": ["content_filter"]}, Reason.INCOMPLETE),
        ({"finish_reasons": ["length", "stop"]}, Reason.INCOMPLETE),
        ({"finish_reasons": ["stop", "length"]}, Reason.KEPT),
        ({"truncated": True}, Reason.INCOMPLETE),
    ],
)
def test_how_a_call_ended(fields: dict[str, Any], reason: Reason) -> None:
    assert judge(example(), row(**fields)) is reason


def test_incomplete_ones_are_kept_when_asked_for_but_never_failed_ones() -> None:
    assert judge(example(), row(finish_reasons=["length"], truncated=True), keep_incomplete=True) is Reason.KEPT
    assert judge(example(), row(outcome="cut"), keep_incomplete=True) is Reason.FAILED


def test_a_corrected_answer_is_judged_by_its_correction() -> None:
    cut = row(finish_reasons=["length"], correction='"It leaves at nine."')
    assert (
        judge(example(rejected=[{"role": "assistant", "content": "It lea"}]), row(finish_reasons=["length"]))
        is Reason.KEPT
    )
    assert judge(example(), cut) is Reason.KEPT
    assert Cleaner(Clean(), corrections=False).judge(cut, example()) is Reason.INCOMPLETE


@pytest.mark.parametrize(
    "said",
    [
        {"role": "assistant", "content": None},
        {"role": "assistant", "content": " \n"},
        {"role": "assistant", "content": [{"type": "text", "text": ""}]},
        {"role": "assistant", "content": None, "tool_calls": []},
        {"role": "user", "content": "and now?"},
    ],
)
def test_an_empty_answer(said: Message) -> None:
    assert judge(example({"role": "user", "content": "hi"}, said)) is Reason.EMPTY_ANSWER


def test_no_messages_at_all_are_an_empty_answer() -> None:
    assert judge(Example(request_id="r", timestamp_ns=1, messages=[])) is Reason.EMPTY_ANSWER


REFUSALS = [
    "I'm sorry, but I can't assist with that.",
    "I\u2019m sorry, but I can\u2019t help with that request.",
    "Sorry, I can't help with that.",
    "I cannot fulfill this request. Please ask something else.",
    "I'm unable to comply with your request.",
    "I am not able to answer that question.",
    "I apologize, but I cannot continue with this conversation.",
    "I won't do that.",
    "As an AI language model, I cannot assist with that.",
    "I must decline this request.",
    "I can't help you with that!",
    "I'm sorry, but I can't assist.",
    "Unfortunately, I cannot comply with that request.",
    "Sorry, but this request violates our usage policies.",
]
NOT_REFUSALS = [
    "I'm sorry that your parcel is late. It will be there on Friday.",
    "I'm sorry, but I can't help with returns after 30 days. A repair is possible, though.",
    "I'm sorry, but we cannot refund shipping.",
    "Unfortunately, this train does not run on Sundays.",
    "I can't see your screen, but the button is at the top right.",
    "I cannot find order 4711; is the number right?",
    "Sorry, I misread the date: it is the 14th.",
    "I apologize for the delay. Your refund was sent today.",
    "I'm unable to open the attachment. Could you paste its text?",
    "I can't access your account, so please reset the password yourself under Settings.",
    "This request violates foreign key constraint fk_user; insert the user first.",
    "As an AI, I have no birthday.",
    "I won't be in the office tomorrow, as you asked me to write.",
    "I can help with that.",
    "I can't do more than three at once, so here are the first three: a, b, c.",
    "I must decline the invitation, sadly. How is this for a reply?",
    "I will not go gentle into that good night is by Dylan Thomas.",
    "\"I'm sorry, but I can't help with that\" is what it says when its filter triggers.",
    "Sorry to hear that! Have you tried to turn it off and on again?",
    "Apologies, the right figure is 42 %.",
]


@pytest.mark.parametrize("text", REFUSALS)
def test_refusals_are_known_by_their_opening(text: str) -> None:
    refused = example({"role": "user", "content": "do it"}, {"role": "assistant", "content": text})
    assert judge(refused) is Reason.REFUSED
    assert judge(refused, keep_refusals=True) is Reason.KEPT


@pytest.mark.parametrize("text", NOT_REFUSALS)
def test_an_answer_that_says_what_cannot_be_done_is_no_refusal(text: str) -> None:
    assert not is_refusal(text)


def test_a_long_answer_is_no_refusal() -> None:
    assert not is_refusal(REFUSALS[0] + " But here is what I can do." + " More." * 100)


@pytest.mark.parametrize(
    "said",
    [
        {"role": "assistant", "content": None, "refusal": "No."},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]},
    ],
)
def test_a_refusal_that_the_model_marked(said: Message) -> None:
    told = example({"role": "user", "content": "do it"}, said)
    assert judge(told) is Reason.REFUSED
    assert judge(told, keep_refusals=True) is Reason.KEPT


def test_token_limits() -> None:
    assert judge(example(tokens=20), tokens_max=20, tokens_min=20) is Reason.KEPT
    assert judge(example(tokens=21), tokens_max=20) is Reason.TOO_LONG
    assert judge(example(tokens=19), tokens_min=20) is Reason.TOO_SHORT


ASKED: Message = {"role": "user", "content": "When?"}


@pytest.mark.parametrize(
    "messages",
    [
        [call(), result(), ANSWER],
        [calls(call("a"), call("b")), result("b"), result("a"), ANSWER],
        [call(), result(), ASKED, call(), result(), ANSWER],
        [call()],
        [call(), result(), calls(call("a"), call("b"))],
        [call(arguments="{}"), result(), ANSWER],
        [call(arguments='{"a": "\\ud83d"}'), result(), ANSWER],
        [{"role": "assistant", "content": None, "function_call": {"name": "old", "arguments": "{}"}},
         {"role": "function", "name": "old", "content": "9"}, ANSWER],
    ],
)  # fmt: skip
def test_tool_calls_that_belong_together(messages: list[Message]) -> None:
    assert judge(example(ASKED, *messages, tools=TOOLS)) is Reason.KEPT


@pytest.mark.parametrize(
    "messages",
    [
        pytest.param([call(), ANSWER], id="no result"),
        pytest.param([calls(call("a"), call("b")), result("a"), ANSWER], id="one result of two"),
        pytest.param([call(), ASKED, ANSWER], id="the user instead of a result"),
        pytest.param([call(), result(), result(), ANSWER], id="two results"),
        pytest.param([result(), ANSWER], id="a result without a call"),
        pytest.param([call("a"), result("b"), ANSWER], id="a result of another call"),
        pytest.param([call(), ASKED, result(), ANSWER], id="a result too late"),
        pytest.param([calls(call("a"), call("a")), result("a"), ANSWER], id="two calls of one id"),
        pytest.param([call(arguments='{"q": "tra'), result(), ANSWER], id="arguments cut off"),
        pytest.param([call(arguments="[1]"), result(), ANSWER], id="arguments that are no object"),
        pytest.param([call(arguments=""), result(), ANSWER], id="no arguments"),
        pytest.param([call(arguments={"q": 1}), result(), ANSWER], id="arguments that are no text"),
        pytest.param([call(arguments="{bad")], id="broken arguments in the answer"),
        pytest.param([call(name="unknown"), result(), ANSWER], id="a tool that was not offered"),
        pytest.param([call(name="unknown")], id="a tool that was not offered, in the answer"),
        pytest.param([{"role": "assistant", "tool_calls": [{"id": "a"}]}], id="a call of nothing"),
        pytest.param([{"role": "assistant", "tool_calls": ["a"]}], id="a call that is no object"),
        pytest.param([{"role": "assistant", "tool_calls": {"id": "a"}}], id="calls that are no array"),
        pytest.param([{"role": "function", "name": "old", "content": "9"}, ANSWER], id="a function without a call"),
    ],
)
def test_tool_calls_that_do_not(messages: list[Message]) -> None:
    assert judge(example(ASKED, *messages, tools=TOOLS)) is Reason.BROKEN_TOOLS


def test_without_tools_any_name_may_be_called() -> None:
    assert judge(example(ASKED, call(name="anything"), result(), ANSWER)) is Reason.KEPT


def test_a_custom_tool_takes_any_text() -> None:
    made = {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "a", "type": "custom", "custom": {"name": "sql", "input": "{"}}],
    }
    tools = [{"type": "custom", "custom": {"name": "sql"}}]
    assert judge(example(ASKED, made, result("a"), ANSWER, tools=tools)) is Reason.KEPT
    assert judge(example(ASKED, made, result("a"), ANSWER, tools=TOOLS)) is Reason.BROKEN_TOOLS


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
        {"type": "input_image", "image_url": "https://example.com/a.png"},
        {"type": "text", "text": "[image]"},
    ],
)
def test_images_are_dropped_when_they_are_not_wanted(part: Message) -> None:
    told = example({"role": "user", "content": [{"type": "text", "text": "what?"}, part]}, ANSWER)
    assert judge(told) is Reason.KEPT
    assert judge(told, images="drop") is Reason.IMAGES


def test_the_first_reason_counts() -> None:
    bad = example(ASKED, call(name="x"), {"role": "assistant", "content": REFUSALS[0]}, tokens=9, tools=TOOLS)
    options = {"tokens_max": 5, "images": "drop"}
    assert judge(bad, row(status=500, finish_reasons=["length"]), **options) is Reason.FAILED
    assert judge(bad, row(finish_reasons=["length"]), **options) is Reason.INCOMPLETE
    assert judge(bad, **options) is Reason.REFUSED
    assert judge(bad, keep_refusals=True, **options) is Reason.TOO_LONG
    assert judge(bad, keep_refusals=True) is Reason.BROKEN_TOOLS
