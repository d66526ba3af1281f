"""How providers cache prompts: from how many tokens on, in which steps, for how long, and what a prefix must match.

Sources, as of November 2026:
openai, azure: developers.openai.com/api/docs/guides/prompt-caching and the reference of `prompt_cache_options` and
`prompt_cache_retention`. Up to gpt-5.5 any common prefix counts, in steps of 128 tokens; it is kept for 5 to 10 minutes
without use (`in_memory`) or up to a day (`24h`, all that gpt-5.5 has). From gpt-5.6 on only a prefix that ended at a
breakpoint is found again, by default the end of the newest message, for 30 minutes at least.
anthropic: platform.claude.com/docs/en/build-with-claude/prompt-caching. Nothing is cached without `cache_control`.
deepseek: api-docs.deepseek.com/guides/kv_cache. google: ai.google.dev/gemini-api/docs/caching, implicit caching.
groq: console.groq.com/docs/prompt-caching; 128 to 1,024 tokens by model, of which the larger is taken.
x-ai: docs.x.ai, prompt caching; it names no numbers, so those of OpenAI are taken.
"""

from __future__ import annotations

import re
from typing import Final, Literal, NamedTuple

MINUTE_S: Final = 60.0
HOUR_S: Final = 3600.0
DAY_S: Final = 86_400.0


class CachePolicy(NamedTuple):
    """Of one model at one provider."""

    minimum: int
    """Tokens; a shorter common prefix is not cached."""
    step: int
    """Cached tokens come in multiples of this."""
    lifetime_s: float
    """Without use; the longer end of what the provider says, so that no saving is promised twice."""
    matching: Literal["prefix", "breakpoint", "marked"] = "prefix"
    """prefix: any. breakpoint: ends of earlier prompts, and marks. marked: marks alone."""
    extended: bool = False
    """Takes `prompt_cache_retention: "24h"`."""


_OPENAI: Final = CachePolicy(1024, 128, 10 * MINUTE_S)
_BY_PROVIDER: Final = {
    "deepseek": CachePolicy(64, 64, 2 * HOUR_S),
    "groq": CachePolicy(1024, 128, 2 * HOUR_S),
    "x-ai": CachePolicy(1024, 128, 10 * MINUTE_S),
}
_BEHIND: Final = {"openrouter": {"openai", "anthropic", "google", "deepseek", "x-ai"}}
"""Gateways whose models are named `provider/model`."""
_CLAUDE_MINIMUM: Final = (
    (re.compile(r"(opus|fable|mythos)-5"), 512),
    (re.compile(r"opus-4[-.][56]|haiku-4[-.]5"), 4096),
    (re.compile(r"opus-4[-.]7|haiku"), 2048),
)
_GPT: Final = re.compile(r"gpt-(\d+)(?:\.(\d+))?")


def policy_of(provider: str, model: str) -> CachePolicy | None:
    """None: this provider's cache, or whether it has one, is not known here; or the model has none."""
    if provider in _BEHIND:
        provider, _, model = model.partition("/")
    model = model.rpartition("/")[2] if provider != "groq" else model
    if provider in ("openai", "azure"):
        return _of_openai(model)
    if provider == "anthropic":
        minimum = next((tokens for pattern, tokens in _CLAUDE_MINIMUM if pattern.search(model)), 1024)
        return CachePolicy(minimum, 1, 5 * MINUTE_S, "marked")
    if provider == "google":
        return CachePolicy(2048 if "2.5" in model else 4096, 1, 5 * MINUTE_S)
    return _BY_PROVIDER.get(provider)


def _of_openai(model: str) -> CachePolicy | None:
    model = model.removeprefix("ft:")
    if model.startswith(("gpt-3", "gpt-4-", "davinci", "babbage")) or model == "gpt-4":
        return None
    if (found := _GPT.match(model)) is None:
        return _OPENAI
    version = int(found[1]), int(found[2] or 0)
    if version >= (5, 6):
        return CachePolicy(1024, 1, 30 * MINUTE_S, "breakpoint")
    if version == (5, 5):
        return _OPENAI._replace(lifetime_s=DAY_S)
    return _OPENAI._replace(extended=version >= (5, 0) or version == (4, 1))
