"""Lines of a dataset as tokens, and of each token whether it is learnt."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from ..dataset import Conversation, Preference
from .rendering import Message, Rendered, Template, shared

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

UNLEARNT: Final = -100
"""A label that PyTorch's cross entropy passes over."""


@dataclass(slots=True)
class Example:
    """`labels` are the ids, with `UNLEARNT` where nothing is learnt."""

    ids: list[int]
    labels: list[int]

    @property
    def learnt(self) -> int:
        """Tokens that are learnt. The first one cannot be: nothing precedes it."""
        return sum(label != UNLEARNT for label in self.labels[1:])


@dataclass(slots=True)
class Pair:
    """What both answer, and two answers."""

    prompt: list[int]
    chosen: list[int]
    rejected: list[int]

    def preferred(self) -> Example:
        """The better answer as an example."""
        return Example(self.prompt + self.chosen, [UNLEARNT] * len(self.prompt) + self.chosen)


@dataclass(slots=True)
class Counted:
    """What became of the lines of a file."""

    lines: int = 0
    cut: int = 0
    """Longer than allowed, and shortened."""
    too_long: int = 0
    """Longer than allowed, and left out: asked for, or nothing to learn was left of them."""
    images: int = 0
    """Left out: they show something, and only text is learnt."""
    nothing_learnt: int = 0
    """Left out: no turn of them is learnt."""
    taken: int = 0
    tokens: int = 0
    learnt: int = 0

    def left_out(self) -> str:
        """In words; "" when nothing was."""
        said = (
            (self.cut, "cut to the length"),
            (self.too_long, "left out as too long"),
            (self.images, "left out with images"),
            (self.nothing_learnt, "left out with nothing to learn"),
        )
        return ", ".join(f"{count:,} {what}" for count, what in said if count)


class Encoder:
    """Makes tokens of conversations, at most `max_length` each."""

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        *,
        mask: Literal["assistant", "last", "all"],
        max_length: int,
        too_long: Literal["cut", "drop"] = "cut",
    ) -> None:
        self.template = Template(tokenizer)
        self._tokenizer = tokenizer
        self._mask = mask
        self._length = max_length
        self._cut = too_long == "cut"

    def examples(self, lines: Iterable[Conversation], counted: Counted) -> list[Example]:
        """Those that can be learnt from. Raises `FinetuneError` when the template cannot write them."""
        taken = []
        for line in lines:
            counted.lines += 1
            if _shows(line.messages):
                counted.images += 1
                continue
            example = self.encode(line)
            if not example.learnt:
                counted.nothing_learnt += 1
            elif (fitted := self._fitted(example, counted)) is not None:
                counted.taken += 1
                counted.tokens += len(fitted.ids)
                counted.learnt += fitted.learnt
                taken.append(fitted)
        return taken

    def pairs(self, lines: Iterable[Preference], counted: Counted) -> list[Pair]:
        """Likewise. A pair is cut where its longer answer ends too late, and left out when its prompt fills it."""
        taken = []
        for line in lines:
            counted.lines += 1
            asked = line.input
            if _shows([*asked.messages, *line.preferred_output, *line.non_preferred_output]):
                counted.images += 1
                continue
            pair = self._pair(asked.messages, asked.tools, line.preferred_output, line.non_preferred_output)
            if not pair.chosen or not pair.rejected:
                counted.nothing_learnt += 1
                continue
            longest = len(pair.prompt) + max(len(pair.chosen), len(pair.rejected))
            if longest > self._length:
                if len(pair.prompt) >= self._length or not self._cut:
                    counted.too_long += 1
                    continue
                counted.cut += 1
                left = self._length - len(pair.prompt)
                pair = Pair(pair.prompt, pair.chosen[:left], pair.rejected[:left])
            counted.taken += 1
            counted.tokens += 2 * len(pair.prompt) + len(pair.chosen) + len(pair.rejected)
            counted.learnt += len(pair.chosen) + len(pair.rejected)
            taken.append(pair)
        return taken

    def encode(self, line: Conversation) -> Example:
        """All of it, however long."""
        rendered = self.template.render(line.messages, line.tools)
        ids, offsets = self._tokens(rendered.text)
        learnt = _learnt(rendered, line.messages, self._mask)
        labels = [token if _within(start, learnt) else UNLEARNT for token, start in zip(ids, offsets, strict=True)]
        return Example(ids, labels)

    def _fitted(self, example: Example, counted: Counted) -> Example | None:
        if len(example.ids) <= self._length:
            return example
        fitted = Example(example.ids[: self._length], example.labels[: self._length])
        if not self._cut or not fitted.learnt:
            counted.too_long += 1
            return None
        counted.cut += 1
        return fitted

    def _pair(
        self,
        messages: Sequence[Message],
        tools: Sequence[dict[str, Any]],
        preferred: Sequence[Message],
        other: Sequence[Message],
    ) -> Pair:
        prompts, answers = [], []
        for answer in (preferred, other):
            rendered = self.template.render([*messages, *answer], tools)
            before = sum(message["role"] == "assistant" for message in messages)
            begins = next((span[0] for span in rendered.spans[before:] if span), len(rendered.text))
            ids, offsets = self._tokens(rendered.text)
            length = sum(start < begins for start in offsets)
            prompts.append(ids[:length])
            answers.append(ids[length:])
        common = shared(*prompts)  # where an answer begins, tokens may differ that stand before it
        chosen, rejected = (prompt[common:] + answer for prompt, answer in zip(prompts, answers, strict=True))
        return Pair(prompts[0][:common], chosen, rejected)

    def _tokens(self, text: str) -> tuple[list[int], list[int]]:
        """Ids, and where in the text each begins. What special tokens there are, the template has written."""
        found = self._tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        return list(found["input_ids"]), [start for start, _ in found["offset_mapping"]]


def _learnt(rendered: Rendered, messages: Sequence[Message], mask: str) -> list[tuple[int, int]]:
    """The parts of the text that are. An answer of weight 0 is read, not learnt, under each mask."""
    answers = [message for message in messages if message["role"] == "assistant"]
    weighed = [
        span if answer.get("weight") != 0 else None for span, answer in zip(rendered.spans, answers, strict=True)
    ]
    if mask == "last":
        weighed = [*[None] * (len(weighed) - 1), *weighed[-1:]]
    if mask != "all":
        return [span for span in weighed if span]
    parts, at = [], 0
    for span, kept in zip(rendered.spans, weighed, strict=True):
        if span and not kept:
            parts.append((at, span[0]))
            at = span[1]
    return [*parts, (at, len(rendered.text))]


def _within(start: int, parts: Sequence[tuple[int, int]]) -> bool:
    return any(begin <= start < end for begin, end in parts)


def _shows(messages: Sequence[Message]) -> bool:
    return any(
        isinstance(part, dict) and part.get("type") in ("image_url", "input_audio", "file")
        for message in messages
        if isinstance(message.get("content"), list)
        for part in message["content"]
    )
