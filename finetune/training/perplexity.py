"""How surprised a model is by answers that it did not learn from, with what the number may be."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from ..run import Interval
from .conversations import UNLEARNT, Example

RESAMPLES: Final = 1000
LOGITS_MAX: Final = 2**28
"""Of a batch: 1 GiB in float32. Training itself never has them all at once, so its batches may be too large here."""


class Surprise(NamedTuple):
    """Of one example."""

    nll: float
    """Negative log likelihood of its learnt tokens together, in nats."""
    tokens: int


def surprises(
    model: Any, examples: Sequence[Example], batch_size: int, done: Callable[[int], None] = lambda count: None
) -> list[Surprise]:
    """One for each example, in their order. The model is left in the mode it was in. `done` hears of each batch."""
    import torch

    training = model.training
    model.eval()
    found: list[Surprise | None] = [None] * len(examples)
    try:
        with torch.inference_mode():
            for batch in _batches(examples, batch_size, LOGITS_MAX // model.config.get_text_config().vocab_size):
                for at, surprise in zip(batch, _of(model, [examples[at] for at in batch]), strict=True):
                    found[at] = surprise
                done(len(batch))
    finally:
        model.train(training)
    return [surprise for surprise in found if surprise is not None]


def perplexity(found: Sequence[Surprise], seed: int = 0) -> Interval:
    """exp of the mean surprise of a token; the interval from examples drawn anew, `RESAMPLES` times.

    Long examples weigh more, as everywhere where perplexity is told.
    """
    import numpy as np

    nll = np.array([surprise.nll for surprise in found])
    tokens = np.array([surprise.tokens for surprise in found])
    drawn = np.random.default_rng(seed).integers(0, len(found), (RESAMPLES, len(found)))
    means = nll[drawn].sum(axis=1) / tokens[drawn].sum(axis=1)
    low, high = np.exp(np.percentile(means, [2.5, 97.5]))
    return Interval(mean=math.exp(nll.sum() / tokens.sum()), low=float(low), high=float(high), n=len(found))


def _batches(examples: Sequence[Example], size: int, tokens_max: int) -> Iterator[list[int]]:
    """Of like length, so that little is padding; at least one example each."""
    batch: list[int] = []
    for at in sorted(range(len(examples)), key=lambda at: len(examples[at].ids)):
        if batch and (len(batch) == size or (len(batch) + 1) * len(examples[at].ids) > tokens_max):
            yield batch
            batch = []
        batch.append(at)
    if batch:
        yield batch


def _of(model: Any, batch: Sequence[Example]) -> list[Surprise]:
    import torch

    width = max(len(example.ids) for example in batch)
    ids = torch.zeros(len(batch), width, dtype=torch.long)
    labels = torch.full((len(batch), width), UNLEARNT)
    there = torch.zeros(len(batch), width, dtype=torch.long)
    for row, example in enumerate(batch):
        length = len(example.ids)
        ids[row, :length] = torch.tensor(example.ids)
        labels[row, :length] = torch.tensor(example.labels)
        there[row, :length] = 1
    device = model.device
    logits = model(input_ids=ids.to(device), attention_mask=there.to(device)).logits
    wanted = labels[:, 1:].to(device)
    nll = torch.nn.functional.cross_entropy(
        logits[:, :-1].transpose(1, 2).float(), wanted, ignore_index=UNLEARNT, reduction="none"
    )
    counts = (wanted != UNLEARNT).sum(dim=1)
    return [
        Surprise(float(total), int(count))
        for total, count in zip(nll.double().sum(dim=1).tolist(), counts.tolist(), strict=True)
    ]
