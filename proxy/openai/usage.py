"""Token counts out of the `usage` objects of OpenAI and of the servers that speak its API.

Read are the shapes of chat, completions, responses, embeddings, images and transcriptions; of DeepSeek
(`prompt_cache_hit_tokens`), Moonshot (`cached_tokens` at the top), Anthropic and what imitates it
(`cache_read_input_tokens`), xAI (output without its reasoning) and Voyage (only a total).
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

TOKENS_MAX: Final = 10**12
"""A larger number is a fault of the server, not a count."""


class Usage(NamedTuple):
    """Tokens by class, as in `CallRecord`: input includes cached and cache_write, output includes reasoning."""

    input_tokens: int | None = None
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    output_tokens: int | None = None
    reasoning_tokens: int | None = None
    input_audio_tokens: int | None = None
    output_audio_tokens: int | None = None
    input_image_tokens: int | None = None


_NOTHING = Usage()


def read_usage(usage: Any) -> Usage | None:
    """The counts of a decoded `usage` value; None when it holds none. What is not a count is absent, never an error."""
    if not isinstance(usage, dict):
        return None
    get = usage.get
    total_in = _count(get("prompt_tokens"))
    if total_in is None:
        total_in = _count(get("input_tokens"))
    total_out = _count(get("completion_tokens"))
    if total_out is None:
        total_out = _count(get("output_tokens"))
    total = _count(get("total_tokens"))
    details = _object(usage, "prompt_tokens_details", "input_tokens_details", "input_token_details")
    cached = _count(details.get("cached_tokens"))
    if cached is None:
        cached = _first(usage, "cached_tokens", "prompt_cache_hit_tokens", "cache_read_input_tokens")
    written = _count(details.get("cache_write_tokens"))
    if written is None:
        written = _first(usage, "cache_write_tokens", "cache_creation_input_tokens")
    spent = _object(usage, "completion_tokens_details", "output_tokens_details", "output_token_details")
    reasoning = _count(spent.get("reasoning_tokens"))
    if reasoning is None:
        reasoning = _count(get("reasoning_tokens"))
    if total_in is None and total_out is None:
        total_in = total  # an embeddings server that only knows a total
    elif reasoning and total == (total_in or 0) + (total_out or 0) + reasoning:
        total_out = (total_out or 0) + reasoning  # reported beside the output, not inside it
    found = Usage(
        _whole_input(usage, total_in, total_out, total, cached, written),
        cached,
        written,
        total_out,
        reasoning,
        _count(details.get("audio_tokens")),
        _count(spent.get("audio_tokens")),
        _count(details.get("image_tokens")),
    )
    return None if found == _NOTHING else found


def counts_tokens(method: str, path: str) -> bool:
    """Whether the usage in a reply to this call is new tokens, not a report on what was counted before.

    Reading a stored response, a batch or a run again, or cancelling it, shows its usage once more.
    """
    return method == "POST" and not path.endswith(("/cancel", "/batches"))


def _whole_input(
    usage: dict[str, Any],
    total_in: int | None,
    total_out: int | None,
    total: int | None,
    cached: int | None,
    written: int | None,
) -> int | None:
    """Anthropic counts the cached part beside `input_tokens`; everybody else inside it."""
    beside = "cache_read_input_tokens" in usage or "cache_creation_input_tokens" in usage
    if total_in is None or not beside or "prompt_tokens" in usage or total == total_in + (total_out or 0):
        return total_in
    return total_in + (cached or 0) + (written or 0)


def _count(value: Any) -> int | None:
    if type(value) is int:
        return value if 0 <= value <= TOKENS_MAX else None
    if type(value) is float and value.is_integer() and 0 <= value <= TOKENS_MAX:
        return int(value)
    return None


def _first(usage: dict[str, Any], *names: str) -> int | None:
    for name in names:
        count = _count(usage.get(name))
        if count is not None:
            return count
    return None


def _object(usage: dict[str, Any], *names: str) -> dict[str, Any]:
    for name in names:
        value = usage.get(name)
        if isinstance(value, dict):
            return value
    return {}
