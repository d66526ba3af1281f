"""Log probabilities are believed only of a server that was checked, and then give what the model really says."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

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


class RealModel:
    """A Llama of transformers behind `/completions`, its tokens longer than letters."""

    def __init__(self, folder: Path) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model = AutoModelForCausalLM.from_pretrained(folder).eval()

    def logprobs(self, ids: list[int]) -> torch.Tensor:
        """Of each token that may follow, after each of `ids`."""
        with torch.no_grad():
            return torch.log_softmax(self.model(torch.tensor([ids])).logits[0].double(), dim=-1)

    async def complete(self, body: dict[str, Any]) -> bytes | None:
        ids = self.tokenizer(body["prompt"], add_special_tokens=False)["input_ids"]
        after = self.logprobs(ids)
        ids = [*ids, int(after[-1].argmax())]
        values = [None, *(float(after[place, ids[place + 1]]) for place in range(len(ids) - 1))]
        first = 0 if body.get("echo") else -1
        tokens = [self.tokenizer.decode([one]) for one in ids][first:]
        logprobs = {"tokens": tokens, "token_logprobs": values[first:]}
        return json.dumps({"choices": [{"text": "".join(tokens), "logprobs": logprobs}]}).encode()


async def test_the_loss_is_the_one_that_the_model_has_in_training(tiny_base: Path) -> None:
    server = RealModel(tiny_base)
    prompt, answer = "<|im_start|>user\nWhere is it?<|im_end|>\n<|im_start|>assistant\n", "Arr, it be in the hold!"
    (found,) = await losses(server, "m", [(prompt, answer)])
    ids = server.tokenizer(prompt + answer, add_special_tokens=False)["input_ids"]
    begin = len(server.tokenizer(prompt, add_special_tokens=False)["input_ids"])
    labels = torch.tensor([[-100] * begin + ids[begin:]])
    with torch.no_grad():
        loss = float(server.model(torch.tensor([ids]), labels=labels).loss)
    assert found.tokens == len(ids) - begin
    assert found.tokens < len(answer), "its tokens are longer than letters"
    assert found.nats == pytest.approx(loss * found.tokens, rel=1e-4)
