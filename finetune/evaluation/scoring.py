"""The metrics: which of them an example can be scored by, and what an answer to it gets.

What a metric is taken on depends on the example alone, never on the answer: all models are scored on the same ones. A
question that was not answered gets the worst score of each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from ..errors import FinetuneError
from . import structured, texts
from .asking import Answer
from .examples import Example
from .patterns import PREFIX, Patterns


class Score(msgspec.Struct, frozen=True, omit_defaults=True):
    value: float
    why: str = ""
    """Without what anybody said."""


METRICS: Final = ("label_accuracy", "exact_match", "token_f1", "rouge_l", "json_valid", "schema_valid", "tool_calls")
"""Scores of single answers, from 0 to 1, larger is better. Perplexity is the server's, see `perplexity.py`."""
_YES_OR_NO: Final = frozenset({"label_accuracy", "exact_match", "json_valid", "schema_valid", "tool_calls"})


def is_yes_or_no(metric: str) -> bool:
    """Its scores are 0 and 1 alone."""
    return metric in _YES_OR_NO or metric.startswith(PREFIX)


def higher_is_better(metric: str) -> bool:
    return metric != "perplexity"


_PRIMARY: Final = ("label_accuracy", "tool_calls", "token_f1", "rouge_l", "exact_match", "schema_valid", "json_valid")


class Scorer:
    """Scores by what `examples` are: labels are detected unless said, schemas taken from each one's response format
    unless there is one for all."""

    def __init__(
        self,
        examples: Sequence[Example],
        *,
        metrics: Sequence[str] = (),
        labels: Sequence[str] = (),
        schema: structured.Schema | None = None,
        patterns: Sequence[str] = (),
    ) -> None:
        """Raises `FinetuneError`: one of `metrics`, or `labels`, cannot be taken on any example."""
        spoken = [one.text for one in examples if _speaks(one)]
        self.labels = tuple(map(texts.normalised, labels)) or texts.detected_labels(spoken)
        self._schema = schema
        self._patterns = Patterns(patterns)
        known = (*METRICS, *self._patterns.metrics)
        self._metrics = [name for name in known if not metrics or name in metrics or name.startswith(PREFIX)]
        self.counts = {name: sum(self._applies(name, one) for one in examples) for name in self._metrics}
        for name in metrics:
            if name in self.counts and not self.counts[name]:
                raise FinetuneError(f"{name} cannot be taken: no example has {_NEEDS[name]}.")
        if labels and not self.counts.get("label_accuracy", 1):
            raise FinetuneError(f"No answer of the examples is one of the labels {', '.join(labels)}.")
        self.metrics = tuple(name for name, count in self.counts.items() if count)
        self.notes = [] if schema is not None else _notes(examples)
        """What could not be taken, and why."""

    def primary(self, examples: Sequence[Example]) -> str:
        """What the comparison is decided by: the labels, the calls where most references are some, else the words."""
        calling = sum(bool(structured.calls_of(one.reference)) for one in examples)
        chosen = [name for name in _PRIMARY if name in self.metrics]
        if "tool_calls" in chosen and 2 * calling < len(examples) and len(chosen) > 1:
            chosen.remove("tool_calls")
        return chosen[0] if chosen else "perplexity"

    def score(self, example: Example, answer: Answer) -> dict[str, Score]:
        """Of one answer, by each metric that applies to its example."""
        named = [name for name in self.metrics if self._applies(name, example)]
        if answer.failure:
            return dict.fromkeys(named, Score(0.0, f"not answered: {answer.failure}"))
        return {name: self._scored(name, example, answer) for name in named}

    def _scored(self, metric: str, example: Example, answer: Answer) -> Score:
        if metric.startswith(PREFIX):
            return Score(float(self._patterns.holds(metric, answer.text)))
        return _SCORES[metric](self, example, answer)

    def _applies(self, metric: str, example: Example) -> bool:
        if metric == "label_accuracy":
            return bool(self.labels) and texts.normalised(example.text) in self.labels
        if metric in ("exact_match", "token_f1", "rouge_l") or metric.startswith(PREFIX):
            return _speaks(example)
        if metric == "tool_calls":
            return bool(example.tools or structured.calls_of(example.reference))
        if metric == "schema_valid":
            return _speaks(example) and self._schema_of(example) is not None
        return _speaks(example) and (
            self._schema_of(example) is not None
            or structured.wants_json(example.response_format)
            or structured.document_of(example.text) is not structured.ABSENT
        )

    def _schema_of(self, example: Example) -> structured.Schema | None:
        return self._schema if self._schema is not None else structured.schema_of(example.response_format)

    def _exact(self, example: Example, answer: Answer) -> Score:
        wanted = structured.document_of(example.text)
        if wanted is structured.ABSENT:
            return Score(float(texts.exact_match(answer.text, example.text)))
        said = structured.document_of(answer.text)
        return Score(float(said is not structured.ABSENT and structured.same(said, wanted)), "compared as JSON")

    def _label(self, example: Example, answer: Answer) -> Score:
        said = texts.label_of(answer.text, self.labels)
        return Score(float(said == texts.normalised(example.text)), "" if said else "no label, or several")

    def _json(self, example: Example, answer: Answer) -> Score:
        valid = structured.json_of(answer.text) is not structured.ABSENT
        return Score(float(valid), "" if valid else "not JSON")

    def _valid(self, example: Example, answer: Answer) -> Score:
        value, schema = structured.json_of(answer.text), self._schema_of(example)
        if value is structured.ABSENT or schema is None:
            return Score(0.0, "not JSON")
        broken = structured.violation(value, schema)
        return Score(float(broken is None), broken or "")

    def _calls(self, example: Example, answer: Answer) -> Score:
        wrong = structured.wrong_call(answer.tool_calls, structured.calls_of(example.reference))
        return Score(float(wrong is None), wrong or "")


def _speaks(example: Example) -> bool:
    """The reference is something said, and not a call."""
    return bool(example.text.strip()) and not structured.calls_of(example.reference)


def _notes(examples: Sequence[Example]) -> list[str]:
    """On schemas that no answer can be held against."""
    found = {one.id: why for one in examples if (why := structured.unusable_schema(one.response_format))}
    if not found:
        return []
    name, why = next(iter(found.items()))
    return [f"schema_valid: not taken on {len(found)} examples, whose schema cannot be checked. That of {name}: {why}"]


_SCORES: Final[Mapping[str, Callable[[Any, Example, Answer], Score]]] = {
    "label_accuracy": Scorer._label,
    "exact_match": Scorer._exact,
    "token_f1": lambda _, example, answer: Score(texts.token_f1(answer.text, example.text)),
    "rouge_l": lambda _, example, answer: Score(texts.rouge_l(answer.text, example.text)),
    "json_valid": Scorer._json,
    "schema_valid": Scorer._valid,
    "tool_calls": Scorer._calls,
}
_NEEDS: Final = {
    "label_accuracy": "a label for its answer; name them with --labels",
    "exact_match": "an answer in words",
    "token_f1": "an answer in words",
    "rouge_l": "an answer in words",
    "json_valid": "an answer in JSON, or asks for one",
    "schema_valid": "a schema; name one with --schema",
    "tool_calls": "tools",
}
