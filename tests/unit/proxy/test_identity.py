"""Whose call it is: OpenAI's fields first, then baggage, then our headers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from proxy.exchange import Exchange, RequestBody
from proxy.identity import TAGS_MAX, VALUE_CHARS_MAX, identify, read_tags
from proxy.openai.call import read_call


def identified(body: dict[str, Any] | None = None, **headers: str) -> Exchange:
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    exchange = Exchange(
        request_id="r",
        trace_id="t",
        span_id="s",
        parent_span_id="",
        trace_state="",
        start_ns=0,
        started_s=0.0,
        method="POST",
        path="/v1/chat/completions",
        query="",
        headers=raw,
        names=[name.lower() for name, _ in raw],
        fields={name.lower(): value for name, value in reversed(raw)},
        body=RequestBody(None, 0, 0),
        endpoint="chat",
    )
    exchange.call = read_call(json.dumps(body).encode()) if body is not None else None
    identify(exchange)
    return exchange


@pytest.mark.parametrize(
    ("body", "headers", "user"),
    [
        ({"safety_identifier": "s", "user": "u"}, {"x_penstock_user": "h"}, "s"),
        ({"user": "u"}, {"x_penstock_user": "h", "baggage": "user.id=b"}, "u"),
        ({"metadata": {"user_id": "m"}}, {"x_penstock_user": "h"}, "m"),
        ({}, {"x_penstock_user": "h", "baggage": "user.id=b"}, "b"),
        ({}, {"x_penstock_user": "é"}, "é"),
        ({"user": 5}, {"x_penstock_user": "h"}, "h"),
        ({"user": 5}, {}, ""),
        (None, {"x_penstock_user": "h"}, "h"),
        (None, {}, ""),
    ],
)
def test_the_user(body: dict[str, Any] | None, headers: dict[str, str], user: str) -> None:
    assert identified(body, **headers).user == user


@pytest.mark.parametrize(
    ("body", "headers", "session"),
    [
        ({"metadata": {"session_id": "m"}, "conversation": "c"}, {"x_penstock_session": "h"}, "m"),
        ({"conversation": "c", "prompt_cache_key": "k"}, {"x_penstock_session": "h"}, "c"),
        ({"conversation": {"id": "c"}}, {}, "c"),
        ({"prompt_cache_key": "k"}, {"x_penstock_session": "h"}, "h"),
        ({"prompt_cache_key": "k"}, {"baggage": "session.id=b"}, "b"),
        ({"prompt_cache_key": "k"}, {}, "k"),
    ],
)
def test_the_session(body: dict[str, Any], headers: dict[str, str], session: str) -> None:
    assert identified(body, **headers).session == session


def test_tags_are_metadata_and_header_together() -> None:
    exchange = identified({"metadata": {"app": "a", "n": 1}}, x_penstock_tags="app=b, team = blue ,fast,=x,q=1=2")
    assert exchange.tags == {"app": "a", "team": "blue", "fast": "true", "q": "1=2"}


def test_tags_are_bounded() -> None:
    many = identified({"metadata": {f"k{i}": "v" for i in range(1000)}}).tags
    assert len(many) == TAGS_MAX
    assert read_tags(f"{'n' * 100}={'v' * 1000}") == {"n" * 64: "v" * VALUE_CHARS_MAX}
    assert len(identified({"user": "u" * 1000}).user) == VALUE_CHARS_MAX


@pytest.mark.parametrize(
    ("body", "headers", "prompt"),
    [
        ({"prompt": {"id": "pmpt_1", "version": "2"}}, {}, ("pmpt_1", "2")),
        ({"prompt": "once upon a time"}, {"x_penstock_prompt": "greet@7"}, ("greet", "7")),
        ({"metadata": {"prompt_name": "m"}}, {"x_penstock_prompt": "greet"}, ("m", "")),
        ({"prompt": ["a", "b"]}, {}, ("", "")),
    ],
)
def test_the_prompt(body: dict[str, Any], headers: dict[str, str], prompt: tuple[str, str]) -> None:
    exchange = identified(body, **headers)
    assert (exchange.prompt_name, exchange.prompt_version) == prompt
