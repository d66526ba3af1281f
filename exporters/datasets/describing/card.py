"""`README.md` of a dataset: a card as the Hugging Face Hub reads it, made of the manifest alone.

Its front matter makes `datasets.load_dataset(folder)` find the splits. Source: huggingface.co/docs/hub/datasets-cards
and datasets-manual-configuration.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

from ..building.splitting import SPLITS
from ..reasons import SAYS, Reason
from . import plots
from .recipe import command, deed, in_words, warnings
from .training_prices import lasts

if TYPE_CHECKING:
    from .manifest import Manifest

CARD: Final = "README.md"

_SIZES: Final = (
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
    (10_000_000, "1M<n<10M"),
)
_LOADABLE: Final = ("{split}.parquet", "{split}.jsonl", "{split}.sharegpt.jsonl", "{split}.alpaca.jsonl")
"""Best first: what `load_dataset` gives when it is asked for nothing else."""
_PAIRS: Final = ("preferences.{split}.parquet", "preferences.{split}.jsonl")
_NAMES_SHOWN: Final = 10


def card(manifest: Manifest) -> str:
    """The whole text. Names of models, prompts and labels that callers chose are quoted."""
    sections = [
        _front_matter(manifest),
        _what(manifest),
        _how(manifest),
        _funnel(manifest),
        _contents(manifest),
        _privacy(manifest),
        _training(manifest),
        _care(manifest),
    ]
    return "\n\n".join("\n".join(section).strip("\n") for section in sections if section) + "\n"


def _front_matter(manifest: Manifest) -> Iterator[str]:
    yield "---"
    yield f"pretty_name: {json.dumps(manifest.name)}"
    if manifest.options.clean.languages:
        yield "language:"
        yield from (f"- {language}" for language in manifest.options.clean.languages)
    yield "task_categories:"
    yield "- text-generation"
    yield "size_categories:"
    yield f"- {next((name for bound, name in _SIZES if manifest.written < bound), '10M<n<100M')}"
    yield "tags:"
    yield "- conversational"
    yield "- penstock"
    if any(split.preferences for split in manifest.splits.values()):
        yield "- preference"
    yield from _configs(manifest)
    yield "---"


def _configs(manifest: Manifest) -> Iterator[str]:
    there = {file.path for file in manifest.files}
    pairs = next((name for name in _PAIRS if any(name.format(split=split) in there for split in SPLITS)), "")
    patterns = [(name, f) for name, f in (("default", _best(there)), ("preferences", pairs)) if f]
    shown = [
        (name, [(split, file) for split in SPLITS if (file := pattern.format(split=split)) in there])
        for name, pattern in patterns
    ]
    if any(files for _, files in shown):
        yield "configs:"
    for name, files in shown:
        if files:
            yield f"- config_name: {name}"
            yield "  data_files:"
            for split, file in files:
                yield f"  - split: {split}"
                yield f"    path: {file}"


def _best(there: set[str]) -> str:
    return next((name for name in _LOADABLE if any(name.format(split=split) in there for split in SPLITS)), "")


def _what(manifest: Manifest) -> Iterator[str]:
    yield f"# {manifest.name}"
    yield ""
    pairs = sum(split.preferences for split in manifest.splits.values())
    when = f", recorded from {manifest.first[:10]} to {manifest.last[:10]}" if manifest.first else ""
    yield (
        f"{manifest.written:,} conversations with language models{when}, each ending with the answer that is to be "
        f"learnt; {manifest.tokens.total:,} tokens. Made from an application's traffic by Penstock {manifest.penstock}."
        + (f" {pairs:,} of them are preference pairs: a better answer, and the one that was given." if pairs else "")
    )
    found = warnings(manifest)
    if found:
        yield ""
        yield from (f"> **Note:** {text}" for text in found)


def _how(manifest: Manifest) -> Iterator[str]:
    options = manifest.options
    yield "## How it was made"
    yield ""
    yield "```bash"
    yield command(options)
    yield "```"
    yield ""
    yield from (f"- {text}" for text in in_words(options))
    if manifest.lineage:
        yield ""
        yield "Afterwards, or before:"
        yield ""
        yield from (f"- {deed(one)}" for one in manifest.lineage)


def _funnel(manifest: Manifest) -> Iterator[str]:
    yield "## What became of the rows"
    yield ""
    rows = [("selected", f"{manifest.selected:,}")]
    rows += [(SAYS[Reason[name.upper()]], f"−{count:,}") for name, count in manifest.dropped.items()]
    yield from _table(("", "rows"), [*rows, ("**written**", f"**{manifest.written:,}**")])
    yield ""
    yield from _picture(manifest, plots.FUNNEL, "What is left of the rows after each step")


def _contents(manifest: Manifest) -> Iterator[str]:
    yield "## What is in it"
    yield ""
    yield from _table(
        ("split", "examples", "preference pairs", "tokens"),
        [
            (name, f"{split.examples:,}", f"{split.preferences:,}", f"{split.tokens:,}")
            for name, split in manifest.splits.items()
        ],
    )
    tokens = manifest.tokens
    yield ""
    yield (
        f"Half of the examples have at most {tokens.p50:,} tokens, 95 of 100 at most {tokens.p95:,}, the longest has "
        f"{tokens.max:,}. Counted by the models' providers"
        + (f"; estimated for {tokens.estimated_examples:,} examples." if tokens.estimated_examples else ".")
    )
    if manifest.with_tools:
        yield f"In {manifest.with_tools:,} examples the model could call tools."
    yield ""
    yield from _picture(manifest, plots.TOKENS, "Tokens of an example")
    yield from _picture(manifest, plots.TIMELINE, "Examples by the time of their calls")
    for title, counts in (("Models", manifest.models), ("Prompts", manifest.prompts), ("Labels", manifest.labels)):
        if counts:
            shown = [f"`{_quoted(name)}` {count:,}" for name, count in [*counts.items()][:_NAMES_SHOWN]]
            more = f", and {len(counts) - _NAMES_SHOWN} more" if len(counts) > _NAMES_SHOWN else ""
            yield f"{title}: {', '.join(shown)}{more}."
            yield ""
    yield from _table(
        ("file", "lines", "bytes"),
        [(f"`{file.path}`", f"{file.lines:,}", f"{file.bytes:,}") for file in manifest.files if file.lines],
    )


def _privacy(manifest: Manifest) -> Iterator[str]:
    yield "## Private text, rights and consent"
    yield ""
    if not manifest.options.scrub.enabled:
        yield "Private text and secrets were **not** replaced."
    elif manifest.scrubbed:
        yield (
            f"Private text and secrets were replaced by placeholders before anything was written, in "
            f"{manifest.scrubbed_examples:,} of the conversations that were read:"
        )
        yield ""
        yield from _table(("kind", "pieces"), [(name, f"{count:,}") for name, count in manifest.scrubbed.items()])
    else:
        yield "Private text and secrets were looked for before anything was written, and none was found."
    yield ""
    yield (
        "No detector finds everything. The conversations are those of an application's users: whether they may be "
        "trained on, and by whom, follows from what those users agreed to, and from the terms of the models' "
        "providers, some of which forbid training competing models on their output. No licence is stated here; state "
        "one before you pass the dataset on."
    )
    yield ""
    yield f"`penstock dataset forget --user NAME {manifest.name}` takes a person out, and says which models had learnt."


def _training(manifest: Manifest) -> Iterator[str]:
    yield "## Training on it"
    yield ""
    there = {file.path for file in manifest.files}
    yield "```python"
    yield "from datasets import load_dataset"
    yield ""
    yield 'dataset = load_dataset("path/to/this/folder")  # for trl\'s SFTTrainer'
    if any(path.startswith("preferences.") for path in there):
        theirs = "for trl's DPOTrainer" if _PAIRS[0].format(split="train") in there else "in the format of OpenAI's DPO"
        yield f'pairs = load_dataset("path/to/this/folder", "preferences")  # {theirs}'
    if "train.jsonl" in there:
        yield ""
        yield "from openai import OpenAI"
        yield ""
        yield 'OpenAI().files.create(file=open("train.jsonl", "rb"), purpose="fine-tune")'
    yield "```"
    costs = manifest.training
    yield ""
    yield f"{costs.epochs} epochs of train are {costs.epochs * costs.tokens:,} tokens. At hosted providers, about:"
    yield ""
    yield from _table(
        ("provider", "model", "USD", "price a million, as of", ""),
        [
            (one.provider, one.model, f"{one.usd:,.2f}", f"{one.usd_a_million:g}, {one.as_of}", one.note)
            for one in costs.hosted
        ],
    )
    yield ""
    yield f"On a device of one's own, about (`{costs.lora.formula}`, utilisation {costs.lora.utilisation:g}):"
    yield ""
    yield from _table(
        ("model", "device", "method", "time"),
        [(one.model, one.device, one.method, lasts(one.hours)) for one in costs.lora.estimates],
    )


def _care(manifest: Manifest) -> Iterator[str]:
    yield "## Looking after it"
    yield ""
    yield "```bash"
    yield f"penstock dataset show {manifest.name}"
    yield f"penstock dataset validate {manifest.name}"
    yield "penstock dataset trace path/to/train.jsonl:1   # the call that an example was made of"
    yield f"penstock dataset rebuild {manifest.name}       # again, with the same options"
    yield "```"
    yield ""
    yield (
        "`manifest.json` has all numbers and the SHA-256 of each file, `sources.jsonl` the call that each example was "
        "made of, `left-out.jsonl.zst` the calls that are not in it, and why."
    )


def _picture(manifest: Manifest, path: str, says: str) -> Iterable[str]:
    return [f"![{says}]({path})", ""] if any(file.path == path for file in manifest.files) else []


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(heads)} |"
    yield f"|{'|'.join('---' if place == 0 else '---:' for place in range(len(heads)))}|"
    yield from (f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows)


def _quoted(name: str) -> str:
    """A name that a caller chose, on one line and not able to end its quotes."""
    return "".join(char if char.isprintable() else " " for char in name).replace("`", "'")[:100]
