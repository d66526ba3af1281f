"""A prompt with examples: those that stand for the most of the dataset, and are unlike one another."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from ..dataset import INSTRUCTIONS, Conversation, Dataset, Message
from ..errors import FinetuneError
from .features import cosines
from .labels import Labels, label_of
from .measures import Count, parts, spaced
from .rows import Row, Rows, conversations, digest, text_of

Alike = npt.NDArray[np.float64]
"""Each with each, -1 to 1."""
Embed = Callable[[list[str]], Sequence[npt.NDArray[np.float32]] | None]
"""A vector of length 1 for each text; None for texts that the model is not for."""

POOL_MAX: Final = 2_000
"""Examples that are chosen among; of more, those at equal distances."""
EXAMPLES: Final = 8
TOKENS_MAX: Final = 2_000
WORDS_ALIKE: Final = "TF-IDF of words and pairs of words"
RELEVANCE: Final = 0.7
"""Of a choice for one question; the rest is unlikeness to what is chosen already."""
_INSTEAD: Final = "Answer as in these examples."


class FewShot(msgspec.Struct, frozen=True, kw_only=True):
    messages: list[Message]
    """A system message, then the turns of each example, the most typical first."""
    lines: list[int]
    """Of `train.jsonl`."""
    tokens: int
    """That it adds to a call, an estimate."""
    alike_by: str
    """What texts were compared by."""
    labels: dict[str, int] = {}
    """Examples by class, where the answers are classes."""
    labels_missing: int = 0
    """Classes without an example."""


def choose(
    dataset: Dataset,
    rows: Rows,
    labels: Labels | None,
    count: Count,
    embed: Embed,
    *,
    model: str,
    examples: int = EXAMPLES,
    tokens_max: int = TOKENS_MAX,
    question: str = "",
) -> FewShot:
    """Of `train` alone, without what validation and test ask too, without images, and without answers that call a tool.

    `question`: those for one question, near to it; otherwise those that stand for all. `model` is the name of what
    `embed` asks. Raises `FinetuneError` when there is none, or none fits into `tokens_max`.
    """
    pool = spaced([row for row in rows.sample if _fit(row, rows.held_out)], POOL_MAX)
    if not pool:
        raise FinetuneError(
            f"{dataset.name} has no example for a prompt: all have images, end in calls of tools, or are in "
            "validation or test too."
        )
    costs = [sum(parts(row, count)) - count(row.instructions) for row in pool]
    texts = [row.asked for row in pool]
    alike, by = similarities([*texts, question] if question else texts, embed, model)
    if question:
        places = nearest(alike[-1, :-1], alike[:-1, :-1], costs, examples, tokens_max)
    else:
        classes = [label_of(row.answer) for row in pool] if labels else [""] * len(pool)
        places = representative(alike, classes, costs, examples, tokens_max)
    if not places:
        raise FinetuneError(
            f"No example of {dataset.name} fits into {tokens_max:,} tokens: the shortest has {min(costs):,}. "
            "Allow more: --few-shot-tokens"
        )
    chosen = [pool[place] for place in places]
    found = conversations(dataset, [row.line for row in chosen])
    system = _system([row.instructions for row in chosen])
    of_classes = Counter(label_of(row.answer) for row in chosen) if labels else Counter()
    return FewShot(
        messages=[{"role": "system", "content": system}, *(turn for one in found for turn in _turns(one))],
        lines=[row.line for row in chosen],
        tokens=sum(costs[place] for place in places),
        alike_by=by,
        labels=dict(sorted(of_classes.items())),
        labels_missing=labels.count - len(of_classes) if labels else 0,
    )


def similarities(texts: list[str], embed: Embed, model: str) -> tuple[Alike, str]:
    """Cosines of the embeddings, or of words where the model has none; and by which of them."""
    vectors = embed(texts)
    if vectors is None:
        return cosines(texts), WORDS_ALIKE
    matrix = np.asarray(vectors, dtype=np.float64)
    return matrix @ matrix.T, model


def representative(
    alike: Alike, classes: Sequence[str], costs: Sequence[int], examples: int, tokens_max: int
) -> list[int]:
    """Greedy facility location: each step takes what raises most the sum over all of the likeness to the nearest chosen
    one, and so is unlike those already chosen. A class that has none yet comes first, the most frequent before others.
    At least 63 % of the best sum (Nemhauser, Wolsey and Fisher 1978), but for the budget and the classes.
    """
    positive = np.clip(alike, 0.0, None)
    covered = np.zeros(len(alike))
    left = tokens_max
    waiting = [name for name, _ in sorted(Counter(classes).items(), key=lambda pair: (-pair[1], pair[0]))]
    chosen: list[int] = []
    while len(chosen) < examples:
        free = [place for place in range(len(costs)) if costs[place] <= left and place not in chosen]
        if not free:
            break
        wanted = next((name for name in waiting if any(classes[place] == name for place in free)), None)
        among = [place for place in free if wanted is None or classes[place] == wanted]
        gains = np.maximum(positive[:, among] - covered[:, None], 0).sum(axis=0)
        best = among[int(np.argmax(gains))]
        if gains.max() <= 0 and chosen and wanted is None:
            break
        chosen.append(best)
        covered = np.maximum(covered, positive[:, best])
        left -= costs[best]
        waiting = [name for name in waiting if name != classes[best]]
    return chosen


def nearest(
    to_question: npt.NDArray[np.float64], alike: Alike, costs: Sequence[int], examples: int, tokens_max: int
) -> list[int]:
    """Maximal marginal relevance (Carbonell and Goldstein 1998): near to the question, unlike one another."""
    chosen: list[int] = []
    left = tokens_max
    while len(chosen) < examples:
        free = [place for place in range(len(costs)) if costs[place] <= left and place not in chosen]
        if not free:
            break
        repeated = alike[np.ix_(free, chosen)].max(axis=1) if chosen else 0.0
        best = free[int(np.argmax(RELEVANCE * to_question[free] - (1 - RELEVANCE) * repeated))]
        chosen.append(best)
        left -= costs[best]
    return chosen


def write(few_shot: FewShot, path: Path) -> None:
    """As `{"messages": [...]}`, whole or not at all. Raises `FinetuneError`."""
    aside = path.parent / f".{path.name}.{os.getpid()}"
    try:
        aside.write_bytes(msgspec.json.format(msgspec.json.encode({"messages": few_shot.messages}), indent=2) + b"\n")
        aside.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            aside.unlink(missing_ok=True)
        raise FinetuneError(f"{path} cannot be written: {error.strerror}.") from error


def _fit(row: Row, held_out: frozenset[bytes]) -> bool:
    return row.only_text and not row.calls_tools and bool(row.answer.strip()) and digest(row.asked) not in held_out


def _system(instructions: Sequence[str]) -> str:
    """The most frequent one, the first among equals."""
    text, _ = Counter(instructions).most_common(1)[0]
    return text or _INSTEAD


def _turns(conversation: Conversation) -> list[dict[str, Any]]:
    """Without instructions, and without the weights that only training reads."""
    return [
        {name: value for name, value in message.items() if name != "weight"}
        for message in conversation.messages
        if message.get("role") not in INSTRUCTIONS and (text_of(message) or message.get("role") != "system")
    ]
