"""`penstock finetune lora`: options to a run. Defaults are those of `finetune.training.options`; None leaves them."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from .dataset_run import RootOption, folder_of
from .failure import CommandFailed
from .finetune_run import RUNS, RunsOption, told
from .options import JsonOption, print_json


def _one(text: str, *names: str, minimum: float | None = None, maximum: float | None = None) -> Any:
    return typer.Option(*names, help=text, min=minimum, max=maximum)


def _switch(name: str, text: str) -> Any:
    return typer.Option(f"--{name}", help=text)


_OURS = frozenset({"name", "resume", "dry_run", "root", "runs", "json_output"})
"""What is no argument of the run itself."""


def lora(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="[NAME]", help="A dataset, by its name or its folder.")] = "",
    base: Annotated[str | None, _one("A model: a folder, a GGUF, or owner/name on the hub.")] = None,
    run: Annotated[str | None, _one("The name of the run. Default: the dataset's, with -lora, -qlora or -dpo.")] = None,
    resume: Annotated[str, _one("Go on with this run, by its name or its folder.")] = "",
    chat_template: Annotated[str | None, _one("A file with a chat template in place of the base's own.")] = None,
    rank: Annotated[int | None, _one("Of the adapter's matrices. Default 16.")] = None,
    alpha: Annotated[float | None, _one("What the adapter is scaled with, over the rank. Default 32.")] = None,
    dropout: Annotated[float | None, _one("Share of the adapter's inputs left out. Default 0.05.")] = None,
    targets: Annotated[str | None, _one("Modules, with commas. Default all-linear.")] = None,
    rslora: Annotated[bool, _switch("rslora", "Scale with the rank's square root: for high ranks.")] = False,
    dora: Annotated[bool, _switch("dora", "Learn the size of weights apart from their direction.")] = False,
    qlora: Annotated[bool, _switch("qlora", "The base in 4 bits.")] = False,
    dpo: Annotated[bool, _switch("dpo", "Learn from pairs of answers: preferences.train.jsonl.")] = False,
    beta: Annotated[float | None, _one("Of DPO: less goes farther from the base. Default 0.1.")] = None,
    mask: Annotated[
        Literal["assistant", "last", "all"] | None, _one("Which turns are learnt. Default: as the dataset says.")
    ] = None,
    max_length: Annotated[int | None, _one("Tokens of an example. Default 2048.")] = None,
    too_long: Annotated[Literal["cut", "drop"] | None, _one("What becomes of longer ones. Default cut.")] = None,
    packing: Annotated[bool, _switch("packing", "Several examples in each row.")] = False,
    group_by_length: Annotated[bool, _switch("group-by-length", "Examples of like length in a batch.")] = False,
    validation_examples: Annotated[int | None, _one("Validate on at most so many. Default 500.")] = None,
    epochs: Annotated[float | None, _one("How often all is read. Default 3.")] = None,
    max_steps: Annotated[int | None, _one("Steps, in place of epochs.")] = None,
    batch_size: Annotated[int | None, _one("Examples at a time on each device. Default 4.")] = None,
    accumulation: Annotated[int | None, _one("Batches in a step. Default 4.")] = None,
    learning_rate: Annotated[float | None, _one("Default 2e-4, of DPO 1e-5.")] = None,
    schedule: Annotated[
        Literal["linear", "cosine", "constant", "constant_with_warmup"] | None,
        _one("How the learning rate falls. Default cosine."),
    ] = None,
    warmup: Annotated[float | None, _one("Share of the steps in which it rises. Default 0.03.")] = None,
    weight_decay: Annotated[float | None, _one("Of AdamW. Default 0.")] = None,
    patience: Annotated[
        int | None, _one("End after so many validations without a better loss. Default: never.")
    ] = None,
    seed: Annotated[int | None, _one("Another one makes another run. Default 0.")] = None,
    device: Annotated[Literal["auto", "cpu", "cuda"] | None, _one("Default auto.")] = None,
    dtype: Annotated[
        Literal["auto", "float32", "bfloat16"] | None, _one("Default auto: bfloat16 where a GPU has it.")
    ] = None,
    gradient_checkpointing: Annotated[
        bool, _switch("gradient-checkpointing", "Less memory, a fifth more time.")
    ] = False,
    save_steps: Annotated[int | None, _one("Steps between checkpoints. Default: a tenth of the run.")] = None,
    log_steps: Annotated[int | None, _one("Steps between lines of the log. Default 1.")] = None,
    keep_checkpoints: Annotated[int | None, _one("How many are kept. Default 2.")] = None,
    track: Annotated[str | None, _one("jsonl, tensorboard, wandb; with commas. Default jsonl.")] = None,
    merge: Annotated[bool, _switch("merge", "Also save base and adapter in one.")] = False,
    gguf: Annotated[bool, _switch("gguf", "Also save the adapter as GGUF, for llama.cpp.")] = False,
    dry_run: Annotated[bool, _switch("dry-run", "Say what it would take, and end.")] = False,
    root: RootOption = Path("penstock-datasets"),
    runs: RunsOption = RUNS,
    json_output: JsonOption = False,
) -> None:
    """Train an adapter on this machine (LoRA, QLoRA; answers or pairs of answers)."""
    given = {
        key: value
        for key, value in context.params.items()
        if key not in _OURS and value is not None and value is not False
    }
    for several in ("targets", "track"):
        if several in given:
            given[several] = tuple(word.strip() for word in given[several].split(",") if word.strip())
    if resume and (name or "base" in given or dry_run):
        raise CommandFailed(
            "--resume goes on with a run as it was begun: it takes no dataset, no --base, no --dry-run."
        )
    if not resume and not (name and base):
        raise CommandFailed("Which? penstock finetune lora DATASET --base MODEL, or --resume RUN.")
    with told():
        found = _resumed(resume, runs, given) if resume else _begun(folder_of(name, root), runs, given, dry_run=dry_run)
    if json_output:
        print_json(found)


def _begun(dataset: Path, runs: Path, given: dict[str, Any], *, dry_run: bool) -> dict[str, Any]:
    from finetune.training.options import LoraOptions

    options = LoraOptions(dataset=str(dataset), **given)
    _prepare(options.base)
    from finetune import lora
    from finetune.training.estimating import words
    from finetune.training.progress import Written, quiet

    quiet()
    watch = Written()
    if not dry_run:
        return _told(lora.train(options, root=runs, watch=watch))
    plan = lora.estimate(options, watch)
    for line in words(plan):
        watch.say(line)
    return dataclasses.asdict(plan)


def _resumed(name: str, runs: Path, given: dict[str, Any]) -> dict[str, Any]:
    from finetune.run import Run, folder_of

    run = Run.open(folder_of(name, runs))
    _prepare(run.file.base)
    from finetune import lora
    from finetune.training.progress import Written, quiet

    quiet()
    return _told(lora.go_on(run, watch=Written(), **given))


def _told(run: Any) -> dict[str, Any]:
    import msgspec

    told: dict[str, Any] = msgspec.to_builtins(run.file)
    return {**told, "folder": str(run.folder)}


def _prepare(base: str) -> None:
    """What libraries read when they are imported: bars of theirs would break into ours, and about a local folder they
    would ask the hub."""
    os.environ.setdefault("TQDM_DISABLE", "1")
    if Path(base).exists():
        os.environ["HF_HUB_OFFLINE"] = os.environ["HF_DATASETS_OFFLINE"] = "1"
