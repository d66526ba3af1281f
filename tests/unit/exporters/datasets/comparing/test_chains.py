"""A conversation is found inside a longer one, whatever clients do to an answer that they send back."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporters.datasets.comparing.chains import chain
from exporters.datasets.example import Example, Message


def example(*messages: Message, **fields: Any) -> Example:
    return Example(request_id="r", timestamp_ns=1, messages=list(messages), **fields)


def said(role: str, content: Any, **fields: Any) -> Message:
    return {"role": role, "content": content, **fields}


SYSTEM = said("system", "Be brief.")
ONE = (said("user", "Hello"), said("assistant", "Hi, how can I help?"))
TWO = (*ONE, said("user", "My parcel is late."), said("assistant", "I am sorry."))
CALL = {"id": "call_1", "type": "function", "function": {"name": "find", "arguments": '{"id": 7, "all": true}'}}
LOOKED_UP = (said("user", "Where is it?"), said("assistant", None, tool_calls=[CALL]))


def contains(longer: Example, shorter: Example) -> bool:
    return chain(shorter).whole in chain(longer).prefixes


def test_a_beginning_is_in_the_longer_conversation_and_not_the_other_way_round() -> None:
    assert contains(example(SYSTEM, *TWO), example(SYSTEM, *ONE))
    assert not contains(example(SYSTEM, *ONE), example(SYSTEM, *TWO))
    assert not contains(example(SYSTEM, *TWO), example(SYSTEM, *TWO))


@pytest.mark.parametrize(
    "sent_back",
    [
        said("assistant", "  Hi, how can I help?\n"),
        said("assistant", [{"type": "text", "text": "Hi, how can I help?"}]),
        said("assistant", "Hi, how can I help?", refusal=None, annotations=[]),
    ],
)
def test_what_clients_change_in_an_answer_does_not_count(sent_back: Message) -> None:
    longer = example(SYSTEM, ONE[0], sent_back, *TWO[2:])
    assert contains(longer, example(SYSTEM, *ONE))


def test_another_answer_counts() -> None:
    longer = example(SYSTEM, ONE[0], said("assistant", "Hi, how can I help you?"), *TWO[2:])
    assert not contains(longer, example(SYSTEM, *ONE))


def test_the_spelling_and_id_of_a_tool_call_do_not_count_but_its_arguments_do() -> None:
    def continued(arguments: str) -> Example:
        call = {"id": "other", "type": "function", "function": {"name": "find", "arguments": arguments}}
        asked = said("assistant", None, tool_calls=[call])
        result = said("tool", "{}", tool_call_id="other")
        return example(LOOKED_UP[0], asked, result, said("assistant", "In Bonn."))

    assert contains(continued('{"all":true,"id":7}'), example(*LOOKED_UP))
    assert not contains(continued('{"all":true,"id":8}'), example(*LOOKED_UP))


def test_within_a_session_the_system_prompt_may_change() -> None:
    later = said("system", "Be brief. It is noon.")
    assert contains(example(later, *TWO, session="s"), example(SYSTEM, *ONE, session="s"))
    assert not contains(example(later, *TWO), example(SYSTEM, *ONE))


def test_conversations_of_two_sessions_or_users_are_two() -> None:
    assert not contains(example(*TWO, session="a"), example(*ONE, session="b"))
    assert not contains(example(*TWO, user="a"), example(*ONE, user="b"))


def test_images_count() -> None:
    def shown(url: str) -> Message:
        return said("user", [{"type": "text", "text": "What is it?"}, {"type": "image_url", "image_url": {"url": url}}])

    def asked(url: str, *rest: Message) -> Example:
        return example(shown(url), said("assistant", "A cat."), *rest)

    more = (said("user", "Sure?"), said("assistant", "Yes."))
    assert contains(asked("https://x.test/1", *more), asked("https://x.test/1"))
    assert not contains(asked("https://x.test/2", *more), asked("https://x.test/1"))


def test_a_corrected_call_is_known_by_what_was_said() -> None:
    corrected = example(SYSTEM, ONE[0], said("assistant", "Better."), rejected=[ONE[1]])
    assert chain(corrected).whole == chain(example(SYSTEM, *ONE)).whole


def test_a_template_is_the_prompt_s_name_or_else_the_system_prompt() -> None:
    noon = said("system", "Be brief. It is noon.")
    assert chain(example(SYSTEM, *ONE)).template != chain(example(noon, *ONE)).template != bytes(8)
    assert (
        chain(example(SYSTEM, *ONE, prompt_name="p")).template == chain(example(noon, *ONE, prompt_name="p")).template
    )
    assert chain(example(*ONE)).template == bytes(8)


TURNS = st.lists(st.sampled_from(["yes", "no", "why?", ""]), min_size=2, max_size=8)


@given(TURNS)
def test_every_earlier_call_of_a_conversation_is_in_the_last(texts: list[str]) -> None:
    messages: list[Message] = []
    calls = []
    for text in texts:
        messages += [said("user", text), said("assistant", f"You said {text}.")]
        calls.append(example(*messages))
    names = set(chain(calls[-1]).prefixes)
    assert [chain(call).whole in names for call in calls] == [True] * (len(calls) - 1) + [False]
    assert len({chain(call).root for call in calls}) == 1
