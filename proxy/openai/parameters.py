"""Which fields of a request are parameters: how to answer, as against what to answer to."""

from __future__ import annotations

from typing import Any, Final

_NOT_PARAMETERS: Final = frozenset({"model", "stream", "store", "background"})
_PARAMETERS: Final = frozenset(
    {
        "audio",
        "background",
        "best_of",
        "chat_template_kwargs",
        "context_management",
        "dimensions",
        "echo",
        "encoding_format",
        "frequency_penalty",
        "function_call",
        "include",
        "language",
        "logit_bias",
        "logprobs",
        "max_completion_tokens",
        "max_output_tokens",
        "max_tokens",
        "max_tool_calls",
        "min_p",
        "mirostat",
        "modalities",
        "n",
        "output_format",
        "parallel_tool_calls",
        "presence_penalty",
        "prompt_cache_options",
        "prompt_cache_retention",
        "quality",
        "reasoning",
        "reasoning_effort",
        "repeat_penalty",
        "repetition_penalty",
        "response_format",
        "seed",
        "service_tier",
        "size",
        "speed",
        "stop",
        "stream_options",
        "style",
        "temperature",
        "text",
        "thinking",
        "timestamp_granularities",
        "tool_choice",
        "top_k",
        "top_logprobs",
        "top_p",
        "truncation",
        "typical_p",
        "verbosity",
        "voice",
        "web_search_options",
    }
)
"""Texts, arrays and objects are parameters only under these names: any other may be what the caller wrote."""


def parameters_of(request: dict[str, Any]) -> dict[str, Any]:
    """The parameters as they were sent. Numbers and switches of any name are (other servers have many of their own).

    Every value fits MessagePack: a number of more than 64 bits is left out.
    """
    return {
        name: value
        for name, value in request.items()
        if name not in _NOT_PARAMETERS
        and (_is_number(value) or (name in _PARAMETERS and value is not None and _fits(value)))
    }


def _is_number(value: Any) -> bool:
    return type(value) is bool or type(value) is float or (type(value) is int and -(2**63) <= value < 2**63)


def _fits(value: Any) -> bool:
    if isinstance(value, dict):
        return all(_fits(inner) for inner in value.values())
    if isinstance(value, list):
        return all(_fits(inner) for inner in value)
    return isinstance(value, str) or _is_number(value) or value is None
