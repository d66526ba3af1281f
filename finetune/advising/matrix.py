"""The usual matrix: which way for how many examples and which aim."""

from __future__ import annotations

from typing import Final, Literal

from .measures import Measures

Aim = Literal["format", "style", "classification", "knowledge", "cost"]
Name = Literal["few-shot", "hosted", "lora", "retrieval", "dpo"]

FEW_SHOT_BELOW: Final = 100
"""Distinct examples: with fewer, a tuned model learns them by heart."""
LORA_ABOVE: Final = 1_000
"""With more, a run on one's own device costs less than a provider takes, and can be repeated."""
NEW_SHARE_MIN: Final = 0.25
NEW_FACTS_MIN: Final = 1.0
"""New numbers and names an answer. Both are asked for: prose has rare words that are no facts, and one order number in
a long answer is no knowledge."""
PAIRS_MIN: Final = 100
"""Preference pairs in train."""
JSON_SHARE_MIN: Final = 0.8


def aim_of(measures: Measures) -> Aim:
    """What the answers look like, where nobody says what they are for."""
    if measures.labels is not None:
        return "classification"
    if measures.new.share >= NEW_SHARE_MIN and measures.new.facts >= NEW_FACTS_MIN:
        return "knowledge"
    if measures.json_share + measures.tool_share >= JSON_SHARE_MIN:
        return "format"
    return "style"


def recommended(distinct: int, aim: Aim) -> Name:
    """By distinct examples and aim."""
    if aim == "knowledge":
        return "retrieval"
    if distinct < FEW_SHOT_BELOW:
        return "few-shot"
    return "hosted" if distinct <= LORA_ABOVE else "lora"


def pairs_come_after(distinct: int, pairs: int) -> bool:
    """Whether there is enough for preference optimisation behind enough to train on before it."""
    return distinct >= FEW_SHOT_BELOW and pairs >= PAIRS_MIN
