"""What is wrong with a dataset, whichever way is taken, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from .measures import Measures

DUPLICATES_MAX: Final = 0.05
DIVERSITY_MIN: Final = 0.1
"""Effective by compared examples."""
TEST_MIN: Final = 50
"""Examples: with so many, the 95 % interval of a share of one half is 14 points to either side."""
OF_A_CLASS_MIN: Final = 10
BALANCE_MIN: Final = 0.7


def doubts(measures: Measures) -> list[str]:
    """Sentences with the numbers measured."""
    return [*_repeats(measures), *_splits(measures), *_classes(measures)]


def _repeats(measures: Measures) -> Iterator[str]:
    found, sampled = measures.duplicates, measures.sampled
    if found.exact + found.near > DUPLICATES_MAX * sampled:
        yield (
            f"{found.exact:,} exact and {found.near:,} near duplicates in {sampled:,} examples: they are learnt as "
            "often as they are there. penstock dataset build leaves them out without --keep-duplicates and --no-near."
        )
    diversity = measures.diversity
    if diversity.share < DIVERSITY_MIN and measures.labels is None:
        yield (
            f"{diversity.of:,} examples are worth {diversity.effective:,.0f} different ones: they say much the same. "
            "Select more kinds of calls: penstock dataset build --per-template, --per-user"
        )


def _splits(measures: Measures) -> Iterator[str]:
    if measures.duplicates.held_out:
        yield (
            f"{measures.duplicates.held_out:,} examples of train ask what validation or test asks too: an evaluation "
            "would flatter. A lower --near of penstock dataset build leaves more of them out of train."
        )
    if not measures.examples["validation"]:
        yield "There is no validation split: nothing tells when training begins to learn by heart."
    if measures.examples["test"] < TEST_MIN:
        yield (
            f"The test split has {measures.examples['test']:,} examples: with fewer than {TEST_MIN} only large "
            "differences show. Give it more: penstock dataset build --test 0.2"
        )


def _classes(measures: Measures) -> Iterator[str]:
    labels = measures.labels
    if labels is None:
        return
    if labels.smallest < OF_A_CLASS_MIN:
        yield (
            f"The rarest of {labels.count:,} classes, {labels.smallest_name!r}, has {labels.smallest:,} examples; "
            f"have at least {OF_A_CLASS_MIN}."
        )
    if labels.balance < BALANCE_MIN:
        yield (
            f"The classes are uneven (balance {labels.balance:.2f}): always answering the most frequent one is "
            f"right in {labels.largest_share:.0%}. penstock dataset build --per-label evens them."
        )
