"""What the advisor says: findings by application, with what each would save a day, and one sentence of advice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from .faults import Example
from .kinds import Kind
from .policies import CachePolicy

Confidence = Literal["high", "medium", "low"]

TITLES: Final[dict[Kind, str]] = {
    "timestamp": "A time or date stands before text that stays the same",
    "random_id": "A random id stands before text that stays the same",
    "counter": "A changing number stands before text that stays the same",
    "user_text": "Text about the user stands before text that stays the same",
    "documents": "Documents stand before text that stays the same",
    "example_order": "Parts of the prompt come in changing order",
    "variable_text": "Changing text stands before text that stays the same",
    "whitespace": "The same text comes with different blanks or line ends",
    "tool_order": "The same tools come in changing order",
    "tool_keys": "Tool definitions come with their JSON keys in changing order",
    "tool_changes": "A tool's definition differs from call to call",
    "tool_set": "The set of tools differs from call to call",
    "schema_changes": "The output schema differs from call to call",
    "below_minimum": "What stays the same is just too short to be cached",
    "expiry": "Calls are too far apart for the provider's cache",
    "routing": "The prompts are fit for the cache, and the provider still reads few of them from it",
    "spread_keys": "The same prompt comes under several keys, and each keeps a cache of its own",
    "no_breakpoint": "What stays the same ends without a cache breakpoint",
}

_ADVICE: Final[dict[Kind, str]] = {
    "timestamp": "Move it behind the static text, best into the last message, or give only the date.",
    "random_id": "Leave it out of the prompt (send it as metadata), or move it behind the static text.",
    "counter": "Move it behind the static text, or leave it out.",
    "user_text": "Put what is about the user behind the instructions, best into the user's own message.",
    "documents": "Put instructions and examples first and the documents behind them.",
    "example_order": "Send them in one fixed order, sorted by name or number, in every call.",
    "variable_text": "Move it behind the static text.",
    "whitespace": "Make the text in one place, with the same blanks and line ends in every call.",
    "tool_order": "Sort the tools by name before each call.",
    "tool_keys": "Write the schemas with sorted keys, or make them once and send the same text.",
    "tool_changes": "Keep what changes out of tool definitions; say it in the last message.",
    "tool_set": "Send all tools in every call, and name those allowed now in `tool_choice` (`allowed_tools`).",
    "schema_changes": "Make the output schema once, and keep names and descriptions in it constant.",
    "routing": "Set `prompt_cache_key` to the application's name, so that calls with one prefix reach one machine; "
    "above 15 calls a minute, to one value for each group of users.",
    "spread_keys": "Send the calls with one API key (of one organization) and one `prompt_cache_key`.",
}


@dataclass(frozen=True, slots=True)
class Finding:
    kind: Kind
    application: str
    provider: str
    upstream: str
    model: str
    token: int
    """About so many tokens of the prompt stand before the place."""
    section: str
    section_token: int
    calls: int
    """That were affected, of those that were read."""
    calls_per_day: float
    distinct: int
    tokens_per_day: float
    """More input tokens read from the cache."""
    usd_per_day: float | None
    """At list price; None when that is not known."""
    joint: bool
    """The saving comes only when the application's other findings are put right too: do not add them up."""
    confidence: Confidence
    advice: str
    examples: tuple[Example, ...]
    missing_tokens: int = 0
    """To the provider's minimum."""

    @property
    def title(self) -> str:
        return TITLES[self.kind]


@dataclass(frozen=True, slots=True)
class Application:
    """Calls whose prompts share most of their text."""

    name: str
    provider: str
    upstream: str
    model: str
    calls: int
    calls_per_day: float
    keys: int
    hit_ratio: float
    """Share of the input tokens that was read from the provider's cache."""
    achievable_ratio: float
    """The same with every finding put right."""
    tokens_per_day: float
    usd_per_day: float | None
    """What all findings together save."""
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class Advice:
    """`skipped`: calls that say nothing, by reason."""

    applications: tuple[Application, ...]
    calls: int
    window_s: float
    """The time over which savings were summed up, before they were brought to a day."""
    skipped: dict[str, int]

    @property
    def findings(self) -> list[Finding]:
        """The dearest first."""
        found = [finding for application in self.applications for finding in application.findings]
        return sorted(found, key=lambda one: (-(one.usd_per_day or 0.0), -one.tokens_per_day))


def advice_for(kind: Kind, policy: CachePolicy, missing: int, idle_minutes: float) -> str:
    """One sentence: what to change."""
    if kind == "below_minimum":
        return (
            f"About {missing:,} more static tokens at the front reach the {policy.minimum:,} from which on the "
            "provider caches; more examples or rules may be worth having."
        )
    if kind == "expiry":
        if policy.extended:
            return 'Ask for the longer retention: `"prompt_cache_retention": "24h"`.'
        return f"This model forgets a prompt after {idle_minutes:.0f} idle minutes: make these calls in bursts."
    if kind == "no_breakpoint":
        mark = '`"cache_control": {"type": "ephemeral"}`'
        if policy.matching == "breakpoint":
            mark = '`"prompt_cache_breakpoint": {"mode": "explicit"}`'
        return f"Mark the last static content part with {mark}: this model reuses a prefix only up to a mark."
    return _ADVICE[kind]


def confidence(certain: float, calls: int) -> Confidence:
    """`certain` is that of the diagnosis; few calls make any less so."""
    if certain >= 0.8 and calls >= 30:
        return "high"
    return "medium" if certain >= 0.5 and calls >= 10 else "low"
