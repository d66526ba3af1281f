"""Perplexity: a known value, whatever the batches, and an interval that is one."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from finetune.training import perplexity
from finetune.training.conversations import UNLEARNT, Example
from finetune.training.perplexity import Surprise, surprises


def example(length: int, learnt_from: int) -> Example:
    ids = [(7 * at + length) % 384 for at in range(length)]
    return Example(ids, [UNLEARNT] * learnt_from + ids[learnt_from:])


def test_it_is_exp_of_the_mean_loss_that_the_model_says_itself(tiny_base: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny_base).train()
    examples = [example(40, 10), example(9, 3), example(25, 0)]
    found = surprises(model, examples, 2)
    assert model.training
    for one, surprise in zip(examples, found, strict=True):
        with torch.inference_mode():
            loss = model(input_ids=torch.tensor([one.ids]), labels=torch.tensor([one.labels])).loss
        assert surprise.tokens == one.learnt
        assert surprise.nll / surprise.tokens == pytest.approx(float(loss), rel=1e-4)


def test_a_large_vocabulary_makes_batches_smaller(tiny_base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny_base)
    examples = [example(20, 5) for _ in range(6)]
    batches: list[int] = []
    whole = surprises(model, examples, 6, batches.append)
    monkeypatch.setattr(perplexity, "LOGITS_MAX", 384 * 45)
    assert [one.nll for one in surprises(model, examples, 6, batches.append)] == pytest.approx([s.nll for s in whole])
    assert batches == [6, 2, 2, 2]


def test_long_examples_weigh_by_their_tokens_and_the_interval_holds_the_mean() -> None:
    found = [Surprise(1.0 * tokens, tokens) for tokens in (10, 20, 30)] + [Surprise(3.0 * 60, 60)]
    interval = perplexity.perplexity(found)
    assert interval.mean == pytest.approx(math.exp(2.0))
    assert interval.low < interval.mean < interval.high
    assert (interval.low, interval.n) == (pytest.approx(math.exp(1.0)), 4)
    assert perplexity.perplexity(found) == interval


def test_an_interval_of_a_normal_spread_is_as_wide_as_theory_says() -> None:
    import numpy as np

    drawn = np.random.default_rng(1).normal(2.0, 0.5, 400)
    interval = perplexity.perplexity([Surprise(float(nll) * 10, 10) for nll in drawn])
    half = 1.96 * 0.5 / math.sqrt(400)
    assert math.log(interval.high / interval.low) / 2 == pytest.approx(half, rel=0.15)
