"""JSON and calls compared as values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from finetune.errors import FinetuneError
from finetune.evaluation.structured import (
    ABSENT,
    check_schema,
    document_of,
    json_of,
    same,
    schema_of,
    unusable_schema,
    violation,
    wrong_call,
)
from tests.unit.finetune.evaluation.cases import call


def test_json_is_json_without_words_around_it() -> None:
    assert json_of(' {"a": 1}\n') == {"a": 1}
    assert json_of('```json\n{"a": 1}\n```') is ABSENT
    assert json_of("NaN") is ABSENT
    assert json_of("[" * 100_000) is ABSENT
    assert json_of("5") == 5
    assert document_of("5") is ABSENT


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ({"a": 1, "b": [2.0]}, {"b": [2], "a": 1.0}, True),
        (1, True, False),
        ([1, 2], [2, 1], False),
        ("1", 1, False),
        (2**53 + 1, float(2**53), False),
    ],
)
def test_values_are_the_same(one: Any, other: Any, is_same: bool) -> None:
    assert same(one, other) is is_same


SCHEMA = {"type": "object", "required": ["city"], "properties": {"city": {"type": "string"}}}


@pytest.mark.filterwarnings("ignore:Automatically retrieving remote references")
def test_a_schema_says_which_rule_is_broken_and_never_the_value(tmp_path: Path) -> None:
    assert violation({"city": "Rome"}, SCHEMA) is None
    assert violation({}, SCHEMA) == "required at $"
    assert violation({"city": 3}, SCHEMA) == "type at $.city"
    elsewhere = tmp_path / "else.json"
    elsewhere.write_text('{"type": "object"}')
    assert violation({}, {"$ref": elsewhere.as_uri()}) == "$ref", "nothing is fetched"
    with pytest.raises(FinetuneError, match="here is no JSON schema"):
        check_schema({"type": "objekt"}, "here")
    with pytest.raises(FinetuneError, match="here is no JSON schema"):
        check_schema(["x"], "here")


WANTED = [call("find", {"city": "Rome", "day": 2}), call("book", {})]


@pytest.mark.parametrize(
    ("said", "wrong"),
    [
        ([call("book", ""), call("find", '{"day": 2.0, "city": "Rome"}')], None),
        ([call("book", {}), call("find", {"city": "Oslo", "day": 2})], "other arguments for find"),
        ([call("find", {"city": "Rome", "day": 2})], "did not call book"),
        ([call("find", {"city": "Rome", "day": 2}), call("look", {})], "did not call book but look"),
        ([*WANTED, WANTED[1]], "called book"),
        ([call("book", {}), call("find", '{"city": "Rome", ')], "other arguments for find"),
        ([], "did not call book, find"),
    ],
)
def test_calls_are_those_that_were_wanted(said: list[dict[str, Any]], wrong: str | None) -> None:
    assert wrong_call(said, WANTED) == wrong


def test_a_call_in_a_strange_shape_is_a_wrong_one() -> None:
    assert wrong_call([{"function": "find"}, {}], WANTED) is not None


def test_what_is_nested_too_deeply_to_be_looked_into_is_like_nothing() -> None:
    deep = "[" * 900 + "]" * 900
    assert json_of(deep) is not ABSENT
    assert not same(json_of(deep), json_of(deep))
    assert wrong_call([call("find", deep)], [call("find", "{}")]) == "other arguments for find"


@pytest.mark.parametrize(
    "schema",
    [{"type": "objekt"}, {"pattern": "^\\p{Lu}"}, {"$schema": {}}, {"properties": {"a": 5}}, {"required": "x"}],
)
def test_a_schema_that_answers_cannot_be_held_against_is_none(schema: Any) -> None:
    asked = {"type": "json_schema", "json_schema": {"schema": schema}}
    assert schema_of(asked) is None
    assert unusable_schema(asked).startswith("it is no JSON schema")
    asked["json_schema"] = {"schema": SCHEMA}
    assert (schema_of(asked), unusable_schema(asked)) == (SCHEMA, "")
