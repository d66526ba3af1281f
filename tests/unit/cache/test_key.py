"""Equal meaning, equal key; what may change the answer, another key."""

from __future__ import annotations

import copy
import json
import random
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from cache.key import Question, scope

ENDPOINTS = ("chat", "completions", "responses", "embeddings", "moderations")
IGNORED: dict[str, Any] = {
    "stream": True,
    "stream_options": {"include_usage": True},
    "user": "u1",
    "safety_identifier": "s1",
    "metadata": {"a": "b"},
    "store": False,
    "service_tier": "flex",
    "prompt_cache_key": "p",
    "prompt_cache_retention": "24h",
    "prompt_cache_options": {},
}
DEFAULTS: dict[str, dict[str, Any]] = {
    "chat": {"n": 1, "logprobs": False, "background": False, "response_format": {"type": "text"}},
    "completions": {"n": 1, "best_of": 1, "echo": False},
    "responses": {
        "background": False,
        "truncation": "disabled",
        "include": [],
        "text": {"format": {"type": "text"}},
    },
    "embeddings": {"encoding_format": "float"},
    "moderations": {},
}
OPENAI_DEFAULTS: dict[str, dict[str, Any]] = {
    "chat": {
        "temperature": 1,
        "top_p": 1.0,
        "presence_penalty": 0,
        "frequency_penalty": 0.0,
        "parallel_tool_calls": True,
        "modalities": ["text"],
    },
    "completions": {"temperature": 1, "top_p": 1, "presence_penalty": 0, "frequency_penalty": 0, "max_tokens": 16},
    "responses": {"temperature": 1.0, "top_p": 1, "parallel_tool_calls": True},
    "embeddings": {},
    "moderations": {"model": "omni-moderation-latest"},
}

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
numbers = st.integers(-(2**40), 2**40) | st.floats(-1e6, 1e6, allow_nan=False)
leaves = st.none() | st.booleans() | numbers | texts
values = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4), max_leaves=12
)
inputs = {
    "chat": "messages",
    "completions": "prompt",
    "responses": "input",
    "embeddings": "input",
    "moderations": "input",
}
FIELDS = (
    "temperature",
    "top_p",
    "n",
    "seed",
    "stop",
    "tools",
    "tool_choice",
    "logprobs",
    "max_tokens",
    "response_format",
    "text",
    "include",
    "dimensions",
    "echo",
    "instructions",
    "background",
    "unheard_of",
)
fields = st.sampled_from(FIELDS)


@st.composite
def questions(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    endpoint = draw(st.sampled_from(ENDPOINTS))
    document = draw(st.dictionaries(fields, values, max_size=5))
    document |= {"model": draw(texts), inputs[endpoint]: draw(values)}
    return endpoint, document


def key_of(endpoint: str, document: Any, provider: str = "openai", **around: str) -> str:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    question = Question.read(endpoint, body)
    assert question is not None
    whole = {"scope": "s", "upstream": "u", "provider": provider, "query": "", **around}
    return question.key(**whole)


def shuffled(value: Any, chance: random.Random) -> Any:
    """The same value, its objects in another order and its whole numbers written differently."""
    if isinstance(value, dict):
        names = list(value)
        chance.shuffle(names)
        return {name: shuffled(value[name], chance) for name in names}
    if isinstance(value, list):
        return [shuffled(item, chance) for item in value]
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value == int(value) and abs(value) < 2**50:
        return chance.choice([int(value), float(value)])
    return value


@given(questions(), st.randoms(use_true_random=False), st.booleans(), st.sampled_from(["openai", "vllm"]))
def test_the_same_question_written_differently_has_the_same_key(
    question: tuple[str, dict[str, Any]], chance: random.Random, ascii_only: bool, provider: str
) -> None:
    endpoint, document = question
    rewritten = dict(document)
    rewritten |= {name: value for name, value in IGNORED.items() if chance.random() < 0.5}
    defaults = DEFAULTS[endpoint] | (OPENAI_DEFAULTS[endpoint] if provider == "openai" else {})
    rewritten |= {name: value for name, value in defaults.items() if name not in document and chance.random() < 0.5}
    if "max_completion_tokens" not in document:
        rewritten["max_completion_tokens"] = None
    text = json.dumps(shuffled(rewritten, chance), ensure_ascii=ascii_only, indent=chance.choice([None, 2]))
    assert key_of(endpoint, text.encode(), provider) == key_of(endpoint, document, provider)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every path into `value`."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path] * bool(path) + [deeper for name, item in inner for deeper in places(item, (*path, name))]


def other_than(value: Any, chance: random.Random) -> Any:
    """Another value, never null, and often only just another."""
    if isinstance(value, bool):
        return chance.choice([not value, int(value), str(value)])
    if isinstance(value, (int, float)):
        return chance.choice([value + 1, -value - 1, str(value)])
    if isinstance(value, str):
        return chance.choice([value + " ", value + "x", [value], f"x{value}"])
    if isinstance(value, list):
        return chance.choice([[*value, None], [value], [*value, *value, 0]])
    if isinstance(value, dict):
        return chance.choice([{**value, "added name": None}, [value]])
    return chance.choice([{}, "", "null", ["x"]])


@given(questions(), st.randoms(use_true_random=False), st.sampled_from(["openai", "vllm"]))
def test_a_change_anywhere_gives_another_key(
    question: tuple[str, dict[str, Any]], chance: random.Random, provider: str
) -> None:
    endpoint, document = question
    changed = copy.deepcopy(document)
    path = chance.choice(places(changed))
    parent = changed
    for step in path[:-1]:
        parent = parent[step]
    before, after = parent[path[-1]], other_than(parent[path[-1]], chance)
    defaults = DEFAULTS[endpoint] | OPENAI_DEFAULTS[endpoint]
    # A null at the top is as good as the field's default.
    assume(not (len(path) == 1 and before is None and after == defaults.get(path[0], ())))
    parent[path[-1]] = after
    assert key_of(endpoint, changed, provider) != key_of(endpoint, document, provider)


@given(questions(), st.randoms(use_true_random=False))
def test_what_is_left_out_or_in_another_order_gives_another_key(
    question: tuple[str, dict[str, Any]], chance: random.Random
) -> None:
    endpoint, document = question
    changed = copy.deepcopy(document)
    path = chance.choice(places(changed))
    parent = changed
    for step in path[:-1]:
        parent = parent[step]
    gone = parent[path[-1]]
    if isinstance(parent, list) and len(parent) > 1 and json.dumps(parent) != json.dumps(parent[::-1]):
        parent.reverse()
    else:
        assume(len(path) > 1 or (gone is not None and gone != DEFAULTS[endpoint].get(path[0], ())))
        del parent[path[-1]]
    assert key_of(endpoint, changed, "vllm") != key_of(endpoint, document, "vllm")


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_the_defaults_of_openai_are_not_those_of_others(endpoint: str) -> None:
    bare = {inputs[endpoint]: "x"}
    for name, value in OPENAI_DEFAULTS[endpoint].items():
        assert key_of(endpoint, {**bare, name: value}, "openai") == key_of(endpoint, bare, "openai")
        assert key_of(endpoint, {**bare, name: value}, "vllm") != key_of(endpoint, bare, "vllm")


def test_a_default_of_another_type_is_no_default() -> None:
    bare = {"prompt": "x"}
    assert key_of("completions", {**bare, "echo": 0}) != key_of("completions", bare)
    assert key_of("chat", {"messages": [], "n": True}) != key_of("chat", {"messages": []})


@pytest.mark.parametrize("name", ["scope", "upstream", "provider", "query"])
def test_all_that_is_around_the_body_is_part_of_the_key(name: str) -> None:
    body = {"model": "m", "messages": []}
    around = {"scope": "a", "upstream": "b", "provider": "c", "query": "d"}
    assert key_of("chat", body, **around) != key_of("chat", body, **{**around, name: "e"})


def test_the_endpoint_is_part_of_the_key() -> None:
    assert len({key_of(endpoint, {"model": "m", "input": "x"}) for endpoint in ENDPOINTS}) == len(ENDPOINTS)


def test_parts_do_not_run_into_each_other() -> None:
    body = {"messages": []}
    assert key_of("chat", body, upstream="ab", query="c") != key_of("chat", body, upstream="a", query="bc")
    assert key_of("chat", body, upstream='a","b', query="") != key_of("chat", body, upstream="a", query='b","')


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"1",
        b'"text"',
        b"{",
        b'{"a":"\xff"}',
        b'{"a":"\\ud800"}',
        b'{"a":"\\udc00x"}',
        b'{"a":1e400}',
        b'{"a":NaN}',
        b'{"a":' + b"9" * 5000 + b"}",
        b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"a":1}{"a":1}',
        '{"a":1}'.encode("utf-16"),
    ],
)
@pytest.mark.parametrize("shared", [False, True])
def test_a_body_that_cannot_be_understood_is_no_question(body: bytes, shared: bool) -> None:
    assert Question.read("chat", body, shared=shared) is None


def test_an_endpoint_that_is_not_parsed_has_no_questions() -> None:
    assert Question.read("other", b"{}") is None


@given(st.binary(max_size=40) | st.text(max_size=40).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_no_body_raises(body: bytes) -> None:
    question = Question.read("chat", body, shared=True)
    if question is not None:
        assert len(question.key(scope="", upstream="", provider="")) == 64
        assert isinstance(question.obstacle, str)


@given(questions())
def test_no_document_raises(question: tuple[str, dict[str, Any]]) -> None:
    endpoint, document = question
    read = Question.read(endpoint, json.dumps(document).encode(), shared=True)
    assert read is not None
    assert isinstance(read.obstacle, str)
    read.semantic()


@pytest.mark.parametrize(
    "body",
    [b'{"n":1,"n":2}', b'{"messages":[{"role":"user","content":"a","content":"b"}]}', b'{"a":{"\\u0062":1,"b":1}}'],
)
def test_in_a_shared_namespace_a_name_given_twice_is_no_question(body: bytes) -> None:
    assert Question.read("chat", body, shared=True) is None
    assert Question.read("chat", body) is not None


def test_a_deep_document_is_read_or_refused_but_never_raises() -> None:
    for depth in range(100, 1500, 50):
        Question.read("chat", b'{"a":' * depth + b"1" + b"}" * depth, shared=True)


def test_tenants_have_scopes_of_their_own() -> None:
    mine = scope(key_id="k1", authorization=b"Bearer sk-1")
    assert scope(key_id="k1", authorization=b"Bearer sk-2") == mine
    scopes = {
        mine,
        scope(key_id="k2", authorization=b"Bearer sk-1"),
        scope(key_id="", authorization=b"Bearer sk-1"),
        scope(key_id="", authorization=b"Bearer sk-2"),
        scope(key_id="", authorization=b""),
        scope(key_id="", authorization=None),
        scope(key_id="", authorization=b"k1"),
        scope(key_id="k1", authorization=None, organization=b"o"),
        scope(key_id="k1", authorization=None, project=b"o"),
        scope(key_id="k1", authorization=None, namespace="o"),
        scope(key_id="k2", authorization=None, namespace="o"),
        scope(key_id="k2", authorization=None, namespace="o", shared=True),
    }
    assert len(scopes) == 12


def test_a_shared_namespace_is_the_same_for_all_and_one_without_a_name_is_never_shared() -> None:
    both = [scope(key_id=key, authorization=key.encode(), namespace="faq", shared=True) for key in ("a", "b")]
    assert both[0] == both[1]
    nameless = [scope(key_id=key, authorization=None, namespace="", shared=True) for key in ("a", "b")]
    assert nameless[0] != nameless[1]


@given(st.lists(st.binary(max_size=6), min_size=3, max_size=3), st.lists(st.binary(max_size=6), min_size=3, max_size=3))
def test_no_two_tenants_meet(one: list[bytes], other: list[bytes]) -> None:
    scopes = [
        scope(key_id="", authorization=parts[0], organization=parts[1], project=parts[2], namespace="n")
        for parts in (one, other)
    ]
    assert (scopes[0] == scopes[1]) is (one == other)


def test_a_scope_does_not_hold_the_key() -> None:
    assert "sk-secret" not in scope(key_id="", authorization=b"Bearer sk-secret")
