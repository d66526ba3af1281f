"""`penstock finetune advise`: which way to a better model, before anything is trained."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .dataset_run import ROOT, RootOption, folder_of
from .failure import CommandFailed
from .finetune_run import told
from .options import ConfigOption, DataDirOption, JsonOption, config_path, print_json, stdout_console

if TYPE_CHECKING:
    from finetune.advise import Means

    from ..settings import Settings

AIMS = ("format", "style", "classification", "knowledge", "cost")

DatasetArgument = Annotated[str, typer.Argument(metavar="DATASET", help="A dataset, by its name or its folder.")]
AimOption = Annotated[
    str,
    typer.Option(
        "--aim", metavar="AIM", help=f"What it is for: {', '.join(AIMS)}.", show_default="what the answers look like"
    ),
]
FewShotOption = Annotated[
    Path | None,
    typer.Option(
        "--few-shot",
        metavar="FILE",
        help="Write a prompt with examples there, whatever the advice.",
        show_default="DATASET.few-shot.json when it is the advice and nothing is there",
    ),
]
ExamplesOption = Annotated[int, typer.Option("--examples", min=1, max=100, help="Examples in that prompt, at most.")]
TokensOption = Annotated[
    int, typer.Option("--few-shot-tokens", min=1, max=1_000_000, help="Tokens of its examples, at most.")
]
QuestionOption = Annotated[
    str, typer.Option("--question", metavar="TEXT", help="Choose the examples for this question, not for all.")
]


def advise(
    dataset: DatasetArgument,
    aim: AimOption = "",
    few_shot: FewShotOption = None,
    examples: ExamplesOption = 8,
    few_shot_tokens: TokensOption = 2_000,
    question: QuestionOption = "",
    root: RootOption = ROOT,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure a dataset and say what to do with it: prompt, train at a provider, train here, or retrieve instead."""
    from .store import settings_of

    if aim and aim not in AIMS:
        raise CommandFailed(f"--aim {aim} is none of {', '.join(AIMS)}.")
    if question and few_shot is None:
        raise CommandFailed("--question chooses examples of a prompt: say where it goes with --few-shot FILE.")
    folder = folder_of(dataset, root)
    settings = settings_of(config_path(config), data_dir)
    with told(), _progress() as progress:
        from finetune.advise import AdviseOptions, advise

        options = AdviseOptions(
            folder=folder,
            reference=dataset if root == ROOT else str(folder),
            aim=aim or None,  # type: ignore[arg-type]
            few_shot=few_shot,
            few_shot_when_advised=Path(f"{folder.resolve().name}.few-shot.json"),
            examples=examples,
            tokens_max=few_shot_tokens,
            question=question,
        )
        found = advise(options, _means(settings, progress))
    if as_json:
        import msgspec

        print_json(msgspec.to_builtins(found))
        return
    from .finetune_advise_view import print_advice

    print_advice(stdout_console(), found)


def _means(settings: Settings, progress: Callable[[str], Any]) -> Means:
    from cache.embedding import LocalEmbedder
    from exporters.datasets.describing.training_prices import PRICES
    from finetune.advise import Means
    from finetune.advising.machine import machine

    from ..metering.tokenizer import Tokenizer

    return Means(
        count=functools.partial(Tokenizer(Path(settings.server.data_dir, "tokenizer")).count, "gpt-5"),
        price=_price(settings),
        training=PRICES,
        embed=_embed,
        embedding=LocalEmbedder.name,
        here=machine(time.perf_counter),
        today=datetime.now(UTC).date(),
        progress=progress,
    )


def _price(settings: Settings) -> Callable[[str, int, int], float | None]:
    from .dataset_prices import price_of

    def price(model: str, input_tokens: int, output_tokens: int) -> float | None:
        return price_of(settings, model, waits=False)(input_tokens, output_tokens)

    return price


def _embed(texts: list[str]) -> Any:
    """None where `penstock[semantic]` is not installed, and for scripts that its model does not know."""
    from cache.embedding import EmbeddingFailed, LocalEmbedder
    from cache.threads import Threads

    if importlib.util.find_spec("wordllama") is None:
        return None
    try:
        return LocalEmbedder(Threads("embedding", 1, 1)).embed_now(texts)
    except EmbeddingFailed:
        return None


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[str], Any]]:
    """What it does now, on standard error where a person looks."""
    if not sys.stderr.isatty():
        yield lambda text: None
        return
    from rich.console import Console

    with Console(stderr=True, markup=False, emoji=False).status("") as status:
        yield lambda text: status.update(f"{text} ...")
