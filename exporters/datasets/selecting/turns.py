"""Conversations as others write them, to chat messages: items of the Responses API, ShareGPT, Alpaca."""

from __future__ import annotations

import contextlib
from typing import Any, Final

import msgspec

from ..example import Message

_ROLES: Final = {
    "human": "user",
    **dict.fromkeys(("gpt", "chatgpt", "bing", "bard", "model", "bot"), "assistant"),
    **dict.fromkeys(("observation", "tool_response", "ipython"), "tool"),
}
_CALL_TURNS: Final = frozenset({"function_call", "tool_call"})
_TEXTS: Final = frozenset({"input_text", "output_text", "text", "summary_text"})
_CALLS: Final = {"function_call": "function", "custom_tool_call": "custom"}
_OUTPUTS: Final = frozenset({"function_call_output", "custom_tool_call_output"})

ELSEWHERE: Final = "openai.elsewhere"
"""Type of a part that stands for what ran on the provider's side: such a conversation cannot be trained on."""


def from_items(items: Any) -> list[Message]:
    """`input` or `output` of the Responses API. The items of one turn of the model become one message."""
    if isinstance(items, str):
        return [{"role": "user", "content": items}]
    made: list[Message] = []
    for item in items:
        message = _from_item(item)
        if message is None:
            continue
        last = made[-1] if made else None
        if last is not None and last["role"] == message["role"] == "assistant" and not _both_say(last, message):
            _join(last, message)
        else:
            made.append(message)
    return made


def from_output(items: list[Any]) -> list[Message]:
    """`output` of a response as one message: all of it is one answer. None when it is empty."""
    turns = from_items(items)
    if len(turns) < 2:
        return turns
    whole: Message = {"role": "assistant", "content": []}
    for turn in turns:
        content = turn.get("content")
        said = content if isinstance(content, list) else [{"type": "text", "text": content}] if content else []
        whole["content"] += said
        _join(whole, {**turn, "content": None})
    return [whole]


def from_sharegpt(line: dict[str, Any]) -> list[Message]:
    """`conversations` of `{"from", "value"}` turns, or of `{"role", "content"}` ones; `system` comes first."""
    made: list[Message] = []
    if isinstance(system := line.get("system"), str) and system:
        made.append({"role": "system", "content": system})
    waiting: list[str] = []
    for number, turn in enumerate(line["conversations"]):
        said, value = turn.get("from"), turn.get("value")
        if said is None:
            made.append(turn)
        elif said in _CALL_TURNS:
            calls = _named_calls(value, number)
            waiting += [call["id"] for call in calls]
            if made and made[-1]["role"] == "assistant" and "tool_calls" not in made[-1]:
                made[-1]["tool_calls"] = calls
            else:
                made.append({"role": "assistant", "content": None, "tool_calls": calls})
        elif (role := _ROLES.get(said, said)) == "tool":
            made.append({"role": "tool", "tool_call_id": waiting.pop(0) if waiting else "", "content": value})
        else:
            made.append({"role": role, "content": value})
    return made


def from_alpaca(line: dict[str, Any]) -> list[Message]:
    """`instruction`, `input`, `output`, and `system` and `history` where they are."""
    made: list[Message] = []
    if line.get("system"):
        made.append({"role": "system", "content": line["system"]})
    for asked, answered in line.get("history") or ():
        made += [{"role": "user", "content": asked}, {"role": "assistant", "content": answered}]
    asked = "\n".join(text for text in (line["instruction"], line.get("input")) if text)
    return [*made, {"role": "user", "content": asked}, {"role": "assistant", "content": line["output"]}]


def tools_from(value: Any) -> list[Any]:
    """Tool definitions as a list, or as the JSON text of one; functions without their wrapping get it."""
    if isinstance(value, str):
        value = msgspec.json.decode(value) if value.strip() else []
    return [
        {"type": "function", **tool} if isinstance(tool, dict) and "type" not in tool and "name" in tool else tool
        for tool in value or ()
    ]


def _from_item(item: Any) -> Message | None:
    kind = item.get("type", "message")
    if kind == "message":
        return {"role": item.get("role", "assistant"), **_content(item.get("content"))}
    if kind in _CALLS:
        inner = _CALLS[kind]
        text = "arguments" if inner == "function" else "input"
        call = {"id": item["call_id"], "type": inner, inner: {"name": item["name"], text: item[text]}}
        return {"role": "assistant", "content": None, "tool_calls": [call]}
    if kind in _OUTPUTS:
        output = item.get("output")
        content = output if isinstance(output, str) else _content(output)["content"]
        return {"role": "tool", "tool_call_id": item["call_id"], "content": content}
    if kind == "reasoning":
        return None
    return {"role": "assistant", "content": [{"type": ELSEWHERE}]}


def _content(content: Any) -> dict[str, Any]:
    if not isinstance(content, list):
        return {"content": content}
    parts = [_part(part) for part in content]
    refusals = [part["refusal"] for part in parts if part.get("type") == "refusal"]
    if refusals:
        return {"content": None, "refusal": "\n".join(refusals)}
    if len(parts) == 1 and parts[0].get("type") == "text":
        return {"content": parts[0]["text"]}
    return {"content": parts}


def _part(part: dict[str, Any]) -> dict[str, Any]:
    if part.get("type") in _TEXTS:
        return {"type": "text", "text": part["text"]}
    if part.get("type") == "input_image" and isinstance(part.get("image_url"), str):
        detail = {"detail": part["detail"]} if part.get("detail") else {}
        return {"type": "image_url", "image_url": {"url": part["image_url"], **detail}}
    return part


def _both_say(one: Message, other: Message) -> bool:
    return one.get("content") is not None and other.get("content") is not None


def _join(turn: Message, more: Message) -> None:
    if more.get("content") is not None:
        turn["content"] = more["content"]
    for name in more.keys() - {"role", "content"}:
        turn[name] = [*turn.get(name, ()), *more[name]] if name == "tool_calls" else more[name]


def _named_calls(value: Any, number: int) -> list[dict[str, Any]]:
    """The call, or the calls, that a turn of ShareGPT holds as JSON text. Their ids are made: the format has none."""
    found = value
    if isinstance(value, str):
        found = msgspec.json.decode(value)
    calls = []
    for place, call in enumerate(found if isinstance(found, list) else [found]):
        arguments = call.get("arguments", call.get("parameters", {}))
        with contextlib.suppress(TypeError):
            arguments = arguments if isinstance(arguments, str) else msgspec.json.encode(arguments).decode()
        function = {"name": call["name"], "arguments": arguments}
        calls.append({"id": f"call_{number}_{place}", "type": "function", "function": function})
    return calls
