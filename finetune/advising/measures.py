"""What is measured of a dataset. Each number is defined where it stands, and the same dataset gives the same ones."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import msgspec
import numpy as np

from . import facts, labels, repeats
from .features import cosines, effective_number
from .rows import Row, Rows, digest

Count = Callable[[str], int]
"""Tokens of a text."""

COUNTED_MAX: Final = 4_000
"""Examples whose tokens are counted; of more, those at equal distances."""
COMPARED_MAX: Final = 1_000
"""Likewise examples that are compared each with each."""
STATIC_SHARE_MIN: Final = 0.05
"""Of the examples that have to begin with a text for it to be static."""
LINES_MAX: Final = 200
"""Of instructions that are compared."""
PER_MESSAGE: Final = 3
"""Tokens of the frame of a message, and of the reply's beginning (OpenAI's cookbook on chat formats)."""


class Spread(msgspec.Struct, frozen=True, kw_only=True):
    """Quantiles by rank: values that occur."""

    mean: float
    p10: int
    p50: int
    p90: int
    max: int


class Tokens(msgspec.Struct, frozen=True, kw_only=True):
    """By tiktoken's o200k_base: other tokenizers give other numbers, mostly within a fifth."""

    train: int
    """Of all examples of the split, prompts and answers: what an epoch reads."""
    example: Spread
    prompt: Spread
    answer: Spread
    counted: int
    """Examples they were counted on."""


class Duplicates(msgspec.Struct, frozen=True, kw_only=True):
    exact: int
    """Of the sample, those that say what an earlier one says, but for case, blanks and Unicode form."""
    near: int
    """Those that have at least 0.85 of their pairs of words in common with an earlier one (Jaccard)."""
    held_out: int
    """Those that ask what an example of validation or test asks."""


class Diversity(msgspec.Struct, frozen=True, kw_only=True):
    effective: float
    """How many different examples they are worth: exp of the entropy of the eigenvalues of K/n (Vendi Score), K the
    cosines of questions and answers by TF-IDF of words and pairs of words. That needs no model, so it is the same
    everywhere. Instructions are not looked at."""
    of: int
    """Compared."""

    @property
    def share(self) -> float:
        return self.effective / self.of


class Static(msgspec.Struct, frozen=True, kw_only=True):
    share: float
    """Of the tokens of all prompts, those of whole lines that instructions begin with in 5 % of the examples (two at
    least). A tuned model can go without them."""
    tokens: float
    """Of a call, on average."""
    pruned: int
    """Tokens that were cut off when the dataset was pruned: the longest of its rules."""


class Measures(msgspec.Struct, frozen=True, kw_only=True):
    examples: dict[str, int]
    preferences: dict[str, int]
    sampled: int
    """Examples of `train` that all that follows was measured on: at most 20,000, the same ones each time."""
    distinct: int
    """Of `train`, less the part of the sample that is an exact or near duplicate."""
    tokens: Tokens
    turns: Spread
    duplicates: Duplicates
    diversity: Diversity
    new: facts.NewFacts
    labels: labels.Labels | None
    json_share: float
    """Of the answers, those that are a JSON object or array."""
    tool_share: float
    """Of the answers, those that call a tool."""
    static: Static


def measure(rows: Rows, count: Count, pruned: Sequence[str] = ()) -> Measures:
    """`pruned`: texts that were cut off before."""
    sample = rows.sample
    same = repeats.exact(sample)
    near = repeats.near(sample, same)
    different = [row for place, row in enumerate(sample) if place not in same]
    once = len(sample) - len(same) - len(near)
    compared = spaced(sample, COMPARED_MAX)
    counted = spaced(sample, COUNTED_MAX)
    tokens = [parts(row, count) for row in counted]
    return Measures(
        examples=rows.examples,
        preferences=rows.preferences,
        sampled=len(sample),
        distinct=round(rows.examples["train"] * once / len(sample)),
        tokens=_tokens(tokens, rows.examples["train"]),
        turns=spread([row.turns for row in sample]),
        duplicates=Duplicates(
            exact=len(same), near=len(near), held_out=sum(digest(row.asked) in rows.held_out for row in sample)
        ),
        diversity=Diversity(
            effective=effective_number(cosines([f"{row.asked}\n{row.answer}" for row in compared])), of=len(compared)
        ),
        new=facts.new_facts(different),
        labels=labels.find(sample),
        json_share=sum(_is_json(row.answer) for row in sample) / len(sample),
        tool_share=sum(row.calls_tools for row in sample) / len(sample),
        static=Static(
            share=(static := _static(counted, count)) / max(1, sum(prompt for prompt, _ in tokens)),
            tokens=static / len(counted),
            pruned=max((count(text) for text in pruned), default=0),
        ),
    )


def spaced(rows: Sequence[Row], rows_max: int) -> list[Row]:
    """At most so many, at equal distances."""
    if len(rows) <= rows_max:
        return [*rows]
    return [rows[place * len(rows) // rows_max] for place in range(rows_max)]


def spread(values: Sequence[int]) -> Spread:
    """Of at least one value."""
    p10, p50, p90 = (int(value) for value in np.quantile(values, (0.1, 0.5, 0.9), method="inverted_cdf"))
    return Spread(mean=sum(values) / len(values), p10=p10, p50=p50, p90=p90, max=max(values))


def parts(row: Row, count: Count) -> tuple[int, int]:
    """Tokens of the prompt, with the definitions of tools and the frames of messages, and of the answer."""
    texts = (row.instructions, row.asked, row.answer, row.tools)
    instructions, asked, answer, tools = (
        round(count(text) * whole / len(text)) if text else 0 for text, whole in zip(texts, row.characters, strict=True)
    )
    return instructions + asked + tools + PER_MESSAGE * row.messages, answer


def _tokens(counted: Sequence[tuple[int, int]], examples: int) -> Tokens:
    whole = [prompt + answer for prompt, answer in counted]
    return Tokens(
        train=round(sum(whole) / len(whole) * examples),
        example=spread(whole),
        prompt=spread([prompt for prompt, _ in counted]),
        answer=spread([answer for _, answer in counted]),
        counted=len(counted),
    )


def _static(rows: Sequence[Row], count: Count) -> int:
    """Tokens of the longest static beginning of each, all together."""
    texts = Counter(row.instructions for row in rows)
    beginnings: Counter[bytes] = Counter()
    for text, times in texts.items():
        beginnings.update(dict.fromkeys((key for key, _ in _beginnings(text)), times))
    least = max(2.0, STATIC_SHARE_MIN * len(rows))
    saved: dict[str, int] = {}
    tokens = 0
    for text, times in texts.items():
        end = max((end for key, end in _beginnings(text) if beginnings[key] >= least), default=0)
        static = text[:end]
        if static not in saved:
            saved[static] = count(static) if static else 0
        tokens += saved[static] * times
    return tokens


def _beginnings(text: str) -> Iterator[tuple[bytes, int]]:
    """Of one line, of two lines, and so on: a digest of what is before their end, and the end."""
    running = hashlib.blake2b(digest_size=16)
    end = 0
    for line in text.splitlines(keepends=True)[:LINES_MAX]:
        said = line.rstrip()
        end += len(line)
        running.update(said.encode(errors="replace") + b"\n")
        if said:
            yield running.digest(), end


def _is_json(text: str) -> bool:
    text = text.strip()
    if text[:1] not in ("{", "["):
        return False
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
