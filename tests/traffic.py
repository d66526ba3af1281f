"""Recorded traffic made up for the prompt-cache advisor, with what a provider would have read from its cache.

The provider here is written apart from the advisor's simulation: whole prompts as token lists, each compared with every
earlier one that is still remembered.
"""

from __future__ import annotations

import json
import random
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from proxy.metering.tokenizer import Tokenizer

NOW = 1_795_400_000.0
WORDS = [
    "account",
    "address",
    "answer",
    "approve",
    "archive",
    "balance",
    "branch",
    "budget",
    "calendar",
    "cancel",
    "carrier",
    "catalog",
    "channel",
    "charge",
    "claim",
    "client",
    "complete",
    "confirm",
    "contract",
    "country",
    "credit",
    "customer",
    "damage",
    "deliver",
    "deposit",
    "describe",
    "discount",
    "document",
    "driver",
    "email",
    "estimate",
    "exchange",
    "explain",
    "express",
    "factory",
    "follow",
    "forward",
    "gather",
    "handle",
    "history",
    "import",
    "include",
    "inform",
    "invoice",
    "journal",
    "keep",
    "label",
    "ledger",
    "letter",
    "limit",
    "locate",
    "manager",
    "market",
    "measure",
    "member",
    "method",
    "notice",
    "number",
    "offer",
    "office",
    "order",
    "package",
    "payment",
    "period",
    "phone",
    "policy",
    "prepare",
    "price",
    "product",
    "profile",
    "promise",
    "provide",
    "purchase",
    "quality",
    "quantity",
    "question",
    "reason",
    "receipt",
    "record",
    "refund",
    "region",
    "release",
    "remind",
    "repair",
    "replace",
    "report",
    "request",
    "return",
    "review",
    "route",
    "schedule",
    "season",
    "service",
    "settle",
    "ship",
    "signal",
    "stock",
    "storage",
    "subject",
    "supply",
    "support",
    "system",
    "target",
    "team",
    "transfer",
    "travel",
    "update",
    "urgent",
    "value",
    "vendor",
    "verify",
    "visit",
    "voucher",
    "warehouse",
    "warranty",
    "weight",
    "window",
]
GAP_S = 20.0


def tokens_of(text: str) -> list[int]:
    return _encoding().encode_ordinary(text)


@cache
def _encoding() -> Any:
    tokenizer = Tokenizer(Path(__file__).parent.parent / ".pytest_cache" / "tokenizer")
    tokenizer.count("gpt-4o", "warm")
    return tokenizer._encodings["o200k_base"]


def sentences(count: int, seed: str) -> str:
    """English-looking text that says the same for the same seed; a sentence has about eleven tokens."""
    dice = random.Random(seed)
    return "".join(_sentence(dice) + ("\n" if index % 4 == 3 else " ") for index in range(count))


def _sentence(dice: random.Random) -> str:
    return " ".join(dice.choices(WORDS, k=dice.randint(7, 12))).capitalize() + "."


def tool(name: str, seed: str = "", **changes: Any) -> dict[str, Any]:
    """A function's definition, of about 150 tokens."""
    dice = random.Random(name + seed)
    fields = {word: {"type": "string", "description": _sentence(dice)} for word in dice.sample(WORDS, 8)}
    parameters = {"type": "object", "properties": fields, "required": [*fields][:2]}
    return {"type": "function", "name": name, "description": _sentence(dice), "parameters": parameters} | changes


@dataclass
class Sent:
    """A call as it was sent."""

    at: float
    messages: list[tuple[str, str]]
    tools: list[dict[str, Any]] = field(default_factory=list)
    schema: dict[str, Any] | None = None
    user: str = ""
    key: str = "team"
    prompt: str = ""
    model: str = "gpt-4o"
    provider: str = "openai"
    content: str = "full"
    retention: str = ""

    @cached_property
    def tokens(self) -> list[int]:
        found = tokens_of(json.dumps(self.schema, separators=(",", ":"))) if self.schema else []
        for one in self.tools:
            found += tokens_of(json.dumps(one, separators=(",", ":")))
        for role, text in self.messages:
            found += [-1, -ord(role[0]), -2, -3, *tokens_of(text)]
        return found


def provider_reads(
    calls: Sequence[Sent], *, lifetime_s: float = 600.0, minimum: int = 1024, step: int = 128, by_key: bool = False
) -> list[int]:
    """Tokens that each call reads of an earlier one's prefix, used within the lifetime."""
    prompts = [array("q", call.tokens) for call in calls]
    used: list[list[float]] = [[call.at] * (len(prompt) + 1) for call, prompt in zip(calls, prompts, strict=True)]
    reads = []
    for index, (call, prompt) in enumerate(zip(calls, prompts, strict=True)):
        best = 0
        for earlier in range(index):
            if by_key and calls[earlier].key != call.key:
                continue
            same = _same(prompts[earlier], prompt)
            while same and call.at - used[earlier][same] > lifetime_s:
                same -= 1
            best = max(best, same)
            used[earlier][: same + 1] = [call.at] * (same + 1)
        reads.append(best - best % step if best >= minimum else 0)
    return reads


def _same(one: array[int], other: array[int]) -> int:
    length = min(len(one), len(other))
    return next((i for i in range(length) if one[i] != other[i]), length)


def rows(calls: Sequence[Sent], reads: Sequence[int]) -> Iterator[dict[str, Any]]:
    """As the advisor reads them of `generations`."""
    for index, (call, read) in enumerate(zip(calls, reads, strict=True)):
        messages = [{"role": role, "parts": [{"type": "text", "content": text}]} for role, text in call.messages]
        yield {
            "request_id": f"{index:032x}", "at": call.at, "provider": call.provider, "upstream": "main",
            "model": call.model, "response_model": call.model, "batch_id": "", "service_tier": "default",
            "key_id": call.key, "user": call.user, "session": "", "prompt_name": call.prompt, "content": call.content,
            "usage_source": "upstream", "input_tokens": len(call.tokens), "cached_tokens": read,
            "cache_write_tokens": 0, "input_image_tokens": None, "retention": call.retention,
            "response_format": json.dumps(call.schema) if call.schema else "", "system_instructions": "",
            "input_messages": json.dumps(messages), "tool_definitions": json.dumps(call.tools) if call.tools else "",
        }  # fmt: skip


Make = Callable[[int, random.Random], Sent]


def traffic(count: int, make: Make, *, gap_s: float = GAP_S, seed: str = "traffic") -> list[Sent]:
    """`count` calls in order of time; `make` gets a call's number and dice of its own."""
    calls = []
    for index in range(count):
        call = make(index, random.Random(f"{seed}{index}"))
        call.at = NOW - (count - index) * gap_s
        calls.append(call)
    return calls


def question(dice: random.Random) -> tuple[str, str]:
    return "user", " ".join(_sentence(dice) for _ in range(dice.randint(1, 4)))
