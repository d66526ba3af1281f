"""Log probabilities are believed only of a server that was checked, and then give what the model really says."""

from __future__ import annotations

import math

import pytest

from finetune.evaluation import perplexity
from finetune.evaluation.perplexity import losses, unfit
from tests.unit.finetune.evaluation.bigrams import Bigrams, nats


async def test_a_server_that_tells_the_truth_is_fit() -> None:
    assert await unfit(Bigrams(), "m") == ""


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        ("off by one", perplexity.NOT_OF_THE_TOKENS),
        ("next", perplexity.NOT_OF_THE_TOKENS),
        ("no echo", perplexity.NO_ECHO),
        ("none", perplexity.NO_ECHO),
    ],
)
async def test_a_server_that_does_not_is_refused(fault: str, why: str) -> None:
    assert await unfit(Bigrams(fault), "m") == why


async def test_the_losses_are_those_of_the_answers() -> None:
    pairs = [("user: hello\nassistant: ", "Good day!"), ("x", "y"), ("a\n", "b" * 40)]
    found = await losses(Bigrams(), "m", pairs)
    assert [one.tokens for one in found] == [9, 1, 40]
    assert [one.nats for one in found] == [pytest.approx(nats(*pair)) for pair in pairs]


async def test_an_answer_that_the_tokens_do_not_spell_has_no_loss() -> None:
    class Mangled(Bigrams):
        async def complete(self, body: dict[str, object]) -> bytes | None:
            reply = await super().complete(body)
            return reply and reply.replace(b'"d"', b'"?"')

    (bad, good) = await losses(Mangled(), "m", [("ab", "day"), ("ab", "cay")])
    assert (bad.nats, bad.tokens) == (None, 0)
    assert good.nats == pytest.approx(nats("ab", "cay"))
    assert math.isfinite(good.nats or math.nan)
