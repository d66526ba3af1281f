"""The same replies twice, whole and streamed, written down as OpenAI sends them and without the code under test."""

from __future__ import annotations

import json
from typing import Any

import openai
from pydantic import BaseModel

from tests.unit.proxy.openai.replies import (
    CITATION,
    call,
    chat,
    choice,
    function_call,
    output_message,
    output_text,
    reasoning,
    response,
    token,
)


class Load(BaseModel):
    """What the model is asked to answer with."""

    goods: str
    kilograms: int


class Weigh(BaseModel):
    """The arguments of the tool."""

    kilograms: int


LOAD = '{"goods": "flour and salt, two sacks of each of them", "kilograms": 48}'
USER: list[Any] = [{"role": "user", "content": "?"}]


def chunk(delta: dict[str, Any], index: int = 0, finish: str | None = None, logprobs: Any = None) -> dict[str, Any]:
    head = {name: value for name, value in chat().items() if name not in ("choices", "usage")}
    one = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
    return {**head, "object": "chat.completion.chunk", "choices": [one], "usage": None, "obfuscation": "aZ3"}


def written(text: str, field: str = "content", **more: Any) -> list[dict[str, Any]]:
    """A text as a model writes it, in pieces that are no words."""
    return [chunk({field: text[at : at + 5]}, **more) for at in range(0, len(text), 5)]


def called(index: int, name: str, arguments: str) -> list[dict[str, Any]]:
    begun = {"index": index, **call(index, name, "")}
    pieces = [arguments[at : at + 4] for at in range(0, len(arguments), 4)]
    grown = [{"index": index, "function": {"arguments": piece}} for piece in pieces]
    return [chunk({"tool_calls": [piece]}) for piece in (begun, *grown)]


def odds(*texts: str) -> dict[str, Any]:
    return {"content": [token(text) for text in texts], "refusal": None}


ROLE = {"role": "assistant", "content": "", "refusal": None}
TOOLS: list[Any] = [
    openai.pydantic_function_tool(Weigh, name="weigh"),
    openai.pydantic_function_tool(Weigh, name="lift"),
]
CALLS = [call(0, "weigh", '{"kilograms":12}'), call(1, "lift", '{"kilograms":9000000000000}')]
WORDS = ["The", " gate", " is", " open", " at", " the", " first", " light", "."]

CHATS: dict[str, tuple[dict[str, Any], list[dict[str, Any]], dict[str, Any]]] = {
    "text": (
        chat(choice(message={"role": "assistant", "content": "It is open. " * 9, "refusal": None})),
        [chunk(ROLE), *written("It is open. " * 9), chunk({}, finish="stop")],
        {},
    ),
    "schema": (
        chat(choice(message={"role": "assistant", "content": LOAD, "refusal": None})),
        [chunk(ROLE), *written(LOAD), chunk({}, finish="stop")],
        {"response_format": Load},
    ),
    "tools": (
        chat(choice(0, "tool_calls", message={**ROLE, "content": None, "tool_calls": CALLS})),
        [
            chunk({**ROLE, "content": None}),
            *called(0, "weigh", '{"kilograms":12}'),
            *called(1, "lift", '{"kilograms":9000000000000}'),
            chunk({}, finish="tool_calls"),
        ],
        {"tools": TOOLS},
    ),
    "refusal": (
        chat(choice(message={**ROLE, "content": None, "refusal": "I am sorry, that I won't do."})),
        [
            chunk({**ROLE, "content": None}),
            *written("I am sorry, that I won't do.", "refusal"),
            chunk({}, finish="stop"),
        ],
        {"response_format": Load},
    ),
    "log probabilities": (
        chat(choice(message={**ROLE, "content": "".join(WORDS)}, logprobs=odds(*WORDS))),
        [
            chunk(ROLE),
            *(chunk({"content": word}, logprobs=odds(word)) for word in WORDS),
            chunk({}, finish="stop"),
        ],
        {"logprobs": True},
    ),
    "choices": (
        chat(
            choice(0, message={**ROLE, "content": "One. " * 10}),
            choice(1, message={**ROLE, "content": "界" * 50}),
        ),
        [
            *(chunk(ROLE, index) for index in (0, 1)),
            *(part for pair in zip(written("One. " * 10), written("界" * 50, index=1), strict=True) for part in pair),
            *(chunk({}, index, finish) for index, finish in ((1, "stop"), (0, "stop"))),
        ],
        {"n": 2},
    ),
    "sources and reasoning": (
        chat(choice(message={**ROLE, "content": "Open.", "annotations": [CITATION], "reasoning_content": "Is it?"})),
        [
            chunk({**ROLE, "reasoning_content": "Is"}),
            chunk({"reasoning_content": " it?"}),
            chunk({"content": "Open."}),
            chunk({"annotations": [CITATION]}),
            chunk({}, finish="stop"),
        ],
        {},
    ),
}
"""By name: the whole reply, the chunks without the one of usage, and what the call asks for."""


def sse(values: list[dict[str, Any]]) -> list[bytes]:
    lines = [b"data: " + json.dumps(value).encode() + b"\n\n" for value in values]
    return [*lines, b"data: [DONE]\n\n"]


def response_stream(whole: dict[str, Any]) -> list[bytes]:
    """The stream of a response with reasoning, one text and one call, written down from one of OpenAI's."""
    begun = {**whole, "status": "in_progress", "output": [], "usage": None, "completed_at": None}
    thought, said, asked = whole["output"]
    part, text = said["content"][0], said["content"][0]["text"]
    summary = thought["summary"][0]
    in_thought = {"item_id": thought["id"], "output_index": 0, "summary_index": 0}
    in_text = {"item_id": said["id"], "output_index": 1, "content_index": 0}
    in_call = {"item_id": asked["id"], "output_index": 2}
    empty = {**said, "status": "in_progress", "content": []}
    made: list[dict[str, Any]] = [
        {"type": "response.created", "response": begun},
        {"type": "response.in_progress", "response": begun},
        {"type": "response.output_item.added", "output_index": 0, "item": {**thought, "summary": []}},
        {"type": "response.reasoning_summary_part.added", **in_thought, "part": {**summary, "text": ""}},
        {"type": "response.reasoning_summary_text.delta", **in_thought, "delta": summary["text"], "obfuscation": "x"},
        {"type": "response.reasoning_summary_text.done", **in_thought, "text": summary["text"]},
        {"type": "response.reasoning_summary_part.done", **in_thought, "part": summary},
        {"type": "response.output_item.done", "output_index": 0, "item": thought},
        {"type": "response.output_item.added", "output_index": 1, "item": empty},
        {"type": "response.content_part.added", **in_text, "part": {**part, "text": ""}},
        *(
            {"type": "response.output_text.delta", **in_text, "delta": text[at : at + 3], "logprobs": []}
            for at in range(0, len(text), 3)
        ),
        {"type": "response.output_text.done", **in_text, "text": text, "logprobs": []},
        {"type": "response.content_part.done", **in_text, "part": part},
        {"type": "response.output_item.done", "output_index": 1, "item": said},
        {"type": "response.output_item.added", "output_index": 2, "item": {**asked, "arguments": ""}},
        {"type": "response.function_call_arguments.delta", **in_call, "delta": asked["arguments"]},
        {"type": "response.function_call_arguments.done", **in_call, "arguments": asked["arguments"]},
        {"type": "response.output_item.done", "output_index": 2, "item": asked},
        {"type": "response.completed", "response": whole},
    ]
    return [
        f"event: {event['type']}\ndata: {json.dumps({**event, 'sequence_number': number})}\n\n".encode()
        for number, event in enumerate(made)
    ]


RESPONSE = response(reasoning("Two sacks weigh more."), output_message(output_text(LOAD)), function_call())
RESPONSE_TOOLS: list[Any] = [
    {
        "type": "function",
        "name": "weigh",
        "strict": True,
        "parameters": TOOLS[0]["function"]["parameters"],
    }
]
