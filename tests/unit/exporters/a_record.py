"""A record with every field filled in, as the recorder's `complete` leaves it."""

from __future__ import annotations

import json
from typing import Any

from exporters.record import Attempt, CallRecord

START_NS = 1_795_400_978_000_000_000
INPUT = [{"role": "user", "parts": [{"type": "text", "content": "What is the weather in Paris?"}]}]
OUTPUT = [
    {
        "role": "assistant",
        "parts": [
            {"type": "text", "content": "I shall look."},
            {"type": "tool_call", "id": "call_1", "name": "weather", "arguments": {"city": "Paris"}},
        ],
        "finish_reason": "tool_calls",
    }
]
SYSTEM = [{"type": "text", "content": "Be brief."}]
TOOLS = [{"type": "function", "name": "weather", "parameters": {"type": "object"}}]


def attempt(**changes: Any) -> Attempt:
    given: dict[str, Any] = {
        "span_id": "b" * 16,
        "upstream": "openai",
        "address": "api.openai.com",
        "port": 443,
        "start_ns": START_NS + 1_000_000,
        "end_ns": START_NS + 900_000_000,
        "status": 200,
    }
    return Attempt(**given | changes)


def record(**changes: Any) -> CallRecord:
    given: dict[str, Any] = {
        "request_id": "0" * 31 + "1",
        "trace_id": "1" * 32,
        "span_id": "2" * 16,
        "parent_span_id": "3" * 16,
        "trace_state": "vendor=value",
        "start_ns": START_NS,
        "first_token_ns": START_NS + 250_000_000,
        "end_ns": START_NS + 1_000_000_000,
        "method": "POST",
        "path": "/v1/chat/completions",
        "endpoint": "chat",
        "provider": "openai",
        "upstream": "main",
        "request_model": "gpt-4o-mini",
        "stream": True,
        "status": 200,
        "outcome": "answered",
        "request_bytes": 1800,
        "response_bytes": 1200,
        "key_id": "team",
        "user": "alice",
        "session": "talk-1",
        "tags": {"team": "blue", "env": "prod"},
        "prompt_name": "forecast",
        "prompt_version": "3",
        "response_headers": {"x-request-id": "req_1"},
        "input_messages": json.dumps(INPUT),
        "output_messages": json.dumps(OUTPUT),
        "system_instructions": json.dumps(SYSTEM),
        "tool_definitions": json.dumps(TOOLS),
        "parameters": {"temperature": 0.2, "max_tokens": 100, "stop": "END", "n": 1},
        "response_id": "chatcmpl-1",
        "response_model": "gpt-4o-mini-2024-07-18",
        "finish_reasons": ["tool_calls"],
        "system_fingerprint": "fp_1",
        "service_tier_requested": "auto",
        "service_tier": "default",
        "usage_source": "upstream",
        "input_tokens": 100,
        "cached_tokens": 40,
        "cache_write_tokens": 10,
        "output_tokens": 20,
        "reasoning_tokens": 5,
        "input_audio_tokens": 1,
        "output_audio_tokens": 2,
        "input_image_tokens": 3,
        "cost": 0.5,
        "cost_input": 0.1,
        "cost_cached": 0.1,
        "cost_cache_write": 0.1,
        "cost_output": 0.2,
        "savings": {"cache": 0.25},
        "cache_status": "miss",
        "batch_id": "batch_1",
        "alias": "support-bot",
        "variant": "tuned",
        "truncated": True,
        "error_type": "",
        "attempts": [attempt()],
    }
    return CallRecord(**given | changes)
