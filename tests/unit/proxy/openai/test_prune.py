"""What is cut off a call, by the rule of datasets, and that all else stays as it was written."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporters.datasets.formats.messages import pruned
from proxy.openai.prune import prune

TEXTS = ("Be brief.", "You are a bot.")
USER = ("Question:",)


@pytest.mark.parametrize(
    ("endpoint", "before", "after", "cut"),
    [
        (
            "chat",
            b'{"model":"m", "messages" : [ {"role":"system","content":"Be brief. Say \\u00e9"}, '
            b'{"content":"x" ,"role":"user"} ],"n":1e0}',
            b'{"model":"m", "messages" : [{"role":"system","content":"Say \xc3\xa9"},'
            b'{"content":"x" ,"role":"user"}],"n":1e0}',
            "Be brief. ",
        ),
        (
            "chat",
            b'{"messages":[{"role":"developer","content":"You are a bot."},{"role":"user","content":"x"}]}',
            b'{"messages":[{"role":"user","content":"x"}]}',
            "You are a bot.",
        ),
        (
            "chat",
            b'{"messages":[{"role":"system","content":[{"type":"text","text":"Be brief. Now"}]},'
            b'{"role":"user","content":"x"}]}',
            b'{"messages":[{"role":"system","content":[{"type":"text","text":"Now"}]},{"role":"user","content":"x"}]}',
            "Be brief. ",
        ),
        (
            "chat",
            b'{"messages":[{"role":"user","content":"Question: x"}]}',
            b'{"messages":[{"role":"user","content":"x"}]}',
            "Question: ",
        ),
        (
            "responses",
            b'{"instructions" : "Be brief. Now", "input":"Question: x"}',
            b'{"instructions" : "Now", "input":"x"}',
            "Be brief. Question: ",
        ),
        ("responses", b'{"input":"x","instructions":"Be brief."}', b'{"input":"x","instructions":null}', "Be brief."),
        (
            "responses",
            b'{"input":[{"type":"message","role":"system","content":[{"type":"input_text","text":"Be brief. A"}]},'
            b'{"type":"function_call","call_id":"c","name":"f","arguments":"{}"},'
            b'{"role":"user","content":"Question: q"}]}',
            b'{"input":[{"type":"message","role":"system","content":[{"type":"input_text","text":"A"}]},'
            b'{"type":"function_call","call_id":"c","name":"f","arguments":"{}"},{"role":"user","content":"q"}]}',
            "Be brief. Question: ",
        ),
    ],
)  # fmt: skip
def test_beginnings_are_cut_off(endpoint: Any, before: bytes, after: bytes, cut: str) -> None:
    assert prune(endpoint, before, TEXTS, USER) == (after, cut)


@pytest.mark.parametrize(
    ("endpoint", "body"),
    [
        ("completions", b'{"prompt":"Be brief. x"}'),
        ("embeddings", b'{"input":"Be brief. x"}'),
        ("chat", b'{"messages":[{"role":"system","content":"Be briefly."},{"role":"user","content":"Be brief. x"}]}'),
        ("chat", b'{"messages":[{"role":"system","content":"Be brief."}]}'),  # nothing would be left to answer
        ("chat", b'{"messages":[{"role":"user","content":"Question: 1"},{"role":"user","content":"Question: 2"}]}'),
        ("chat", b'{"messages":[{"role":"system","content":[{"type":"text","text":"Be brief. a"},{"type":"t"}]},1]}'),
        ("chat", b'{"messages":[{"role":"system","content":"Be brief. x"}],"messages":[{"role":"user"}]}'),
        ("chat", b'{"messages":7}'),
        ("chat", b"{}"),
        ("responses", b'{"input":null,"instructions":7}'),
    ],
)  # fmt: skip
def test_all_else_is_left_as_it_is(endpoint: Any, body: bytes) -> None:
    found = prune(endpoint, body, TEXTS, USER)
    assert found.body is body
    assert found.cut == ""


ROLES = st.sampled_from(["system", "developer", "user", "assistant"])
SAID = st.sampled_from(["", "Be brief.", "Be brief. Now", "You are a bot.\nHi", "Question: x", "Question:", "x"])
CHATS = st.lists(st.fixed_dictionaries({"role": ROLES, "content": SAID}), max_size=5)


@given(CHATS)
def test_chats_are_cut_as_datasets_are(messages: list[dict[str, str]]) -> None:
    body = json.dumps({"messages": messages}).encode()
    found = prune("chat", body, TEXTS, USER)
    after = json.loads(found.body)["messages"]
    assert after == (pruned(messages, TEXTS, USER) or messages)
    assert len(found.cut) == _characters(messages) - _characters(after)


def _characters(messages: list[dict[str, str]]) -> int:
    return sum(len(message["content"]) for message in messages)


@given(st.binary(max_size=40) | st.text(max_size=20).map(lambda text: json.dumps({"messages": [text]}).encode()))
def test_it_never_raises(body: bytes) -> None:
    prune("chat", body, TEXTS, USER)
