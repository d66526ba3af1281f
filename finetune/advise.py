"""Advice before training: what a dataset is worth training on, which way, what each way costs, what to run next.

The story from the top: read the examples (20,000 at most, always the same ones), measure them, take the aim that was
stated or that the answers look like, let the matrix pick a way, price every way, and choose a prompt with examples
where that is the advice. The same dataset, options and prices give the same advice; only the speed of a processor is
measured anew each time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Final

import msgspec

from .advising import few_shot as prompts
from .advising.costs import Costs, Price, TrainingPrice, costs
from .advising.doubts import doubts
from .advising.few_shot import Embed, FewShot
from .advising.machine import Machine
from .advising.matrix import Aim, aim_of, recommended
from .advising.measures import Count, Measures, measure
from .advising.rows import Rows, read
from .advising.ways import Facts, Way, ways
from .dataset import Dataset
from .errors import FinetuneError

VERSION: Final = 1
OTHERS: Final = "(others)"
"""What a manifest counts the models as that it does not name."""


@dataclass(frozen=True, kw_only=True)
class AdviseOptions:
    folder: Path
    reference: str
    """The dataset as commands name it."""
    aim: Aim | None = None
    """None: what the answers look like."""
    few_shot: Path | None = None
    """Where a prompt with examples is written, whatever the advice; what is there is replaced."""
    few_shot_when_advised: Path | None = None
    """Where it is written when it is the advice and nothing is there yet."""
    examples: int = prompts.EXAMPLES
    tokens_max: int = prompts.TOKENS_MAX
    question: str = ""
    """Choose examples for this question."""


@dataclass(frozen=True, kw_only=True)
class Means:
    """What advice asks for outside of the dataset."""

    count: Count
    price: Price
    training: Sequence[TrainingPrice]
    embed: Embed
    embedding: str
    """The name of its model."""
    here: Machine | None
    today: date
    progress: Callable[[str], Any]
    """Called with what begins."""


class Advice(msgspec.Struct, frozen=True, kw_only=True):
    version: int = VERSION
    dataset: dict[str, str]
    """name, folder, sha256"""
    aim: Aim
    aim_stated: bool
    measures: Measures
    model: str
    """That answered most of the examples; "" where nobody knows."""
    costs: Costs
    ways: list[Way]
    """The advice first."""
    doubts: list[str]
    """What is wrong with the dataset, whatever the way."""
    few_shot: FewShot | None
    few_shot_file: str
    """"" where it was not written."""
    next: list[str]
    """Commands."""


def advise(options: AdviseOptions, means: Means) -> Advice:
    """Raises `FinetuneError`: no dataset, none of its examples is for training, a line is no example."""
    dataset = Dataset.open(options.folder)
    means.progress(f"reading {dataset.name}")
    rows = read(dataset)
    means.progress(f"measuring {len(rows.sample):,} examples")
    written = dataset.manifest.options.write
    measures = measure(rows, means.count, (*written.prune, *written.prune_user))
    aim = options.aim or aim_of(measures)
    advised = recommended(measures.distinct, aim) == "few-shot"
    means.progress("choosing examples for a prompt")
    chosen, why_none = _chosen(dataset, rows, measures, options, means) if advised or options.few_shot else (None, "")
    model = _model(dataset)
    one = measures.tokens.example.mean - measures.static.tokens
    expected = min(options.tokens_max, round(options.examples * one))
    priced = costs(
        measures,
        model=model,
        price=means.price,
        training=means.training,
        few_shot_tokens=chosen.tokens if chosen else expected,
        here=means.here,
    )
    facts = Facts(
        measures=measures,
        aim=aim,
        costs=priced,
        dataset=options.reference,
        name=dataset.name,
        model=model,
        today=means.today,
        has_gpu=means.here is not None and not means.here.measured,
    )
    found = ways(facts)
    file, not_written = _write(chosen, options)
    return Advice(
        dataset={"name": dataset.name, "folder": str(options.folder.absolute()), "sha256": dataset.sha256},
        aim=aim,
        aim_stated=options.aim is not None,
        measures=measures,
        model=model,
        costs=priced,
        ways=found,
        doubts=doubts(measures) + [why for why in (why_none, not_written) if why],
        few_shot=chosen,
        few_shot_file=file,
        # A prompt that cannot be made is not asked for again.
        next=[facts.evaluate(file)]
        if advised and (file or chosen is None)
        else list(dict.fromkeys([way.command for way in found if way.verdict in ("do", "then")])),
    )


def _chosen(
    dataset: Dataset, rows: Rows, measures: Measures, options: AdviseOptions, means: Means
) -> tuple[FewShot | None, str]:
    """The prompt; or why there is none, where nobody asked for it."""
    try:
        return prompts.choose(
            dataset,
            rows,
            measures.labels,
            means.count,
            means.embed,
            model=means.embedding,
            examples=options.examples,
            tokens_max=options.tokens_max,
            question=options.question,
        ), ""
    except FinetuneError as error:
        if options.few_shot is not None:
            raise
        return None, str(error)


def _write(chosen: FewShot | None, options: AdviseOptions) -> tuple[str, str]:
    """Where; or why it was not written, where nobody asked for it."""
    path = options.few_shot or options.few_shot_when_advised
    if chosen is None or path is None or (options.few_shot is None and path.exists()):
        return "", ""
    try:
        prompts.write(chosen, path)
    except FinetuneError as error:
        if options.few_shot is not None:
            raise
        return "", f"{error} Say where the prompt goes: --few-shot FILE"
    return str(path), ""


def _model(dataset: Dataset) -> str:
    named = {name: count for name, count in dataset.manifest.models.items() if name and name != OTHERS}
    return max(named, key=lambda name: (named[name], name)) if named else ""
