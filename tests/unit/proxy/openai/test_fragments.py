"""Usage out of the end of a long reply, and out of single messages of a session."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.openai.fragments import event_facts, tail_facts
from proxy.openai.usage import Usage

DOCUMENT = (
    b'{"object":"list","data":[{"embedding":[0.1,0.2]}],"model":"m","usage" : {"prompt_tokens":8,"total_tokens":8}}'
)


@pytest.mark.parametrize("cut", range(len(DOCUMENT)))
def test_the_end_is_enough_as_long_as_it_holds_the_usage(cut: int) -> None:
    found = tail_facts(DOCUMENT[cut:])
    if cut <= DOCUMENT.index(b'"usage"'):
        assert found is not None
        assert found.usage == Usage(input_tokens=8)
    else:
        assert found is None


def test_text_that_looks_like_usage_does_not_count() -> None:
    assert tail_facts(b'"usage": {"broken": ') is None
    assert tail_facts(b'{"text":"\\"usage\\": {\\"prompt_tokens\\": 5}"}') is None


def test_the_last_usage_counts() -> None:
    found = tail_facts(b'"usage":{"prompt_tokens":1},"usage":{"prompt_tokens":2}')
    assert found is not None
    assert found.usage == Usage(input_tokens=2)


def event(kind: str, **usage: int) -> bytes:
    response = {"id": "resp_1", "model": "gpt-5", "service_tier": "default", "usage": usage}
    return json.dumps({"type": kind, "response": response}).encode()


def test_a_finished_response_adds_to_what_was_before() -> None:
    first = event_facts(event("response.done", input_tokens=3, output_tokens=1), None)
    assert first is not None
    second = event_facts(event("response.completed", input_tokens=4, output_tokens=2), first.usage)
    assert second is not None
    assert second.usage == Usage(input_tokens=7, output_tokens=3)
    assert (second.response_id, second.response_model, second.service_tier) == ("resp_1", "gpt-5", "default")


@pytest.mark.parametrize(
    "message",
    [
        event("response.created", input_tokens=3),
        b'{"type":"response.done","response":[]}',
        b'{"type":["response.done"]}',
        b'["response.done"]',
        b"\xff",
        b"[" * 100_000,
    ],
)
def test_other_messages_say_nothing(message: bytes) -> None:
    assert event_facts(message, None) is None


@given(st.binary())
def test_nothing_raises(data: bytes) -> None:
    tail_facts(b'"usage":{' + data)
    event_facts(data, None)
