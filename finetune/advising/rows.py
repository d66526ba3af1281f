"""The rows that are measured: the split `train`, or a sample of it that is always the same."""

from __future__ import annotations

import hashlib
import random
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from ..dataset import INSTRUCTIONS, SPLITS, Conversation, Dataset, Message
from ..errors import FinetuneError

ROWS_MAX: Final = 20_000
"""Of more examples a sample of so many is measured."""
CHARACTERS_MAX: Final = 20_000
"""Of a prompt and of an answer that are looked at; tokens are counted over them and extrapolated."""
SEED: Final = 7


@dataclass(frozen=True, slots=True)
class Row:
    """An example as measures see it. The answer is the last message, the prompt all that is before it."""

    line: int
    """Of the file, from 1."""
    instructions: str
    """The system and developer messages."""
    asked: str
    """The rest of the prompt: questions, earlier answers, results of tools."""
    answer: str
    """Its text, then each call of a tool as its name and arguments."""
    tools: str
    """Their definitions, as JSON."""
    messages: int
    turns: int
    """Of the user."""
    characters: tuple[int, int, int, int]
    """Of instructions, asked, answer and tools, before they were cut."""
    calls_tools: bool
    """The answer does."""
    only_text: bool
    """No image, audio or file is in it."""

    @property
    def prompt(self) -> str:
        return f"{self.instructions}\n{self.asked}"


@dataclass(frozen=True, slots=True)
class Rows:
    """What was read of a dataset."""

    sample: list[Row]
    """Of `train`, in the order of the file."""
    examples: dict[str, int]
    """By split, all of them."""
    preferences: dict[str, int]
    held_out: frozenset[bytes]
    """Digests of what the examples of validation and test ask."""


def read(dataset: Dataset, rows_max: int = ROWS_MAX) -> Rows:
    """Raises `FinetuneError`: no example to train on, a line that is none, a file that is not the manifest's."""
    held_out: set[bytes] = set()
    examples: dict[str, int] = {}
    preferences: dict[str, int] = {}
    for split in SPLITS:
        dataset.verify(dataset.path(split))
        dataset.verify(dataset.path(split, preferences=True))
        preferences[split] = sum(1 for _ in dataset.preferences(split))
        if split != "train":
            digests = [digest(row.asked) for row in _rows(dataset, split)]
            examples[split] = len(digests)
            held_out.update(digests)
    if not dataset.path("train").is_file():
        raise FinetuneError(_nothing(dataset, preferences))
    sample, count = sampled(_rows(dataset, "train"), rows_max)
    if not count:
        raise FinetuneError(_nothing(dataset, preferences))
    return Rows(sample, {"train": count, **examples}, preferences, frozenset(held_out))


def conversations(dataset: Dataset, lines: Sequence[int]) -> list[Conversation]:
    """Those of `train` at these lines, in this order. Raises `FinetuneError`."""
    wanted = set(lines)
    found = {line: one for line, one in enumerate(dataset.conversations("train"), 1) if line in wanted}
    return [found[line] for line in lines]


def sampled(rows: Iterator[Row], rows_max: int) -> tuple[list[Row], int]:
    """At most so many, each with the same chance (reservoir, fixed seed), and how many there were."""
    dice = random.Random(SEED)
    kept: list[Row] = []
    count = 0
    for count, row in enumerate(rows, 1):
        if len(kept) < rows_max:
            kept.append(row)
        elif (place := dice.randrange(count)) < rows_max:
            kept[place] = row
    return sorted(kept, key=lambda row: row.line), count


def digest(text: str) -> bytes:
    """The same for texts that differ in case, blanks and Unicode form alone."""
    plain = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    return hashlib.blake2b(plain.encode(errors="replace"), digest_size=16).digest()


def row_of(conversation: Conversation, line: int) -> Row | None:
    """None when the last message is no answer."""
    *before, last = conversation.messages or [{}]
    if last.get("role") != "assistant":
        return None
    texts = (
        "\n".join(text_of(message) for message in before if message.get("role") in INSTRUCTIONS),
        "\n".join(text_of(message) for message in before if message.get("role") not in INSTRUCTIONS),
        text_of(last),
        msgspec.json.encode(conversation.tools).decode() if conversation.tools else "",
    )
    instructions, asked, answer, tools = (text[:CHARACTERS_MAX] for text in texts)
    return Row(
        line=line,
        instructions=instructions,
        asked=asked,
        answer=answer,
        tools=tools,
        messages=len(conversation.messages),
        turns=sum(message.get("role") == "user" for message in before),
        characters=(len(texts[0]), len(texts[1]), len(texts[2]), len(texts[3])),
        calls_tools=bool(last.get("tool_calls")),
        only_text=all(_is_text(message) for message in conversation.messages),
    )


def text_of(message: Message) -> str:
    """What a message says: its text, without images and files, and its calls of tools."""
    content = message.get("content")
    texts = [content] if isinstance(content, str) else []
    for part in content if isinstance(content, list) else []:
        if isinstance(part, dict) and isinstance(part.get("text"), str):
            texts.append(part["text"])
    for call in _calls(message):
        function = call.get("function")
        if isinstance(function, dict):
            texts.append(f"{function.get('name', '')} {function.get('arguments', '')}")
    return "\n".join(texts)


def _calls(message: Message) -> list[dict[str, Any]]:
    calls = message.get("tool_calls")
    return [call for call in calls if isinstance(call, dict)] if isinstance(calls, list) else []


def _is_text(message: Message) -> bool:
    content = message.get("content")
    return not isinstance(content, list) or all(
        isinstance(part, dict) and part.get("type") in ("text", "refusal") for part in content
    )


def _rows(dataset: Dataset, split: Any) -> Iterator[Row]:
    for line, conversation in enumerate(dataset.conversations(split), 1):
        row = row_of(conversation, line)
        if row is None:
            raise FinetuneError(
                f"{dataset.path(split)}:{line} does not end with an assistant's message. "
                f"Look: penstock dataset validate {dataset.path(split)}"
            )
        yield row


def _nothing(dataset: Dataset, preferences: dict[str, int]) -> str:
    if pairs := sum(preferences.values()):
        return (
            f"{dataset.name} has {pairs:,} preference pairs and no examples in train: pairs refine a model that was "
            "trained on examples before. Build it of answered calls too: penstock dataset build"
        )
    return f"{dataset.name} has no examples in train. Select more calls: penstock dataset build --since"
