"""Everything that is known of a run before anything heavy is loaded: machine, dataset, base, tokens."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from ..dataset import Dataset, Split
from ..errors import FinetuneError
from .bases import Base, find_base, load_tokenizer
from .conversations import Counted, Encoder, Example, Pair
from .machine import Machine
from .options import LoraOptions
from .progress import Silent, Watch, watched
from .rendering import Unwritable


@dataclasses.dataclass(kw_only=True)
class Material:
    options: LoraOptions
    machine: Machine
    dataset: Dataset
    base: Base
    tokenizer: Any
    rows: list[Any]
    """`Example`s, or `Pair`s."""
    validation: list[Any]
    counted: Counted
    answers_by: str


def gather(options: LoraOptions, watch: Watch) -> Material:
    """Everything but the weights. Raises `FinetuneError`."""
    machine = Machine(options)
    dataset = Dataset.open(Path(options.dataset))
    for split in ("train", "validation"):
        if (path := dataset.path(split, preferences=options.dpo)).exists():
            dataset.verify(path)
    base = machine.first(lambda: find_base(options.base))
    tokenizer = load_tokenizer(base, options.chat_template)
    encoder = Encoder(
        tokenizer,
        mask=options.mask or dataset.mask,
        max_length=options.max_length,
        too_long=options.too_long,
    )
    counted = Counted()
    rows = _rows(encoder, dataset, "train", options.dpo, counted, watch if machine.main else Silent())
    if not rows:
        said = counted.left_out() or f"{dataset.path('train', preferences=options.dpo).name} is empty or not there"
        raise FinetuneError(f"There is nothing to train on in {dataset.folder}: {said}.")
    validation = _spread(
        _rows(encoder, dataset, "validation", options.dpo, Counted(), Silent()), options.validation_examples
    )
    if not validation and options.patience:
        raise FinetuneError(
            "--patience needs examples to validate with, and there are none. Build the dataset with --validation."
        )
    return Material(
        options=options,
        machine=machine,
        dataset=dataset,
        base=base,
        tokenizer=tokenizer,
        rows=rows,
        validation=validation,
        counted=counted,
        answers_by=encoder.template.how,
    )


def _rows(
    encoder: Encoder, dataset: Dataset, split: Split, dpo: bool, counted: Counted, watch: Watch
) -> list[Example] | list[Pair]:
    total = dataset.manifest.splits.get(split)
    try:
        if dpo:
            lines = watched(watch, "reading", dataset.preferences(split), total.preferences if total else 0)
            return encoder.pairs(lines, counted)
        return encoder.examples(
            watched(watch, "reading", dataset.conversations(split), total.examples if total else 0), counted
        )
    except Unwritable as error:
        raise FinetuneError(f"{dataset.path(split, preferences=dpo)}:{counted.lines}: {error}.") from error


def _spread(rows: list[Any], most: int) -> list[Any]:
    """At most so many, from everywhere in it."""
    return rows if len(rows) <= most else [rows[at * len(rows) // most] for at in range(most)]
