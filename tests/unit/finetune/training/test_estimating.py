"""The time that a run is said to take, and how it is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from finetune import lora
from finetune.training import estimating
from finetune.training.estimating import SHARE, Plan, padded, words
from finetune.training.options import LoraOptions

SPEED = 1e9


@pytest.fixture
def estimate(tiny_base: Path, small_set: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The plan of three steps of eight examples, on a machine of known speed."""
    monkeypatch.setattr(estimating, "flops_per_s", lambda *given: SPEED)

    def estimated(**changed: Any) -> Plan:
        given = {"max_steps": 3, "batch_size": 8, "accumulation": 1, "save_steps": 2, **changed}
        return lora.estimate(LoraOptions(dataset=str(small_set), base=str(tiny_base), **given))

    return estimated


def options(**changed: Any) -> LoraOptions:
    return LoraOptions(dataset="x", base="y", **changed)


def test_shorter_rows_are_filled_up_to_the_longest_of_their_batch() -> None:
    lengths = [10, 10, 10, 50] * 25
    assert padded(lengths, options(batch_size=1)) == sum(lengths)
    assert padded(lengths, options(batch_size=100)) == 100 * 50
    assert sum(lengths) < padded(lengths, options(batch_size=4)) < 100 * 50
    assert padded(lengths, options(batch_size=4, group_by_length=True)) < padded(lengths, options(batch_size=4))
    assert padded(lengths, options(batch_size=4, packing=True)) == sum(lengths)
    assert padded([], options()) == 0


def test_time_is_that_of_training_validations_and_perplexities(estimate: Any) -> None:
    plan, unvalidated = estimate(), estimate(validation_examples=0)
    assert (plan.steps, plan.validations, unvalidated.validations) == (3, 2, 0)  # after step 2, and after the last
    once = unvalidated.seconds * SPEED * SHARE / unvalidated.parameters / plan.epochs  # passes of all rows' tokens
    assert 4 * plan.tokens <= once < 4 * plan.tokens * 1.1
    validated = (plan.seconds - unvalidated.seconds) * SPEED * SHARE / plan.parameters
    tokens = plan.tokens / plan.examples * plan.validation_examples
    assert validated == pytest.approx(2 * (plan.validations + 2) * tokens, rel=0.1)
    assert estimate(dpo=True).seconds > 2 * plan.seconds  # both answers, and by the base too
    assert estimate(gradient_checkpointing=True).seconds > plan.seconds


def test_the_plan_says_what_its_time_is_made_of(estimate: Any) -> None:
    time = words(estimate())[-1]
    assert time.endswith(" with 2 validations and two perplexities, at 35 % of the 0.001 TFLOP/s that were measured")
    assert "validation" not in words(estimate(validation_examples=0))[-1]
