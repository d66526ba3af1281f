"""A rewritten body differs in one thing in what the body means and nothing else in how it is written."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.openai.rewrite import ask_for_usage, fill_prompt_cache_key, set_model, set_service_tier


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b'{"a":1}', b'{"stream_options":{"include_usage":true},"a":1}'),
        (b' \n{ }\n', b' \n{"stream_options":{"include_usage":true} }\n'),
        (b'{"stream_options": null, "n":1.0}', b'{"stream_options": {"include_usage":true}, "n":1.0}'),
        (b'{"stream_options":{}}', b'{"stream_options":{"include_usage":true}}'),
        (b'{"stream_options" : { "x" :1 }}', b'{"stream_options" : {"include_usage":true, "x" :1 }}'),
        (b'{"stream_options":{"include_usage":false}}', b'{"stream_options":{"include_usage":true}}'),
        (b'{"stream_options":{"x":[{"include_usage":0}],"include_usage" : null}}',
         b'{"stream_options":{"x":[{"include_usage":0}],"include_usage" : true}}'),
        (b'{"m":[{"stream_options":7}],"s":"\\"stream_options\\":{","stream_options":{}}',
         b'{"m":[{"stream_options":7}],"s":"\\"stream_options\\":{","stream_options":{"include_usage":true}}'),
        (b'{"x":{"stream_options":{"include_usage":true}}}',
         b'{"stream_options":{"include_usage":true},"x":{"stream_options":{"include_usage":true}}}'),
        (b'{"stream\\u005foptions":{"a":1}}', b'{"stream\\u005foptions":{"include_usage":true,"a":1}}'),
        (b'{"a":1,"a":2}', b'{"stream_options":{"include_usage":true},"a":1,"a":2}'),
    ],
)  # fmt: skip
def test_spliced(before: bytes, after: bytes) -> None:
    assert ask_for_usage(before) == after


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b"not json",
        b'{"a":1} x',
        b'{"stream_options":{"include_usage":true}}',
        b'{"stream_options":{"include_usage":0}}',
        b'{"stream_options":{"include_usage":"no"}}',
        b'{"stream_options":7}',
        b'{"stream_options":[]}',
        b'{"stream_options":false}',
        b'{"stream_options":{},"stream_options":{}}',
        b'{"stream_options":null,"a":1,"stream_options":null}',
        b'{"stream_options":{"include_usage":false,"include_usage":false}}',
        b"[" * 100_000,
    ],
)
def test_left_alone(body: bytes) -> None:
    assert ask_for_usage(body) is None


KEYS = st.sampled_from(["model", "stream", "stream_options", "include_usage", 'quo"te', "\\", "é"]) | st.text(
    max_size=3
)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.text(max_size=6)
    | st.sampled_from(["{", "}", '"', "],"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)
OPTIONS = st.none() | st.fixed_dictionaries(
    {}, optional={"include_usage": st.sampled_from([None, False]), "include_obfuscation": st.booleans(), "x": JSON}
)
SEPARATORS = st.sampled_from([(",", ":"), (", ", ": "), (" ,\n", "\t: ")])


@given(
    st.dictionaries(KEYS.filter(lambda key: key != "stream_options"), JSON, max_size=4),
    st.dictionaries(KEYS.filter(lambda key: key != "stream_options"), JSON, max_size=2),
    st.just(...) | OPTIONS,
    SEPARATORS,
    st.booleans(),
)
def test_only_this_changes(
    first: dict[str, Any], last: dict[str, Any], options: Any, separators: tuple[str, str], escape: bool
) -> None:
    value = {**first, **({} if options is ... else {"stream_options": options}), **last}
    before = json.dumps(value, separators=separators, ensure_ascii=escape).encode()
    after = ask_for_usage(before)
    assert after is not None
    expected = {**value, "stream_options": {**(value.get("stream_options") or {}), "include_usage": True}}
    assert json.loads(after) == expected
    assert unspliced(before, after)


def unspliced(before: bytes, after: bytes) -> bool:
    """`after` is `before` with one insertion, or with one null or false replaced."""
    start = next((i for i, (a, b) in enumerate(zip(before, after, strict=False)) if a != b), len(before))
    for removed in (b"", b"null", b"false"):
        for back in range(4):  # the literals begin with letters that the insertion may share
            place = max(0, start - back)
            rest = before[place + len(removed) :]
            if before[place:].startswith(removed) and after.endswith(rest) and len(after) >= place + len(rest):
                added = after[place : len(after) - len(rest)]
                if len(added) <= len(b'"stream_options":{"include_usage":true},'):
                    return True
    return False


@given(st.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode()))
def test_never_raises(body: bytes) -> None:
    after = ask_for_usage(body)
    assert after is None or json.loads(after)["stream_options"]["include_usage"] is True


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b'{"a":1.0}', b'{"prompt_cache_key":"ps-1","a":1.0}'),
        (b" \n{ }\n", b' \n{"prompt_cache_key":"ps-1" }\n'),
        (b'{"a" : 1, "prompt_cache_key" : null }', b'{"a" : 1, "prompt_cache_key" : "ps-1" }'),
        (b'{"prompt_cache\\u005fkey":null}', b'{"prompt_cache\\u005fkey":"ps-1"}'),
        (b'{"m":{"prompt_cache_key":"x"}}', b'{"prompt_cache_key":"ps-1","m":{"prompt_cache_key":"x"}}'),
        (b'{"m":"\\"prompt_cache_key\\":null","prompt_cache_key":null}',
         b'{"m":"\\"prompt_cache_key\\":null","prompt_cache_key":"ps-1"}'),
    ],
)  # fmt: skip
def test_a_prompt_cache_key_is_filled_in(before: bytes, after: bytes) -> None:
    assert fill_prompt_cache_key(before, "ps-1") == after


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b'{"a":1} x',
        b'{"prompt_cache_key":"own"}',
        b'{"prompt_cache_key":""}',
        b'{"prompt_cache_key":7}',
        b'{"prompt_cache_key":false}',
        b'{"prompt_cache_key":"own","prompt_cache_key":null}',
        b'{"prompt_cache_key":null,"prompt_cache_key":null}',
        b'{"prompt_cache_key":null,"prompt_cache_key":"own"}',
        b"[" * 100_000,
    ],
)
def test_a_prompt_cache_key_is_left_alone(body: bytes) -> None:
    assert fill_prompt_cache_key(body, "ps-1") is None


@given(
    st.dictionaries(KEYS.filter(lambda key: key != "prompt_cache_key"), JSON, max_size=4),
    st.dictionaries(KEYS.filter(lambda key: key != "prompt_cache_key"), JSON, max_size=2),
    st.sampled_from([{}, {"prompt_cache_key": None}]),
    SEPARATORS,
    st.booleans(),
)
def test_only_the_key_is_added(
    first: dict[str, Any], last: dict[str, Any], key: dict[str, Any], separators: tuple[str, str], escape: bool
) -> None:
    value = {**first, **key, **last}
    before = json.dumps(value, separators=separators, ensure_ascii=escape).encode()
    after = fill_prompt_cache_key(before, "ps-1")
    assert after is not None
    assert json.loads(after) == {**value, "prompt_cache_key": "ps-1"}
    removed, added = (b"null", b'"ps-1"') if key else (b"", b'"prompt_cache_key":"ps-1"' + (b"," if value else b""))
    start = after.index(added)
    assert after == before[:start] + added + before[start + len(removed) :]


@given(st.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode()))
def test_filling_in_never_raises(body: bytes) -> None:
    after = fill_prompt_cache_key(body, "ps-1")
    assert after is None or json.loads(after)["prompt_cache_key"] == "ps-1"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b'{"a":1}', b'{"service_tier":"flex","a":1}'),
        (b'{"a":1 , "service_tier" : "default"}', b'{"a":1 , "service_tier" : "flex"}'),
        (b'{"service_tier":null,"n":1.0}', b'{"service_tier":"flex","n":1.0}'),
        (b'{"service_tier":"a\\"}","n":1e2}', b'{"service_tier":"flex","n":1e2}'),
        (b'{"x":{"service_tier":"auto"}}', b'{"service_tier":"flex","x":{"service_tier":"auto"}}'),
        (b'{"service\\u005ftier":"auto"}', b'{"service\\u005ftier":"flex"}'),
        (b'{"m":"service_tier","service_tier":""}', b'{"m":"service_tier","service_tier":"flex"}'),
    ],
)
def test_the_service_tier_is_set(before: bytes, after: bytes) -> None:
    assert set_service_tier(before, "flex") == after


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{", b'{"service_tier":7}', b'{"service_tier":{}}', b'{"service_tier":"a","service_tier":"b"}'],
)
def test_a_service_tier_is_left_alone(body: bytes) -> None:
    assert set_service_tier(body, "flex") is None


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b'{"model":"a"}', b'{"model":"b\\"c"}'),
        (b' { "n":1e0 , "model" : "a\\"}" , "x":{"model":1}}', b' { "n":1e0 , "model" : "b\\"c" , "x":{"model":1}}'),
        (b'{"mod\\u0065l":"a","m":["model","a"]}', b'{"mod\\u0065l":"b\\"c","m":["model","a"]}'),
        (b'{"mod\\u0065l":"a","x":{"model":"a"}}', b'{"mod\\u0065l":"b\\"c","x":{"model":"a"}}'),
        (b'{"mod\\u0065l":"a","x":{"model":{"y":1}}}', b'{"mod\\u0065l":"b\\"c","x":{"model":{"y":1}}}'),
        (b'{"x":"\\"model\\":1","model":"a"}', b'{"x":"\\"model\\":1","model":"b\\"c"}'),
        (b'{"model":"a","mod\\u0065l":"a"}', None),
        (b'{"mod\\u0065l":"a","model":"a"}', None),
        (b'{"x":"model","model":"a"}', b'{"x":"model","model":"b\\"c"}'),
        (b'{"model":"a","model":"a"}', None),
    ],
)
def test_the_model_is_set(before: bytes, after: bytes | None) -> None:
    assert set_model(before, 'b"c') == after


@given(
    st.dictionaries(st.sampled_from(["a", "model", "x"]), JSON, max_size=3),
    st.sampled_from([(",", ":"), (" , ", " : ")]),
)
def test_only_the_model_is_another(rest: dict[str, Any], separators: tuple[str, str]) -> None:
    before = {"first": rest, "model": "bot", "last": [rest]}
    after = set_model(json.dumps(before, separators=separators).encode(), "tuned")
    assert after == json.dumps({**before, "model": "tuned"}, separators=separators).encode()
