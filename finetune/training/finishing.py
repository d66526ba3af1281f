"""What a trained adapter becomes: numbers against the base, files, a curve, a card."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from ..dataset import Dataset
from ..run import Interval, Run
from .bases import Base, load_model
from .conversations import Example
from .estimating import size
from .machine import Machine
from .options import LoraOptions
from .perplexity import perplexity, surprises
from .progress import Watch
from .tracking import totals

_CURVE_WIDTH = 80


def compare(model: Any, examples: Sequence[Example], options: LoraOptions, watch: Watch) -> dict[str, Interval]:
    """The perplexity of `base` and `tuned`, the adapter taken off and put on; nothing where there are no examples."""
    if not examples:
        watch.say("perplexity  not measured: the dataset has no validation split")
        return {}
    with watch.bar("validating", 2 * len(examples)) as move:

        def done(count: int) -> None:
            move(count, "")

        with model.disable_adapter():
            base = surprises(model, examples, options.batch_size, done)
        tuned = surprises(model, examples, options.batch_size, done)
    found = {"base": perplexity(base, options.seed), "tuned": perplexity(tuned, options.seed)}
    for name, interval in found.items():
        watch.say(
            f"perplexity  {interval.mean:.3f} [{interval.low:.3f}, {interval.high:.3f}] {name}, {interval.n} examples"
        )
    return found


def save(run: Run, model: Any, tokenizer: Any, base: Base, options: LoraOptions, machine: Machine) -> None:
    """The adapter with its tokenizer, and whatever else was asked for. Raises `FinetuneError`."""
    model.peft_config["default"].base_model_name_or_path = base.source
    model.save_pretrained(run.adapter, save_embedding_layers=False)
    tokenizer.save_pretrained(run.adapter)
    (run.adapter / "README.md").unlink(missing_ok=True)  # peft's is a form to fill in; the run's card says it all
    if options.gguf:
        from ..gguf_adapter import write_gguf_adapter

        write_gguf_adapter(run.adapter, model.config.to_dict(), run.gguf_adapter)
    if options.merge:
        from ..merging import merge

        shutil.rmtree(run.merged, ignore_errors=True)
        merge(load_model(base, dtype=machine.dtype, device="cpu"), run.adapter, tokenizer, run.merged)


def close(run: Run, dataset: Dataset, machine: Machine, tokens_per_second: float, watch: Watch) -> None:
    """Draw, describe, and say that the run is finished; of it all, this is written last."""
    from .. import curves
    from ..card import card

    file = run.file
    file.steps, file.loss = totals(run.log)
    file.tokens_per_second = round(tokens_per_second, 1) or file.tokens_per_second
    file.memory_bytes_peak = max(machine.memory_bytes_peak(), file.memory_bytes_peak)
    now = datetime.now(UTC)
    file.state, file.error, file.ended = "finished", "", now.isoformat(timespec="seconds")
    log = curves.read_log(run.log)
    curves.draw(log, run.plot, run.name)
    run.card.write_text(card(file))
    note_trained(run, dataset)
    run.save()
    watch.say(curves.in_terminal(log, min(shutil.get_terminal_size((_CURVE_WIDTH, 0)).columns, _CURVE_WIDTH)))
    watch.say(
        f"finished    {file.steps:,} steps, {file.tokens_per_second:,.0f} tokens/s, "
        f"{size(file.memory_bytes_peak)} of memory at most"
    )
    for path in (run.adapter, run.gguf_adapter, run.merged, run.plot, run.card):
        if path.exists():
            watch.say(f"            {_short(path)}")


class Noting(TrainerCallback):  # type: ignore[misc]  # transformers is not typed for us
    """Notes the run in its dataset before a checkpoint counts: from then on there is a model that has learnt of it,
    whether or not it is ever finished."""

    def __init__(self, run: Run, dataset: Dataset) -> None:
        self._run = run
        self._dataset = dataset

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.is_world_process_zero:
            note_trained(self._run, self._dataset)


def note_trained(run: Run, dataset: Dataset) -> None:
    """Once, however often it is called. Raises `FinetuneError`."""
    now = datetime.now(UTC)
    dataset.note_trained(run=run.name, base=run.file.base, adapter=str(run.adapter.resolve()), at=now)


def _short(path: Path) -> str:
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
