"""Keys for the provider's prompt cache: equal beginnings have equal keys, whatever comes after them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from proxy.openai.prompt_cache import caller_key, prefix_key, session_key

SYSTEM = {"role": "system", "content": "Be brief. é"}
DEVELOPER = {"role": "developer", "content": [{"type": "text", "text": "Use tools."}]}
USER = {"role": "user", "content": "Hello"}
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]


def key(**body: Any) -> str:
    return prefix_key(json.dumps(body).encode())


def test_the_beginning_of_a_chat_is_its_system_and_developer_messages_and_tools() -> None:
    base = key(messages=[SYSTEM, DEVELOPER, USER], tools=TOOLS)
    assert base.startswith("ps-")
    assert key(messages=[SYSTEM, DEVELOPER], tools=TOOLS, model="m", temperature=1, metadata={"a": "b"}) == base
    assert key(messages=[SYSTEM, DEVELOPER, USER, SYSTEM, USER], tools=TOOLS) == base
    others = [
        key(messages=[SYSTEM, USER], tools=TOOLS),
        key(messages=[DEVELOPER, SYSTEM, USER], tools=TOOLS),
        key(messages=[SYSTEM | {"content": "Be brief."}, DEVELOPER, USER], tools=TOOLS),
        key(messages=[SYSTEM, DEVELOPER, USER], tools=TOOLS * 2),
        key(messages=[SYSTEM, DEVELOPER, USER]),
        key(messages=[USER, SYSTEM, DEVELOPER], tools=TOOLS),
    ]
    assert len({base, *others}) == len(others) + 1


def test_the_beginning_of_a_response_is_its_instructions_and_tools() -> None:
    base = key(instructions="Be brief.", input="Hello", tools=TOOLS)
    assert key(instructions="Be brief.", input=[USER], tools=TOOLS, previous_response_id="resp_1") == base
    assert key(instructions="Be brief!", input="Hello", tools=TOOLS) != base
    assert key(instructions="Be brief.", input=[SYSTEM, USER], tools=TOOLS) not in (base, "")


def test_a_stored_prompt_is_the_same_whatever_its_variables_are() -> None:
    base = key(input="x", prompt={"id": "pmpt_1", "version": "2", "variables": {"name": "Ada"}})
    assert base == key(input="y", prompt={"id": "pmpt_1", "version": "2", "variables": {"name": "Bob"}})
    assert base != key(input="x", prompt={"id": "pmpt_1", "version": "3"})
    assert base != ""


def test_the_way_it_is_written_makes_no_difference() -> None:
    body = {"messages": [SYSTEM, USER], "tools": TOOLS}
    plain = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
    assert prefix_key(plain) == prefix_key(json.dumps(body, indent=2).encode())


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"messages": [USER]},
        {"messages": []},
        {"messages": None, "tools": None},
        {"messages": "x"},
        {"messages": [7, SYSTEM]},
        {"input": "x", "instructions": None},
        {"input": "x", "instructions": ""},
        {"tools": [], "messages": [USER]},
        {"prompt": "text of a completion"},
    ],
)
def test_without_a_beginning_there_is_no_key(body: Any) -> None:
    assert prefix_key(json.dumps(body).encode()) == ""


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{", b'{"messages":[{"role":"system"', b"[" * 100_000, rb'{"instructions":"\ud83d"}']
)
def test_what_cannot_be_read_has_no_key(body: bytes) -> None:
    assert prefix_key(body) == ""


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
MESSAGE = st.fixed_dictionaries(
    {"role": st.sampled_from(["system", "developer", "user", "assistant"]), "content": JSON}
)


@given(
    st.lists(MESSAGE, max_size=4),
    st.lists(MESSAGE, max_size=4),
    st.none() | st.lists(JSON, max_size=3),
    st.dictionaries(st.text(max_size=5), JSON),
)
def test_what_comes_after_the_first_user_message_never_matters(
    first: list[Any], later: list[Any], tools: Any, rest: dict[str, Any]
) -> None:
    assume(not {"messages", "tools", "instructions", "input", "prompt"} & set(rest))
    short = key(messages=[*first, USER], tools=tools)
    assert key(**rest, messages=[*first, USER, *later], tools=tools) == short
    assert len(short) <= 64


@given(st.binary(max_size=80) | JSON.map(lambda value: json.dumps(value).encode()))
def test_never_raises(body: bytes) -> None:
    assert len(prefix_key(body)) <= 64


def test_keys_of_sessions_and_callers() -> None:
    secret = b"Bearer sk-secret-secret-secret"
    keys = [
        session_key("talk-1"),
        session_key("talk-2"),
        session_key("x" * 512),
        session_key("half \ud83d"),
        caller_key("talk-1", secret),
        caller_key("", secret),
        caller_key("", b"Bearer sk-other"),
    ]
    assert len(set(keys)) == len(keys)
    assert all(len(one) == 35 and one.isascii() and "secret" not in one and "talk" not in one for one in keys)
    assert caller_key("talk-1", b"") == caller_key("talk-1", secret)
    assert (session_key(""), caller_key("", b"")) == ("", "")
