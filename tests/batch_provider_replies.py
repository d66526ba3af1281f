"""What the model behind `batch_provider.py` answers: made of the request alone, so that every reply can be checked.

The words `fail with 422` anywhere in a request make an error of that status, `answer with 300 letters` a long answer. A
request with tools is answered by a call of the first one.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from typing import Any, Final

Json = dict[str, Any]

CREATED: Final = 1_763_000_000
_FAILS: Final = re.compile(r"fail with ([45]\d\d)")
_LONG: Final = re.compile(r"answer with (\d{1,6}) letters")
_NOT_THE_QUESTION: Final = ("stream", "stream_options", "service_tier")


def expected_text(body: Json) -> str:
    """The text that the reply to `body` holds, however and wherever it is asked."""
    found = _LONG.search(json.dumps(body))
    return f"It is {_digest(body)}." + "x" * (int(found[1]) if found else 0)


def error(message: str, kind: str = "invalid_request_error", param: str | None = None, code: str | None = None) -> Json:
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def reply(path: str, body: Json) -> tuple[int, Json]:
    """Status and JSON of the reply to `body` at `path`."""
    text = json.dumps(body)
    if found := _FAILS.search(text):
        return int(found[1]), error("The request asked for this.", code="asked_for")
    if path not in _MAKERS:
        return 404, error(f"Unknown request URL: POST {path}.", code="unknown_url")
    if not isinstance(body.get("model"), str):
        return 400, error("you must provide a model parameter")
    made = _MAKERS[path](body, _digest(body), max(1, len(text) // 4))
    made["model"] = f"{body['model']}-2026-01-01"
    if path in ("/v1/chat/completions", "/v1/responses"):
        asked = body.get("service_tier")
        made["service_tier"] = asked if asked in ("flex", "priority") else "default"
    return 200, made


def stream(path: str, body: Json, whole: Json) -> Iterator[bytes]:
    """The events that a streaming caller gets instead of `whole`."""
    if path == "/v1/responses":
        for number, event in enumerate(_response_events(whole)):
            yield f"event: {event['type']}\ndata: {json.dumps({**event, 'sequence_number': number})}\n\n".encode()
        return
    with_usage = bool((body.get("stream_options") or {}).get("include_usage"))
    for chunk in _chunks(whole, chat=path == "/v1/chat/completions", with_usage=with_usage):
        yield b"data: " + json.dumps(chunk).encode() + b"\n\n"
    yield b"data: [DONE]\n\n"


def _digest(body: Json) -> str:
    asked = {name: value for name, value in body.items() if name not in _NOT_THE_QUESTION}
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:20]


def _chat(body: Json, digest: str, tokens: int) -> Json:
    message: Json = {"role": "assistant", "content": expected_text(body), "refusal": None, "annotations": []}
    if tools := body.get("tools"):
        called = {"name": tools[0]["function"]["name"], "arguments": json.dumps({"digest": digest})}
        message |= {
            "content": None,
            "tool_calls": [{"id": f"call_{digest}", "type": "function", "function": called}],
        }
    finish = "tool_calls" if tools else "stop"
    return {
        "id": f"chatcmpl-{digest}",
        "object": "chat.completion",
        "created": CREATED,
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": finish}],
        "usage": {
            "prompt_tokens": tokens,
            "completion_tokens": 7,
            "total_tokens": tokens + 7,
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
        },
        "system_fingerprint": "fp_batch",
    }


def _completion(body: Json, digest: str, tokens: int) -> Json:
    return {
        "id": f"cmpl-{digest}",
        "object": "text_completion",
        "created": CREATED,
        "choices": [{"index": 0, "text": expected_text(body), "logprobs": None, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": tokens, "completion_tokens": 7, "total_tokens": tokens + 7},
    }


def _response(body: Json, digest: str, tokens: int) -> Json:
    said: Json = {
        "id": f"msg_{digest}",
        "type": "message",
        "role": "assistant",
        "status": "completed",
        "content": [{"type": "output_text", "text": expected_text(body), "annotations": [], "logprobs": []}],
    }
    if tools := body.get("tools"):
        said = {
            "id": f"fc_{digest}",
            "type": "function_call",
            "status": "completed",
            "call_id": f"call_{digest}",
            "name": tools[0]["name"],
            "arguments": json.dumps({"digest": digest}),
        }
    return {
        "id": f"resp_{digest}",
        "object": "response",
        "created_at": CREATED,
        "status": "completed",
        "error": None,
        "incomplete_details": None,
        "instructions": body.get("instructions"),
        "metadata": body.get("metadata") or {},
        "output": [said],
        "parallel_tool_calls": True,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": body.get("tools") or [],
        "top_p": 1.0,
        "usage": {
            "input_tokens": tokens,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": 7,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": tokens + 7,
        },
    }


def _embeddings(body: Json, digest: str, tokens: int) -> Json:
    asked = body.get("input")
    count = len(asked) if isinstance(asked, list) and asked and not isinstance(asked[0], int) else 1
    vector = [int(digest[at : at + 2], 16) / 256 for at in range(0, 16, 2)]
    return {
        "object": "list",
        "data": [{"object": "embedding", "index": index, "embedding": vector} for index in range(count)],
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }


def _moderation(body: Json, digest: str, tokens: int) -> Json:
    result = {"flagged": False, "categories": {}, "category_scores": {}, "category_applied_input_types": {}}
    return {"id": f"modr-{digest}", "results": [result]}


_MAKERS: Final = {
    "/v1/chat/completions": _chat,
    "/v1/completions": _completion,
    "/v1/responses": _response,
    "/v1/embeddings": _embeddings,
    "/v1/moderations": _moderation,
}
ENDPOINTS: Final = tuple(_MAKERS)
"""Those that take batches."""


def _pieces(text: str) -> Iterator[str]:
    for at in range(0, len(text), 5):
        yield text[at : at + 5]


def _chunks(whole: Json, *, chat: bool, with_usage: bool) -> Iterator[Json]:
    head = {name: value for name, value in whole.items() if name not in ("choices", "usage")}
    if chat:
        head["object"] = "chat.completion.chunk"
    if with_usage:
        head["usage"] = None
    choice = whole["choices"][0]

    def chunk(part: Json, finish: str | None = None) -> Json:
        return {**head, "choices": [{"index": 0, **part, "logprobs": None, "finish_reason": finish}]}

    if not chat:
        for piece in _pieces(choice["text"]):
            yield chunk({"text": piece})
        yield chunk({"text": ""}, "stop")
    else:
        message = choice["message"]
        yield chunk({"delta": {"role": "assistant", "content": None if message["content"] is None else ""}})
        for piece in _pieces(message["content"] or ""):
            yield chunk({"delta": {"content": piece}})
        for call in message.get("tool_calls", ()):
            begun = {**call["function"], "arguments": ""}
            yield chunk({"delta": {"tool_calls": [{**call, "index": 0, "function": begun}]}})
            for piece in _pieces(call["function"]["arguments"]):
                yield chunk({"delta": {"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}})
        yield chunk({"delta": {}}, choice["finish_reason"])
    if with_usage:
        yield {**head, "choices": [], "usage": whole["usage"]}


def _response_events(whole: Json) -> Iterator[Json]:
    begun = {**whole, "status": "in_progress", "output": [], "usage": None}
    yield {"type": "response.created", "response": begun}
    yield {"type": "response.in_progress", "response": begun}
    item = whole["output"][0]
    at: Json = {"output_index": 0, "item_id": item["id"]}
    if item["type"] == "function_call":
        empty = {**item, "status": "in_progress", "arguments": ""}
        yield {"type": "response.output_item.added", "output_index": 0, "item": empty}
        for piece in _pieces(item["arguments"]):
            yield {"type": "response.function_call_arguments.delta", **at, "delta": piece}
        yield {"type": "response.function_call_arguments.done", **at, "arguments": item["arguments"]}
    else:
        part = item["content"][0]
        at["content_index"] = 0
        empty = {**item, "status": "in_progress", "content": []}
        yield {"type": "response.output_item.added", "output_index": 0, "item": empty}
        yield {"type": "response.content_part.added", **at, "part": {**part, "text": ""}}
        for piece in _pieces(part["text"]):
            yield {"type": "response.output_text.delta", **at, "delta": piece, "logprobs": []}
        yield {"type": "response.output_text.done", **at, "text": part["text"], "logprobs": []}
        yield {"type": "response.content_part.done", **at, "part": part}
    yield {"type": "response.output_item.done", "output_index": 0, "item": item}
    yield {"type": "response.completed", "response": whole}
