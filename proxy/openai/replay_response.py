"""A whole response (of the Responses API) told as the typed events of a stream.

Texts, refusals, reasoning and what a model writes to a function or a custom tool come in pieces. Items that a tool of
the server made (searches, images, code, MCP) begin and are done: what went on between is not known, and not invented.
"""

from __future__ import annotations

from typing import Any, Final

from .document import encode
from .facts import objects
from .replay_text import pieces, spans

_TERMINAL: Final = {
    None: "response.completed",
    "completed": "response.completed",
    "incomplete": "response.incomplete",
    "failed": "response.failed",
}
_BEGUN: Final[dict[str, dict[str, Any]]] = {
    "message": {"status": "in_progress", "content": []},
    "reasoning": {"summary": []},
    "function_call": {"status": "in_progress", "arguments": ""},
    "custom_tool_call": {"input": ""},
    "image_generation_call": {"status": "in_progress", "result": None},
    "web_search_call": {"status": "in_progress"},
    "file_search_call": {"status": "in_progress"},
    "code_interpreter_call": {"status": "in_progress"},
    "mcp_call": {"status": "in_progress"},
    "computer_call": {"status": "in_progress"},
}
"""What an item of each type looks like when it begins; of other types only the end is known, so they begin as that."""
_NOT_YET: Final = ("usage", "error", "incomplete_details", "completed_at", "output_text")
"""Fields of a response that are null until it has ended."""
_CALLS: Final = frozenset({"function_call", "custom_tool_call", "shell_call", "shell_call_output"})
"""Items that are told apart by the id of the call, as the SDK does it; all others by their own."""


def response_events(reply: dict[str, Any]) -> list[bytes]:
    """The events; none when `reply` is no response that has ended, or its items cannot be told apart.

    Raises `Unwritable`.
    """
    output = reply.get("output")
    status = reply.get("status")
    items = objects(output)
    if not isinstance(output, list) or len(items) != len(output) or not _are_distinct(items):
        return []
    if not (status is None or isinstance(status, str)) or status not in _TERMINAL:
        return []
    story = _Story()
    begun = reply | dict.fromkeys([name for name in _NOT_YET if name in reply])
    begun |= {"status": "in_progress", "output": []}
    story.tell("response.created", {"response": begun})
    story.tell("response.in_progress", {"response": begun})
    for index, item in enumerate(items):
        _Item(story, index, item).tell()
    story.tell(_TERMINAL[status], {"response": reply})
    return story.events


def _are_distinct(items: list[dict[str, Any]]) -> bool:
    identities = set()
    for item in items:
        kind, own, call = item.get("type"), item.get("id"), item.get("call_id")
        if not isinstance(kind, str) or not all(name is None or isinstance(name, str) for name in (own, call)):
            return False
        identities.add((kind, None if kind in _CALLS else own, call))
    return len(identities) == len(items)


class _Story:
    """The events so far, numbered from 0."""

    def __init__(self) -> None:
        self.events: list[bytes] = []

    def tell(self, kind: str, fields: dict[str, Any]) -> None:
        data = encode({"type": kind, "sequence_number": len(self.events), **fields})
        self.events.append(b"event: %b\ndata: %b\n\n" % (kind.encode(), data))

    def tell_deltas(self, kind: str, place: dict[str, Any], texts: list[str]) -> None:
        """A run of events that differ in a text alone."""
        name = kind.encode()
        before = b'event: %b\ndata: {"type":"%b","sequence_number":' % (name, name)
        between = b"," + encode(place)[1:-1] + b',"delta":'
        number = len(self.events)
        self.events += [b"%b%d%b%b}\n\n" % (before, number + n, between, encode(t)) for n, t in enumerate(texts)]


class _Item:
    """One item of the output."""

    def __init__(self, story: _Story, index: int, item: dict[str, Any]) -> None:
        self._story = story
        self._item = item
        self._output = {"output_index": index}
        self._place = {"item_id": item.get("id") or "", "output_index": index}

    def tell(self) -> None:
        item = self._item
        kind = item["type"]
        lists = {name: self._parts(name) for name in ("content", "summary")} if kind in ("message", "reasoning") else {}
        begun = item | _BEGUN.get(kind, {}) | {name: [] for name in lists if name in item}
        self._story.tell("response.output_item.added", self._output | {"item": begun})
        for index, part in enumerate(lists.get("summary", ())):
            self._tell_part("reasoning_summary_part", "reasoning_summary_text", "summary_index", index, part, "text")
        for index, part in enumerate(lists.get("content", ())):
            self._tell_content(index, part)
        if kind == "function_call":
            name = {"name": item["name"]} if isinstance(item.get("name"), str) else {}
            self._tell_written("function_call_arguments", "arguments", name)
        elif kind == "custom_tool_call":
            self._tell_written("custom_tool_call_input", "input", {})
        self._story.tell("response.output_item.done", self._output | {"item": item})

    def _parts(self, name: str) -> list[dict[str, Any]]:
        return objects(self._item.get(name))

    def _tell_content(self, index: int, part: dict[str, Any]) -> None:
        kind = part.get("type")
        if kind == "output_text" and isinstance(part.get("text"), str):
            self._tell_text(index, part)
        elif kind == "refusal":
            self._tell_part("content_part", "refusal", "content_index", index, part, "refusal")
        elif kind == "reasoning_text":
            self._tell_part("content_part", "reasoning_text", "content_index", index, part, "text")
        else:
            self._tell_part("content_part", "", "content_index", index, part, "")

    def _tell_part(self, around: str, kind: str, counter: str, index: int, part: dict[str, Any], field: str) -> None:
        """A part whose only text is in `field`; without such a text it is added and done."""
        place = self._place | {counter: index}
        text = part.get(field)
        told = isinstance(text, str)
        self._story.tell(f"response.{around}.added", place | {"part": part | {field: ""} if told else part})
        if isinstance(text, str):
            self._story.tell_deltas(f"response.{kind}.delta", place, pieces(text))
            self._story.tell(f"response.{kind}.done", place | {"text" if field == "text" else field: text})
        self._story.tell(f"response.{around}.done", place | {"part": part})

    def _tell_text(self, index: int, part: dict[str, Any]) -> None:
        place = self._place | {"content_index": index}
        text, odds = part["text"], objects(part.get("logprobs"))
        begun = part | {"text": "", "annotations": []} | ({"logprobs": []} if "logprobs" in part else {})
        self._story.tell("response.content_part.added", place | {"part": begun})
        if runs := spans([token.get("token") for token in odds], text):
            for start, end in runs:
                run = odds[start:end]
                delta = {"delta": "".join([token["token"] for token in run]), "logprobs": run}
                self._story.tell("response.output_text.delta", place | delta)
        else:
            self._story.tell_deltas("response.output_text.delta", place | {"logprobs": []}, pieces(text))
        for number, annotation in enumerate(objects(part.get("annotations"))):
            fields = {"annotation_index": number, "annotation": annotation}
            self._story.tell("response.output_text.annotation.added", place | fields)
        self._story.tell("response.output_text.done", place | {"text": text, "logprobs": odds})
        self._story.tell("response.content_part.done", place | {"part": part})

    def _tell_written(self, kind: str, field: str, more: dict[str, str]) -> None:
        """What a model wrote to a tool."""
        text = self._item.get(field)
        if isinstance(text, str):
            self._story.tell_deltas(f"response.{kind}.delta", self._place, pieces(text))
            self._story.tell(f"response.{kind}.done", self._place | {field: text, **more})
