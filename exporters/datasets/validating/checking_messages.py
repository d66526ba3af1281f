"""The rules for messages: roles, fields, content, weights, images."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Final

from .rules import IMAGE_BYTES_MAX, IMAGE_TYPES

Note = Callable[[str, str], None]
"""Called with the name of the rule that is broken, and where in the line."""
Placed = tuple[str, dict[str, Any]]
"""A message, and where it is."""

_SPOKEN: Final = frozenset({"role", "content", "name"})
_FIELDS: Final[dict[str, frozenset[str]]] = {
    "system": _SPOKEN,
    "developer": _SPOKEN,
    "user": _SPOKEN,
    "assistant": _SPOKEN | {"refusal", "tool_calls", "function_call", "weight"},
    "tool": frozenset({"role", "content", "tool_call_id"}),
    "function": _SPOKEN,
}
_INSTEAD_OF_CONTENT: Final = ("tool_calls", "function_call", "refusal")
_WHERE_CHARACTERS_MAX: Final = 40

_name = re.compile(r"[^\s<|\\/>]{1,64}").fullmatch
_field_name = re.compile(rf"[\w.\-]{{1,{_WHERE_CHARACTERS_MAX}}}").fullmatch


def field(name: str) -> str:
    """For a report: names of fields, but nothing that may be somebody's text."""
    return name if _field_name(name) else "?"


def placed(messages: Any, where: str, note: Note) -> list[Placed]:
    """The messages that are messages; what is none is noted."""
    found: list[Placed] = []
    if not isinstance(messages, list):
        return found
    for number, message in enumerate(messages):
        at = f"{where}[{number}]"
        if not isinstance(message, dict) or not isinstance(role := message.get("role"), str):
            note("not_a_message", at)
        elif role not in _FIELDS:
            note("unknown_role", f"{at}.role")
        else:
            found.append((at, message))
    return found


def check_message(at: str, message: dict[str, Any], note: Note) -> int:
    """Note what is wrong with one; how many images it has."""
    role = message["role"]
    known = _FIELDS[role]
    if not message.keys() <= known:
        for name in message.keys() - known:
            if name == "weight":
                note("weight_role", f"{at}.weight")
            else:
                note("unknown_message_field", f"{at}.{field(name)}")
    if "weight" in message and role == "assistant":
        weight = message["weight"]
        if not isinstance(weight, int) or isinstance(weight, bool) or weight not in (0, 1):
            note("weight_value", f"{at}.weight")
    if "name" in message and not (isinstance(message["name"], str) and _name(message["name"])):
        note("message_name", f"{at}.name")
    if role == "function" or "function_call" in message:
        note("old_functions", at)
    return _check_content(at, role, message, note)


def _check_content(at: str, role: str, message: dict[str, Any], note: Note) -> int:
    content = message.get("content")
    where = f"{at}.content"
    images = 0
    if content is None:
        if role != "function" and not any(message.get(name) for name in _INSTEAD_OF_CONTENT):
            note("no_content", where)
    elif role == "tool" and not isinstance(content, str):
        note("tool_content", where)
    elif isinstance(content, list):
        for number, part in enumerate(content):
            images += _check_part(f"{where}[{number}]", role, part, note)
    elif not isinstance(content, str):
        note("content_shape", where)
    return images


def _check_part(at: str, role: str, part: Any, note: Note) -> int:
    """1 for an image."""
    kind = part.get("type") if isinstance(part, dict) else None
    if kind == "text" and isinstance(part.get("text"), str):
        return 0
    if kind == "refusal" and role == "assistant" and isinstance(part.get("refusal"), str):
        return 0
    image = part.get("image_url") if isinstance(part, dict) else None
    if kind == "image_url" and role == "user" and isinstance(image, dict) and isinstance(image.get("url"), str):
        _check_image(f"{at}.image_url.url", image["url"], note)
        return 1
    note("part_shape", at)
    return 0


def _check_image(at: str, url: str, note: Note) -> None:
    if url.startswith("data:"):
        head, _, data = url.partition(",")
        if not head.removeprefix("data:").startswith(IMAGE_TYPES) or not head.endswith(";base64"):
            note("image_type", at)
        if len(data) * 3 // 4 > IMAGE_BYTES_MAX:  # base64: four characters for three bytes
            note("image_too_large", at)
    elif not url.startswith(("https://", "http://")):
        note("image_url", at)


def check_weights(messages: Sequence[Placed], note: Note) -> None:
    weights = [message.get("weight", 1) for _, message in messages if message["role"] == "assistant"]
    if weights and not any(weights):
        note("nothing_learnt", "messages")
