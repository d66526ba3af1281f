"""Lines of files that Penstock did not write, and of those that it did, as rows.

Known are: `messages` for fine-tuning; preference pairs (OpenAI's, and prompt/chosen/rejected); requests with their
replies (Chat Completions, Responses, legacy completions; as pairs under several names, among them Langfuse's and
Helicone's, or in one object; OpenInference's attributes); output of the Batch API, where its input is there too;
ShareGPT; Alpaca; and lines of Penstock's live export, which have the names of the columns of `generations`.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from ...messages import from_chat, from_chat_message
from ..example import Message, Row
from .turns import ELSEWHERE, from_alpaca, from_items, from_output, from_sharegpt, tools_from

KNOWN: Final = (
    '{"messages": [...]}',
    '{"input": {"messages"}, "preferred_output", "non_preferred_output"}',
    '{"prompt", "chosen", "rejected"}',
    '{"request": {...}, "response": {...}}',
    '{"custom_id", "response"} with its {"custom_id", "body"}',
    '{"conversations": [{"from", "value"}]}',
    '{"instruction", "output"}',
    "the lines of [export] jsonl",
)
"""For people."""

UNREADABLE: Final = "?"
"""Stands for messages that nobody can read, so that such a line is counted."""

_PAIRS: Final = (
    ("request", "response"),
    ("request_body", "response_body"),
    ("input", "output"),
    ("inputs", "outputs"),
    ("prompt", "completion"),
    ("prompt", "response"),
)
_encode: Final = msgspec.json.Encoder().encode
_FIELDS: Final = frozenset(Row.__struct_fields__)
_JSON: Final = ("input_messages", "output_messages", "system_instructions", "tool_definitions", "parameters")

Line = dict[str, Any]
Inputs = Callable[[str], Line | None]
"""The body of the batch's input line of a `custom_id`."""


def row_of(line: Any, name: str, inputs: Inputs) -> Row:
    """The row of a line; one that is counted as unreadable where the line is none of `KNOWN`.

    `name` is its request id where it has none of its own.
    """
    try:
        if found := _read(line, name, inputs):
            return found
    except (msgspec.MsgspecError, ValueError, TypeError, AttributeError, KeyError, IndexError, OverflowError):
        pass
    return Row(request_id=name, input_messages=UNREADABLE)


def is_batch_input(line: Any) -> bool:
    """A question of a batch, which is half of a row."""
    if not isinstance(line, dict) or "response" in line:
        return False
    return isinstance(line.get("custom_id"), str) and isinstance(line.get("body"), dict)


def _read(line: Line, name: str, inputs: Inputs) -> Row | None:
    if "input_messages" in line:
        return _exported(line, name)
    if "conversations" in line:
        return _said(line, name, from_sharegpt(line), tools=tools_from(line.get("tools")))
    if "instruction" in line and "output" in line:
        return _said(line, name, from_alpaca(line))
    if "preferred_output" in line:
        return _preference(line, name, line["input"], line["preferred_output"], line["non_preferred_output"])
    if "chosen" in line and "rejected" in line:
        return _chosen(line, name)
    if "custom_id" in line and "response" in line:
        return _answered(line, name, inputs(line["custom_id"]) or {}, line["response"])
    if isinstance(attributes := line.get("attributes"), dict):
        return _openinference(line, name, attributes)
    if "messages" in line and ("choices" in line or isinstance(line.get("response"), dict)):
        return _answered(line, name, line, line.get("response") or line)
    if "messages" in line:
        return _said(line, name, line["messages"], tools=_tools(line), asked=line)
    for asked, answered in _PAIRS:
        if asked in line and answered in line:
            if line.get("object") == "response":
                return _answered(line, name, line, line)
            return _answered(line, name, line[asked], line[answered])
    return None


def _exported(line: Line, name: str) -> Row:
    found = {field: value for field, value in line.items() if field in _FIELDS and value is not None}
    for field in _JSON:
        if field in found and not isinstance(found[field], str):
            found[field] = _encode(found[field]).decode()
    found.setdefault("request_id", name)
    found["timestamp_ns"] = _time_ns(line.get("timestamp_ns") or line.get("timestamp") or 0)
    if isinstance(found.get("correction"), list | dict):
        found["correction"] = _encode(found["correction"]).decode()
    # Row is an array on the way from the store: its fields are named here.
    return msgspec.convert([found.get(field, default) for field, default in _DEFAULTS], Row, strict=False)


_DEFAULTS: Final = [(field, getattr(Row(request_id=""), field)) for field in Row.__struct_fields__]


def _said(
    line: Line, name: str, messages: list[Message], *, tools: list[Any] | None = None, asked: Line | None = None
) -> Row:
    """A conversation with its answer at the end."""
    if not isinstance(messages, list) or not messages:
        raise ValueError("no messages")
    if isinstance(last := messages[-1], dict) and last.get("role") == "assistant":
        return _row(line, name, messages[:-1], [last], tools or [], asked or {})
    return _row(line, name, messages, [], tools or [], asked or {})


def _preference(line: Line, name: str, asked: Line, preferred: Any, rejected: Any) -> Row:
    row = _row(line, name, _question(asked), _answers(rejected)[-1:], _tools(asked), asked)
    row.correction = _encode(_answers(preferred)).decode()
    return row


def _chosen(line: Line, name: str) -> Row:
    chosen, rejected = _messages(line["chosen"], "assistant"), _messages(line["rejected"], "assistant")
    prompt = _messages(line["prompt"], "user") if "prompt" in line else chosen[:-1]
    row = _row(line, name, prompt, rejected[-1:], _tools(line), line)
    row.correction = _encode(chosen[-1:]).decode()
    return row


def _answered(line: Line, name: str, asked: Any, answered: Any) -> Row:
    """A request and its reply, each as it is or below `body`."""
    asked = _body(asked)
    status = answered.get("status_code", answered.get("status")) if isinstance(answered, dict) else None
    reply = _body(answered)
    request: Line = asked if isinstance(asked, dict) else {}
    question = _question(asked)
    row = _row(line, name, question, _answers(reply)[:1], _tools(request), request)
    if not question:
        row.input_messages = ""
    if isinstance(reply, dict):
        _fill(row, reply)
    if isinstance(status, int):
        row.status = status
    if row.status >= 400 or line.get("error") or (isinstance(reply, dict) and reply.get("error")):
        row.outcome = "failed"
    return row


def _openinference(line: Line, name: str, attributes: Line) -> Row:
    """Spans of OpenInference with nested attributes, as Phoenix exports them."""
    llm = attributes["llm"]
    asked = [_unwrapped(one) for one in llm["input_messages"]]
    row = _row(line, name, asked, [_unwrapped(one) for one in llm.get("output_messages") or ()][:1], [], {})
    counted = llm.get("token_count") or {}
    row.model = _text(llm.get("model_name"))
    row.input_tokens, row.output_tokens = _count(counted.get("prompt")), _count(counted.get("completion"))
    row.timestamp_ns = _time_ns(line.get("start_time") or 0)
    return row


def _unwrapped(one: Line) -> Message:
    message = dict(one["message"])
    if calls := message.pop("tool_calls", None):
        found = [call["tool_call"] for call in calls]
        message["tool_calls"] = [{"type": "function", **call} for call in found]
    return {"content": None, **message}


def _row(line: Line, name: str, asked: list[Message], said: list[Message], tools: list[Any], request: Line) -> Row:
    answered = _encode([from_chat_message(message) for message in said]).decode() if said else ""
    if any(_is_elsewhere(message) for message in (*asked, *said)):
        asked, answered = [], _ELSEWHERE
    own = next((line[key] for key in ("request_id", "id", "custom_id") if line.get(key) not in (None, "")), name)
    usage_of = {key: request[key] for key in ("response_format", "parallel_tool_calls", "text") if key in request}
    metadata = line.get("tags") or line.get("metadata") or request.get("metadata")
    return Row(
        request_id=str(own),
        timestamp_ns=_time_ns(next((line[key] for key in _TIMES if line.get(key)), 0)),
        model=_text(request.get("model")) or _text(line.get("model")),
        user=_text(line.get("user")) or _text(line.get("userId")) or _text(request.get("user")),
        session=_text(line.get("session")) or _text(line.get("session_id")) or _text(line.get("sessionId")),
        tags={str(key): str(value) for key, value in metadata.items()} if isinstance(metadata, dict) else {},
        input_messages=_encode(from_chat(asked)).decode(),
        output_messages=answered,
        tool_definitions=_encode(tools).decode() if tools else "",
        parameters=_encode(usage_of).decode() if usage_of else "",
    )


_TIMES: Final = ("timestamp", "created", "created_at", "startTime", "start_time", "time")
_ELSEWHERE: Final = '[{"role":"assistant","parts":[{"type":"server_tool_call"}]}]'


def _is_elsewhere(message: Any) -> bool:
    content = message.get("content") if isinstance(message, dict) else None
    return isinstance(content, list) and any(part == {"type": ELSEWHERE} for part in content)


def _fill(row: Row, reply: Line) -> None:
    """What a reply says of itself."""
    usage = reply.get("usage") or {}
    row.response_id = _text(reply.get("id"))
    row.response_model = _text(reply.get("model"))
    row.input_tokens = _count(usage.get("prompt_tokens", usage.get("input_tokens")))
    row.output_tokens = _count(usage.get("completion_tokens", usage.get("output_tokens")))
    row.timestamp_ns = row.timestamp_ns or _time_ns(reply.get("created") or reply.get("created_at") or 0)
    row.finish_reasons = [_text(choice.get("finish_reason")) for choice in reply.get("choices") or ()]
    if reply.get("status") == "incomplete":
        row.finish_reasons = [_text((reply.get("incomplete_details") or {}).get("reason")) or "incomplete"]


def _body(value: Any) -> Any:
    """A body that may be wrapped, or be the text of its JSON."""
    if isinstance(value, dict) and "body" in value:
        value = value["body"]
    return msgspec.json.decode(value) if isinstance(value, str) and value.lstrip().startswith("{") else value


def _question(asked: Any) -> list[Message]:
    """Messages of a request; [] where there are none."""
    if not isinstance(asked, dict):
        return _messages(asked, "user")
    if "messages" in asked:
        return _messages(asked["messages"], "user")
    if "input" in asked:
        system = asked.get("instructions")
        before: list[Message] = [{"role": "system", "content": system}] if isinstance(system, str) and system else []
        return [*before, *from_items(asked["input"])]
    return _messages(asked["prompt"], "user") if "prompt" in asked else []


def _answers(reply: Any) -> list[Message]:
    """The assistant's messages in a reply, of whichever kind; of several choices each."""
    if not isinstance(reply, dict):
        return _messages(reply, "assistant")
    if "choices" in reply:
        return [
            choice["message"] if "message" in choice else {"role": "assistant", "content": choice["text"]}
            for choice in reply["choices"]
        ]
    if isinstance(reply.get("output"), list):
        return from_output(reply["output"])
    if "messages" in reply:
        return _messages(reply["messages"], "assistant")[-1:]
    return [{"role": "assistant", **reply}] if "content" in reply or "tool_calls" in reply else []


def _messages(value: Any, role: str) -> list[Message]:
    if isinstance(value, str):
        return [{"role": role, "content": value}]
    return value if isinstance(value, list) else []


def _tools(request: Line) -> list[Any]:
    return tools_from(request.get("tools") or request.get("functions"))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _count(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value < 2**63 else None


def _time_ns(value: Any) -> int:
    """Of ISO 8601 text, or of a number of seconds, milliseconds, microseconds or nanoseconds since 1970."""
    if isinstance(value, str):
        at = datetime.fromisoformat(value)
        at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
        fraction = value.partition(".")[2]
        digits = fraction[: len(fraction) - len(fraction.lstrip("0123456789"))][:9].ljust(9, "0")
        return int(at.replace(microsecond=0).timestamp()) * 10**9 + int(digits)
    if isinstance(value, int | float):
        for unit in (10**9, 10**6, 10**3, 1):
            if 0 <= value * unit < 2**63:
                return int(value * unit)
    return 0
