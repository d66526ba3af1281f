"""A generation to an example: one conversation in chat messages, whichever API it was held in.

Responses become what chat would have been: `instructions` a system message, their items messages and tool calls. A
legacy completion is one turn, its prompt the user's. Of several choices the first is taken. Reasoning is left out: what
a provider shows of it is a summary, and no model should learn to write summaries of thoughts. What ran on the
provider's side (web search, code) cannot be trained on and makes the row no conversation, as audio does.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from ...messages import to_openai, tools_to_openai
from ..example import Example, Message, Row, text_of
from ..options import Clean, Options
from ..reasons import Reason
from .ordinary import ordinary

NOT_CONVERSATIONS: Final = frozenset({"embeddings", "moderations", "other"})
BYTES_A_TOKEN: Final = 3.6
"""Of JSON text in UTF-8, for tokens that nobody counted: o200k over recorded English chats has 3.4 to 3.9."""

_decode = msgspec.json.Decoder().decode
_KEPT: Final = frozenset({"role", "content", "name", "tool_calls", "tool_call_id", "refusal", "function_call"})
"""Fields of a message that a model is trained on, or that say what it is."""
_TEXTS: Final = ("name", "tool_call_id", "refusal")
_NOTHING_TO_SAY: Final = ("refusal", "tool_calls", "function_call")
"""Fields that clients send although they are empty, and that trainers refuse so."""
_NO_WORDS: Final = frozenset({"input_audio", "tokens", "suffix"})
"""Content of a message that no chat format for training has: sound, token numbers, what comes after a gap."""
_SIMPLE: Final = frozenset({"role", "parts", "finish_reason", "annotations", "refusal"})
"""A message with no other fields is its parts."""
_OFF_SITE: Final = frozenset({"server_tool_call", "server_tool_call_response"})


def assemble(row: Row, options: Options) -> Example | Reason:
    """The example of a row; or `NO_CONTENT`, `UNREADABLE` or `NOT_A_CONVERSATION`. What it holds is not judged here."""
    if row.endpoint in NOT_CONVERSATIONS:
        return Reason.NOT_A_CONVERSATION
    if not row.input_messages or row.content == "off":
        return Reason.NO_CONTENT
    try:
        asked, said = _read(row)
        tools = _tools(row.tool_definitions)
        parameters = _object(row.parameters)
    except _NotToLearn:
        return Reason.NOT_A_CONVERSATION
    except (msgspec.DecodeError, ValueError, TypeError, AttributeError, KeyError, RecursionError):
        return Reason.UNREADABLE
    # Of several prompts at once, nothing says which one the answer is to.
    if tools is None or (row.endpoint == "completions" and len(asked) > 1):
        return Reason.NOT_A_CONVERSATION
    if not said:
        # Judged later, with those whose answer is empty.
        said = [{"role": "assistant", "content": None}]
    rejected: list[Message] = []
    corrected = _correction(row.correction) if row.correction and options.select.corrections != "ignore" else []
    if corrected:
        rejected = said if options.select.corrections == "pair" else []
        said = [_plain(message) for message in corrected]
    messages = [*asked, *said]
    tokens, estimated = _tokens(row, messages, tools, is_corrected=bool(corrected))
    return Example(
        request_id=row.request_id,
        timestamp_ns=row.timestamp_ns,
        messages=_without_long_images(messages, options.clean),
        tools=tools,
        parallel_tool_calls=parameters.get("parallel_tool_calls") if tools else None,
        response_format=_response_format(parameters),
        rejected=rejected,
        model=row.response_model or row.model,
        upstream=row.upstream,
        prompt_name=row.prompt_name,
        prompt_version=row.prompt_version,
        user=row.user,
        session=row.session,
        tags=row.tags,
        score=row.score,
        label=row.label,
        tokens=tokens,
        tokens_estimated=estimated,
        cost=row.cost,
        key_id=row.key_id,
        output_tokens=row.output_tokens,
    )


class _NotToLearn(Exception):
    """Some of it is the provider's own doing, or no words."""


def _read(row: Row) -> tuple[list[Message], list[Message]]:
    """What was asked, and what was said to it: the first choice. Raises `_NotToLearn`."""
    asked = _messages(row.input_messages)
    if row.system_instructions:
        asked = [*_chat([{"role": "system", "parts": _decode(row.system_instructions)}]), *asked]
    return asked, _messages(row.output_messages, 1) if row.output_messages else []


def _messages(text: str, most: int | None = None) -> list[Message]:
    """The first of the messages."""
    messages = ordinary(text, most)
    return _chat(_decode(text)[:most]) if messages is None else messages


def _chat(given: list[dict[str, Any]]) -> list[Message]:
    """As `to_openai`, with what is trained on alone."""
    made: list[Message] = []
    for message in given:
        parts: list[Any] = message.get("parts") or []
        # Between others too most are one text; the long way takes five times as long and gives the same.
        if len(parts) == 1 and message.keys() <= _SIMPLE and message.get("refusal") is None:
            part = parts[0]
            if part["type"] == "text" and len(part) == 2 and (text := part["content"]).__class__ is str:
                if (role := message["role"]).__class__ is not str:
                    raise ValueError("role")
                made.append({"role": role, "content": text})
                continue
        if any(part.get("type") in _OFF_SITE for part in parts):
            raise _NotToLearn
        for found in to_openai([message]):
            if not _is_message(found):
                raise ValueError("message")
            if _is_beyond_words(found):
                raise _NotToLearn
            made.append(_plain(found))
    return made


def _is_message(message: Any) -> bool:
    """Whether the steps that follow can take the types of its fields for granted."""
    if not isinstance(message, dict) or not isinstance(message.get("role"), str):
        return False
    content, calls = message.get("content"), message.get("tool_calls")
    if isinstance(content, list):
        if not all(isinstance(part, dict) and isinstance(part.get("type"), str) for part in content):
            return False
    elif not isinstance(content, str | None):
        return False
    if calls and not (isinstance(calls, list) and all(map(_is_call, calls))):
        return False
    return all(isinstance(message.get(name), str | None) for name in _TEXTS)


def _is_call(call: Any) -> bool:
    inner = call.get("function") or call.get("custom") if isinstance(call, dict) else None
    if not isinstance(inner, dict) or not isinstance(call.get("id"), str | None):
        return False
    return isinstance(inner.get("name"), str) and isinstance(inner.get("arguments", inner.get("input")), str)


def _is_beyond_words(message: Message) -> bool:
    content = message.get("content")
    return "audio" in message or (isinstance(content, list) and any(part["type"] in _NO_WORDS for part in content))


def _tools(text: str) -> list[dict[str, Any]] | None:
    """None: there are tools that only the provider has."""
    if not text:
        return []
    tools = tools_to_openai(_decode(text))
    return tools if all(isinstance(tool, dict) and isinstance(tool.get("function"), dict) for tool in tools) else None


def _object(text: str) -> dict[str, Any]:
    found = _decode(text) if text else {}
    return found if isinstance(found, dict) else {}


def _response_format(parameters: dict[str, Any]) -> dict[str, Any] | None:
    """Chat's, or that of the Responses API in chat's shape."""
    found = parameters.get("response_format")
    if isinstance(found, dict):
        return found
    text = parameters.get("text")
    form = text.get("format") if isinstance(text, dict) else None
    if not isinstance(form, dict) or form.get("type") == "text":
        return None
    if form.get("type") == "json_schema":
        return {"type": "json_schema", "json_schema": {name: v for name, v in form.items() if name != "type"}}
    return form


def _correction(text: str) -> list[Message]:
    """Messages as JSON, in chat's shape or that of the conventions, or the text of one; [] for none."""
    try:
        found = _decode(text)
    except msgspec.DecodeError:
        found = text
    if isinstance(found, str):
        return [{"role": "assistant", "content": found}] if found.strip() else []
    messages = found if isinstance(found, list) else [found]
    if not all(isinstance(message, dict) for message in messages):
        return []
    if any("parts" in message for message in messages):
        messages = to_openai(messages)
    answers = [message for message in messages if message.get("role", "assistant") == "assistant"]
    answer: Message = {"role": "assistant", **answers[-1]} if answers else {}
    return [answer] if _is_message(answer) else []


def _plain(message: Message) -> Message:
    """With what is trained on alone. Changes and returns the same."""
    for name in message.keys() - _KEPT:
        del message[name]
    for name in _NOTHING_TO_SAY:
        if name in message and not message[name]:
            del message[name]
    message.setdefault("content", None)
    return message


def _tokens(row: Row, messages: list[Message], tools: list[dict[str, Any]], *, is_corrected: bool) -> tuple[int, bool]:
    """Of the example, and whether that is an estimate. A corrected answer is as long as it is, not as it was."""
    if row.input_tokens is not None and row.output_tokens is not None and not is_corrected:
        return row.input_tokens + row.output_tokens, False
    size = sum(len(text_of(message).encode("utf-8", "replace")) for message in messages)
    size += sum(len(msgspec.json.encode(message["tool_calls"])) for message in messages if message.get("tool_calls"))
    size += len(msgspec.json.encode(tools)) if tools else 0
    return round(size / BYTES_A_TOKEN) + 4 * len(messages), True


def _without_long_images(messages: list[Message], options: Clean) -> list[Message]:
    """Inlined images over the limit are replaced by a note. Where images are not wanted, the row is dropped later."""
    for message in messages:
        if (content := message["content"]).__class__ is list:
            message["content"] = [_bounded(part, options.image_bytes_max) for part in content]
    return messages


def _bounded(part: Any, bytes_max: int) -> Any:
    image = part.get("image_url") if isinstance(part, dict) else None
    url = image.get("url") if isinstance(image, dict) else None
    # base64: four characters for three bytes.
    if isinstance(url, str) and url.startswith("data:") and (len(url) - url.find(",") - 1) * 3 // 4 > bytes_max:
        return {"type": "text", "text": "[image]"}
    return part
