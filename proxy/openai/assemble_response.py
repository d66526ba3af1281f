"""The typed events of the Responses API, put together to the response object they describe."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from .facts import objects

_INDEX_MAX: Final = 10_000
"""Items, and parts of an item; an index beyond is a fault of the server."""


def assemble_response(stream: Iterator[dict[str, Any]]) -> dict[str, Any]:
    """The object of the final event when there is one; else the first one, with the output that had arrived."""
    reply: dict[str, Any] = {}
    output = _Output()
    for event in stream:
        kind = event.get("type")
        if not isinstance(kind, str):
            if "error" in event:
                reply["error"] = event["error"]
            continue
        response = event.get("response")
        if isinstance(response, dict):
            reply = response
        elif kind == "error":
            reply["error"] = event.get("error") or {k: event.get(k) for k in ("code", "message", "param")}
        else:
            output.add(kind, event)
    if not reply.get("output") and (items := output.items()):
        reply["output"] = items
    return reply


class _Output:
    """Output items by their index, growing."""

    def __init__(self) -> None:
        self._items: dict[int, dict[str, Any]] = {}

    def items(self) -> list[dict[str, Any]]:
        return [self._items[index] for index in sorted(self._items)]

    def add(self, kind: str, event: dict[str, Any]) -> None:
        index = _index(event, "output_index")
        if index is None:
            return
        item = event.get("item")
        if isinstance(item, dict):  # response.output_item.added, and .done with the final state
            self._items[index] = item
            return
        grow = _GROW.get(kind)
        if grow is not None:
            grow(self._items.setdefault(index, {"type": _TYPE.get(kind, "message")}), event)


_Grow = Callable[[dict[str, Any], dict[str, Any]], None]


def _index(event: dict[str, Any], name: str) -> int | None:
    index = event.get(name, 0)
    return index if type(index) is int and 0 <= index <= _INDEX_MAX else None


def _slot(item: dict[str, Any], field: str, index: int | None, fresh: dict[str, Any]) -> dict[str, Any] | None:
    """Element `index` of the list `field`; those before it that never came are made empty."""
    slots = item.get(field)
    if not isinstance(slots, list):
        slots = item[field] = []
    if index is None or index > len(slots) + 16:
        return None
    while len(slots) <= index:
        slots.append(dict(fresh))
    return slots[index] if isinstance(slots[index], dict) else None


def _join(into: dict[str, Any] | None, field: str, delta: Any) -> None:
    if into is not None and isinstance(delta, str):
        had = into.get(field)
        into[field] = had + delta if isinstance(had, str) else delta


def _text(kind: str, field: str, text: str = "text") -> _Grow:
    """Grows part `content_index` (or `summary_index`) of `field` by the delta."""
    place = "summary_index" if field == "summary" else "content_index"

    def grow(item: dict[str, Any], event: dict[str, Any]) -> None:
        slot = _slot(item, field, _index(event, place), {"type": kind, text: ""})
        _join(slot, text, event.get("delta"))

    return grow


def _field(field: str) -> _Grow:
    def grow(item: dict[str, Any], event: dict[str, Any]) -> None:
        _join(item, field, event.get("delta"))

    return grow


def _part(field: str) -> _Grow:
    place = "summary_index" if field == "summary" else "content_index"

    def grow(item: dict[str, Any], event: dict[str, Any]) -> None:
        part = event.get("part")
        slot = _slot(item, field, _index(event, place), {})
        if slot is not None and isinstance(part, dict):
            slot.clear()
            slot.update(part)

    return grow


def _annotation(item: dict[str, Any], event: dict[str, Any]) -> None:
    slot = _slot(item, "content", _index(event, "content_index"), {"type": "output_text", "text": ""})
    if slot is not None and isinstance(event.get("annotation"), dict):
        slot["annotations"] = [*objects(slot.get("annotations")), event["annotation"]]


def _partial_image(item: dict[str, Any], event: dict[str, Any]) -> None:
    if isinstance(event.get("partial_image_b64"), str):
        item["result"] = event["partial_image_b64"]


_GROW: Final[dict[str, _Grow]] = {
    "response.output_text.delta": _text("output_text", "content"),
    "response.refusal.delta": _text("refusal", "content", "refusal"),
    "response.reasoning_text.delta": _text("reasoning_text", "content"),
    "response.reasoning_summary_text.delta": _text("summary_text", "summary"),
    "response.content_part.added": _part("content"),
    "response.content_part.done": _part("content"),
    "response.reasoning_summary_part.added": _part("summary"),
    "response.reasoning_summary_part.done": _part("summary"),
    "response.output_text.annotation.added": _annotation,
    "response.function_call_arguments.delta": _field("arguments"),
    "response.mcp_call_arguments.delta": _field("arguments"),
    "response.custom_tool_call_input.delta": _field("input"),
    "response.code_interpreter_call_code.delta": _field("code"),
    "response.image_generation_call.partial_image": _partial_image,
}

_TYPE: Final = {
    "response.reasoning_text.delta": "reasoning",
    "response.reasoning_summary_text.delta": "reasoning",
    "response.reasoning_summary_part.added": "reasoning",
    "response.reasoning_summary_part.done": "reasoning",
    "response.function_call_arguments.delta": "function_call",
    "response.mcp_call_arguments.delta": "mcp_call",
    "response.custom_tool_call_input.delta": "custom_tool_call",
    "response.code_interpreter_call_code.delta": "code_interpreter_call",
    "response.image_generation_call.partial_image": "image_generation_call",
}
"""The type of an item whose `added` event was lost."""
