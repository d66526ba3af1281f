"""How a dataset was made: as a command, in words, and what is odd about what came of it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ..flags import spelled
from ..formats import CANNOT_SAY
from ..reasons import SAYS, Reason

if TYPE_CHECKING:
    from ..options import Options
    from .manifest import Manifest


def command(options: Options) -> str:
    """What to type to have the dataset built with these options."""
    return shlex.join(["penstock", "dataset", "build", *spelled(options)])


def in_words(options: Options) -> Iterator[str]:
    """A sentence for each step that a reader should know of."""
    if options.files:
        yield f"Read from {', '.join(f'`{file}`' for file in options.files)}."
    kept = "kept" if options.deduplicate.keep_prefixes else "left out: only the longest is there"
    yield f"Conversations that are the beginning of longer ones are {kept}."
    if options.select.corrections == "pair":
        yield "Where somebody corrected an answer, the correction is the answer and the one given the rejected one."
    elif options.select.corrections == "replace":
        yield "Where somebody corrected an answer, the correction is the answer."
    near = options.deduplicate.near
    yield (
        "Duplicates "
        + ("but for case and blanks are left out" if options.deduplicate.exact else "are kept")
        + (f"; so are near duplicates, from a Jaccard similarity of {near:g} of word shingles on." if near else ".")
    )
    sets = [*options.decontaminate.benchmarks, *options.decontaminate.files]
    if sets:
        yield f"What overlaps these evaluation sets is left out: {', '.join(f'`{name}`' for name in sets)}."
    if options.arrange.by == "group":
        yield (
            "Splits are dealt by user, else by session, else by first turn; no session and no group of near duplicates "
            "is in train and in another. More data moves no row from one split to another."
        )
    else:
        yield "The newest calls are test, those before them validation, the rest train."
    yield {
        "last": "Only the last answer is trained on.",
        "assistant": "Every answer of a conversation is trained on.",
        "all": "Questions are trained on as well as answers, where the trainer can.",
    }[options.write.mask]
    if options.write.prune:
        yield f"{_texts(len(options.write.prune))} cut from the beginning of system prompts."
    if options.write.prune_user:
        yield f"{_texts(len(options.write.prune_user))} cut from the beginning of first questions."


def _texts(count: int) -> str:
    return f"{count} static {'text is' if count == 1 else 'texts are'}"


def deed(done: dict[str, Any]) -> str:
    """One entry of a lineage."""
    facts = ", ".join(f"{name.replace('_', ' ')} {_said(value)}" for name, value in done.items() if name != "action")
    return f"**{done.get('action', '?')}**: {facts}"


def _said(value: Any) -> str:
    if isinstance(value, dict):
        return f"({', '.join(f'{name} {inner}' for name, inner in value.items())})" if value else "none"
    return " and ".join(map(str, value)) if isinstance(value, list) else str(value)


def warnings(manifest: Manifest) -> list[str]:
    """What whoever trains on it should know first."""
    found = []
    if not manifest.options.scrub.enabled:
        found.append("Private text was not replaced (--no-scrub): keep it as the traffic itself is kept.")
    if "train" not in manifest.splits:
        found.append("No example is in train.")
    elif manifest.splits["train"].examples < 10:
        found.append(
            "Fewer than 10 examples are in train: OpenAI takes no fewer, and hardly anything is learnt of them."
        )
    asked = {"validation": manifest.options.arrange.validation, "test": manifest.options.arrange.test}
    found += [
        f"No example is in {split}, though a share of {share:g} was asked for: there are too few users and sessions."
        for split, share in asked.items()
        if share and split not in manifest.splits
    ]
    if manifest.written and manifest.tokens.estimated_examples > manifest.written / 2:
        found.append("Tokens of more than half of the examples are estimated from their text.")
    if manifest.selected and manifest.written < manifest.selected / 10 and manifest.dropped:
        most = max(manifest.dropped, key=lambda name: manifest.dropped[name])
        found.append(f"Fewer than a tenth of the rows are left; most were dropped as: {SAYS[Reason[most.upper()]]}.")
    return [*found, *_unsaid(manifest)]


def _unsaid(manifest: Manifest) -> Iterator[str]:
    """A format that has fewer examples than the dataset."""
    lines = {file.path: file.lines for file in manifest.files}
    for name in manifest.options.write.formats:
        ending = "parquet" if name == "parquet" else f"{name}.jsonl"
        said = sum(lines.get(f"{split}.{ending}", 0) for split in manifest.splits)
        if name in CANNOT_SAY and said < manifest.written:
            yield (
                f"The files for {name} have {said:,} of the {manifest.written:,} examples: "
                f"the format has no way to say {CANNOT_SAY[name]}."
            )
