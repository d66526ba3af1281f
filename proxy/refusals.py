"""Says in words why a document is not a configuration: which key, what is wrong, what to do."""

from __future__ import annotations

import copy
import difflib
import re
from collections.abc import Iterable
from typing import Any, Final, Literal, get_args, get_origin, get_type_hints

import msgspec

from .settings import Settings

_AT: Final = re.compile(r" - at `\$(?P<path>.*)`\Z")
_STEP: Final = re.compile(r"\.(?P<name>\w+)|\[(?P<index>\d+)\]|(?P<any>\[\.\.\.\])")
_WORDS: Final = {
    "str": "text in quotes",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "array": "a list in brackets",
    "object": "a table",
    "null": "nothing",
    "datetime": "a date",
}
_FIELD: Final = re.compile(r"Object (?P<how>contains unknown|missing required) field `(?P<name>.*)`\Z")
_BOUND: Final = re.compile(r"Expected `\w+` (?P<sign>>=|<=|>|<) (?P<limit>\S+)\Z")
_TYPE: Final = re.compile(r"Expected `(?P<wanted>[^`]+)`, got `(?P<found>[^`]+)`\Z")
_SIGNS: Final = {">=": "at least", "<=": "at most", ">": "more than", "<": "less than"}

Key = str | int


def explain(document: dict[str, Any], error: msgspec.ValidationError) -> str:
    """One line about the `error` that converting `document` to `Settings` raised."""
    message = str(error)
    found = _AT.search(message)
    what = message[: found.start()] if found else message
    keys = _locate(document, found["path"] if found else "", what)
    kind = _kind(keys)
    if field := _FIELD.match(what):
        return _field(keys, kind, field["how"] == "missing required", field["name"])
    return f"{spell(keys)}: {_value(keys, kind, what)}"


def nearest(name: str, names: Iterable[str]) -> str:
    """`. Did you mean X?`, or the list of what there is when nothing is near."""
    names = list(names)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    return f"Did you mean {close[0]}?" if close else f"There are: {', '.join(names)}."


def spell(keys: Iterable[Key]) -> str:
    """The keys as a path: `upstreams[0].base_url`, with quotes around what is not a bare word."""
    text = ""
    for key in keys:
        if isinstance(key, int):
            text += f"[{key}]"
        else:
            text += ("." if text else "") + (key if re.fullmatch(r"[\w-]+", key) else f'"{key}"')
    return text


def _field(keys: list[Key], kind: Any, missing: bool, name: str) -> str:
    if missing:
        return f"{spell([*keys, name])}: is missing"
    names = kind.__struct_fields__
    if not keys:
        return f"{name}: this version has no such section. {nearest(name, names)}"
    return f"{spell([*keys, name])}: unknown key. {nearest(name, names)}"


def _value(keys: list[Key], kind: Any, what: str) -> str:
    if get_origin(kind) is Literal and what.startswith("Invalid enum value"):
        choices = ", ".join(f'"{choice}"' for choice in get_args(kind))
        return f"must be one of {choices}, not {what.rpartition(' value ')[2]}"
    if bound := _BOUND.match(what):
        return f"must be {_SIGNS[bound['sign']]} {bound['limit'].removesuffix('.0')}"
    if wrong := _TYPE.match(what):
        wanted = " or ".join(_WORDS.get(word, word) for word in wrong["wanted"].split(" | ") if word != "null")
        found = _WORDS.get(wrong["found"], wrong["found"])
        hint = ""
        if wrong["wanted"] == "array" and wrong["found"] == "object":
            hint = f". Write [[{spell(keys)}]] above each"
        elif wrong["wanted"] == "array":
            hint = f". Write {spell(keys[-1:])} = [...]"
        return f"must be {wanted}, not {found}{hint}"
    return what


def _locate(document: dict[str, Any], path: str, what: str) -> list[Key]:
    """The keys that lead to the fault. msgspec does not name the keys of free tables, so those are tried in turn."""
    keys: list[Key] = []
    for step in _STEP.finditer(path):
        if step["any"]:
            keys.append(next((key for key in _at(document, keys) if _at_fault(document, keys, key, what)), "?"))
        else:
            keys.append(int(step["index"]) if step["index"] else step["name"])
    return keys


def _at(document: Any, keys: list[Key]) -> Any:
    for key in keys:
        document = document[key]
    return document


def _at_fault(document: dict[str, Any], keys: list[Key], key: str, what: str) -> bool:
    """Whether the fault is still there when `key` is the only one left in its table."""
    alone = copy.deepcopy(document)
    table = _at(alone, keys)
    for other in [name for name in table if name != key]:
        del table[other]
    try:
        msgspec.convert(alone, Settings)
    except msgspec.ValidationError as error:
        return str(error).startswith(what)
    return False


def _kind(keys: list[Key]) -> Any:
    """The annotation of what `keys` lead to."""
    kind: Any = Settings
    for key in keys:
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            kind = get_type_hints(kind)[str(key)]
        else:
            kind = get_args(kind)[0 if get_origin(kind) is tuple else 1]
    return kind
