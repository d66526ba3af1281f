"""Answers that programs read: JSON, JSON that a schema describes, calls of tools. Compared as values, not as text."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

import jsonschema
import jsonschema.protocols
import jsonschema.validators
import msgspec
import referencing
import referencing.exceptions

from ..errors import FinetuneError

ABSENT: Final = object()
"""The value of a text that is no JSON."""
Schema = dict[str, Any] | bool


def json_of(text: str) -> Any:
    """What the text is in JSON, or `ABSENT`. No code fence, no words around it: a program would choke on them."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return ABSENT


def document_of(text: str) -> Any:
    """An object or array that the text is, or `ABSENT`: a word or a number may be JSON by chance."""
    value = json_of(text)
    return value if isinstance(value, dict | list) else ABSENT


def same(one: Any, other: Any) -> bool:
    """As JSON: whatever the order of names; 1 is 1.0 and not true. What is too deep to look into is like nothing."""
    try:
        return canonical(one) == canonical(other)
    except RecursionError:
        return False


def canonical(value: Any) -> str:
    """One text for all ways of writing a JSON value."""
    return msgspec.json.encode(_plain(value), order="sorted").decode()


def _plain(value: Any) -> Any:
    if isinstance(value, float) and math.isfinite(value) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value


def schema_of(response_format: dict[str, Any] | None) -> Schema | None:
    """The schema that a request asked for, if it did and answers can be held against it."""
    found = _asked_schema(response_format)
    return found if found is not None and not _why_not(msgspec.json.encode(found)) else None


def unusable_schema(response_format: dict[str, Any] | None) -> str:
    """Why answers cannot be held against the schema that a request asked for; "" when they can, or there is none."""
    found = _asked_schema(response_format)
    return "" if found is None else _why_not(msgspec.json.encode(found))


def _asked_schema(response_format: dict[str, Any] | None) -> Schema | None:
    asked = (response_format or {}).get("json_schema")
    found = asked.get("schema") if isinstance(asked, dict) else None
    return found if isinstance(found, dict | bool) else None


@lru_cache(64)
def _why_not(schema: bytes) -> str:
    try:
        check_schema(msgspec.json.decode(schema), "it")
    except FinetuneError as error:
        return str(error)
    return ""


def wants_json(response_format: dict[str, Any] | None) -> bool:
    return (response_format or {}).get("type") in ("json_object", "json_schema")


def check_schema(schema: Any, where: str) -> Schema:
    """`schema` when it is one. Raises `FinetuneError`."""
    try:
        jsonschema.validators.validator_for(schema).check_schema(schema)
    except (jsonschema.SchemaError, TypeError, AttributeError, RecursionError) as error:
        raise FinetuneError(f"{where} is no JSON schema: {getattr(error, 'message', error)}.") from error
    valid: Schema = schema
    return valid


def violation(value: Any, schema: Schema) -> str | None:
    """The first rule of `schema` that `value` breaks and where, without the value; None when it breaks none.

    Nothing is fetched for a `$ref`: one that leads elsewhere is a rule that cannot be kept.
    """
    validator: jsonschema.protocols.Validator = jsonschema.validators.validator_for(schema)(
        schema, registry=referencing.Registry()
    )
    try:
        error = next(validator.iter_errors(value), None)
    except (referencing.exceptions.Unresolvable, RecursionError):
        return "$ref"
    return None if error is None else f"{error.validator} at {error.json_path}"


def calls_of(message: dict[str, Any]) -> Sequence[dict[str, Any]]:
    found = message.get("tool_calls")
    return found if isinstance(found, list) else []


def wrong_call(said: Sequence[dict[str, Any]], wanted: Sequence[dict[str, Any]]) -> str | None:
    """What is wrong with the calls that were `said`, by name; None when they are those `wanted`, in whatever order."""
    ours, theirs = Counter(map(_call, said)), Counter(map(_call, wanted))
    if ours == theirs:
        return None
    missing, extra = (theirs - ours), (ours - theirs)
    names, others = ({name for name, _ in one} for one in (missing, extra))
    if both := names & others:
        return f"other arguments for {_listed(both)}"
    if names:
        return f"did not call {_listed(names)}" + (f" but {_listed(others)}" if others else "")
    return f"called {_listed(others)}"


def _listed(names: set[str]) -> str:
    return ", ".join(sorted(name[:64] for name in names)[:3])


def _call(call: dict[str, Any]) -> tuple[str, str]:
    """Name and arguments. Arguments that are no JSON equal only themselves."""
    function = call.get("function")
    function = function if isinstance(function, dict) else {}
    arguments = function.get("arguments")
    text = arguments if isinstance(arguments, str) else canonical(arguments)
    value = json_of(text) if text.strip() else {}
    try:
        return str(function.get("name")), f"not JSON: {text}" if value is ABSENT else canonical(value)
    except RecursionError:
        return str(function.get("name")), f"too deep: {text}"
