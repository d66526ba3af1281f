"""`penstock dataset relabel` and `prune`: what makes a dataset of another one."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from .dataset_run import ROOT, NameArgument, RootOption, bars, check_name, ended_in_order, folder_of, told
from .failure import CommandFailed
from .options import ConfigOption, DataDirOption, JsonOption, config_path, print_json, stdout_console

if TYPE_CHECKING:
    from exporters.datasets.changing.pruning import Beginning, Found
    from exporters.datasets.changing.questioning import Task
    from exporters.datasets.changing.relabeling import Estimate, Result

    from ..settings import Settings

AsOption = Annotated[str, typer.Option("--as", help="The name of the new dataset.", show_default="NAME-relabeled")]
PrunedAsOption = Annotated[str, typer.Option("--as", help="The name of the new dataset.", show_default="NAME-pruned")]
ModelOption = Annotated[str, typer.Option("--model", help="The stronger model that answers.")]
SplitOption = Annotated[
    list[str] | None, typer.Option("--split", help="train, validation or test; several; all of them if not said.")
]
BatchOption = Annotated[str, typer.Option("--batch", help="hold or async: at half the price; off: asked at once.")]
MaxUsdOption = Annotated[float | None, typer.Option("--max-usd", min=0, help="Stop before it costs more, in all runs.")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask, whatever it costs.")]
UrlOption = Annotated[
    str, typer.Option("--url", help="Where Penstock is.", show_default="http://127.0.0.1:4100/v1, with the port served")
]
KeyOption = Annotated[
    str,
    typer.Option("--api-key", help="The key to ask with, as env:NAME or file:PATH.", show_default="env:OPENAI_API_KEY"),
]
ConcurrencyOption = Annotated[
    int | None,
    typer.Option("--concurrency", min=1, max=10_000, help="Questions open at a time.", show_default="500; off: 16"),
]
DropFailedOption = Annotated[
    bool, typer.Option("--drop-failed", help="Leave out what got no answer that can be kept, instead of keeping it.")
]
ApplyOption = Annotated[bool, typer.Option("--apply", help="Make a dataset without it.")]
MinShareOption = Annotated[
    float, typer.Option("--min-share", min=0.02, max=1, help="Cut what at least this share of the examples begin with.")
]


def relabel(
    name: NameArgument,
    model: ModelOption,
    new_name: AsOption = "",
    split: SplitOption = None,
    batch: BatchOption = "hold",
    max_usd: MaxUsdOption = None,
    drop_failed: DropFailedOption = False,
    concurrency: ConcurrencyOption = None,
    yes: YesOption = False,
    url: UrlOption = "",
    api_key: KeyOption = "",
    root: RootOption = ROOT,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Have a stronger model answer what a dataset asks; its answers and the old ones become preference pairs.

    Through Penstock, so that answers are cached and cost half. What it costs is shown first. A run that was ended goes
    on where it was.
    """
    from .dataset_prices import price_of
    from .store import settings_of

    folder = folder_of(name, root)
    settings = settings_of(config_path(config), data_dir)
    with told(), ended_in_order():
        from exporters.datasets.building.splitting import SPLITS
        from exporters.datasets.changing import relabeling
        from exporters.datasets.changing.asking import Asker
        from exporters.datasets.changing.questioning import CONCURRENCY, Task

        task = Task(
            folder=folder,
            root=root,
            name=_new_name(new_name or f"{folder.name}-relabeled"),
            model=model,
            price=price_of(settings, model, waits=_one_of(batch, CONCURRENCY, "--batch") != "off"),
            splits=tuple(_one_of(one, SPLITS, "--split") for one in split or SPLITS),
            usd_max=max_usd,
            drop_failed=drop_failed,
        )
        _agree(relabeling.estimate(task), task, yes=yes)
        key, address = key_of(api_key), url or f"http://127.0.0.1:{settings.server.port}/v1"
        with bars() as progress:
            result = relabeling.relabel(
                task,
                lambda: Asker(address, key, dataset=folder.name, waiting=batch),  # type: ignore[arg-type]
                concurrency or CONCURRENCY[batch],  # type: ignore[index]
                progress,
            )
    if as_json:
        print_json(_document(result))
    else:
        _print_result(result, root)


def prune(
    name: NameArgument,
    apply: ApplyOption = False,
    new_name: PrunedAsOption = "",
    min_share: MinShareOption = 0.5,
    root: RootOption = ROOT,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find static text that prompts begin with, which a tuned model need not be told; with --apply cut it off.

    The rule is in the new dataset's manifest, so that whoever serves the model can apply the same cut.
    """
    from .store import settings_of

    if new_name and not apply:
        raise CommandFailed("--as names the dataset that --apply makes: say both, or neither.")
    folder = folder_of(name, root)
    settings = settings_of(config_path(config), data_dir)
    made = _new_name(new_name or f"{folder.name}-pruned") if apply else ""
    with told(), ended_in_order(), bars() as progress:
        from exporters.datasets.changing import pruning

        found = pruning.find(folder, _counter(settings), progress)
        cut = found.shared_by(min_share)
        if made:
            pruning.apply(folder, root, made, cut, progress)
    if as_json:
        print_json(
            {
                "examples": found.examples,
                "beginnings": [_beginning(one, found, cut, settings) for one in found.beginnings],
                "dataset": made or None,
            }
        )
    else:
        _print_beginnings(found, cut, settings, min_share)
        if made:
            typer.echo(f"{root / made} is the dataset without it.")


def _agree(estimate: Estimate, task: Task, *, yes: bool) -> None:
    """Say what it will cost, and ask. Raises `CommandFailed`, `typer.Abort`."""
    about = f"{estimate.questions:,} questions for {task.model}, about {estimate.input_tokens:,} tokens to read"
    about += f" and {estimate.output_tokens:,} to write"
    cost = "at a price that is not known" if estimate.usd is None else f"about {_usd(estimate.usd)}"
    typer.echo(f"{about}: {cost}.", err=True)
    if estimate.answered:
        spent = f", for {_usd(estimate.spent_usd)}" if estimate.spent_usd else ""
        typer.echo(f"{estimate.answered:,} more were answered by a run before{spent}.", err=True)
    if yes or not estimate.questions:
        return
    if estimate.usd is None:
        raise CommandFailed(f"What {task.model} costs is not known. Set a price under [prices], or say --yes.")
    typer.confirm("Ask them?", abort=True, err=True)


def _usd(amount: float) -> str:
    return f"${amount:.2f}" if amount >= 1 or not amount else f"${amount:.4f}"


def key_of(reference: str) -> str:
    """A proxy that is open, with upstream keys of its own, needs none. Raises `CommandFailed`."""
    from ..credentials import SecretMissing, resolve_secret

    if not reference and not os.environ.get("OPENAI_API_KEY"):
        return "none"
    reference = reference or "env:OPENAI_API_KEY"
    try:
        key = resolve_secret(reference, os.environ)
    except SecretMissing as error:
        raise CommandFailed(f"--api-key: {error}") from error
    if not key.isascii() or not key.isprintable():
        raise CommandFailed(f"--api-key: {reference} holds characters that cannot be sent in a header.")
    return key


def _new_name(name: str) -> str:
    check_name(name, "--as: ")
    return name


def _one_of(value: str, values: Any, option: str) -> Any:
    if value not in values:
        raise CommandFailed(f"{option} takes {', '.join(values)}.")
    return value


def _document(result: Result) -> dict[str, Any]:
    return {
        "dataset": result.manifest.name,
        "written": result.manifest.written,
        "splits": {name: {"examples": one.examples} for name, one in result.manifest.splits.items()},
        **{name: getattr(result, name) for name in ("relabeled", "unchanged", "corrected", "usd", "unpriced")},
        "failures": dict(result.failures),
    }


def _print_result(result: Result, root: Path) -> None:
    console = stdout_console()
    table = Table.grid(padding=(0, 2))
    table.add_row("answered anew", f"{result.relabeled:,}")
    table.add_row("answered the same", f"{result.unchanged:,}")
    table.add_row("corrected by people, not asked", f"{result.corrected:,}")
    for failure, count in result.failures.most_common():
        table.add_row(f"no answer to keep: {failure.replace('_', ' ')}", f"{count:,}")
    more = f" and {result.unpriced:,} answers whose price is not known" if result.unpriced else ""
    table.add_row("cost", f"{_usd(result.usd)}{more}")
    console.print(table)
    console.print(f"{root / result.manifest.name} has {result.manifest.written:,} examples.")


def _counter(settings: Settings) -> Callable[[str], int]:
    """Tokens as the models of OpenAI's that are in use count them."""
    from ..metering.tokenizer import Tokenizer

    return functools.partial(Tokenizer(Path(settings.server.data_dir, "tokenizer")).count, "gpt-5")


def _usd_per_thousand(one: Beginning, settings: Settings) -> float | None:
    """What 1,000 calls pay for reading it, by the models that answered the examples."""
    from .dataset_prices import price_of

    total = 0.0
    for model, count in one.models.items():
        cost = price_of(settings, model, waits=False)(one.tokens, 0)
        if cost is None:
            return None
        total += cost * count
    return 1000 * total / one.models.total() if one.models else None


def _beginning(one: Beginning, found: Found, cut: list[Beginning], settings: Settings) -> dict[str, Any]:
    return {
        "role": one.role,
        "prompt": one.prompt,
        "text": one.text,
        "tokens": one.tokens,
        "examples": one.examples,
        "share": one.examples / found.examples,
        "usd_per_1000_calls": _usd_per_thousand(one, settings),
        "cut": one in cut,
    }


def _print_beginnings(found: Found, cut: list[Beginning], settings: Settings, min_share: float) -> None:
    console = stdout_console()
    if not found.beginnings:
        console.print("No static text: the prompts begin differently, or with less than a sentence alike.")
        return
    table = Table(box=None, padding=(0, 2), pad_edge=False)
    for head in ("share", "tokens", "USD / 1,000 calls", "cut", "of", "text"):
        table.add_column(head, justify="right" if head in ("share", "tokens", "USD / 1,000 calls") else "left")
    for one in found.beginnings:
        usd = _usd_per_thousand(one, settings)
        shown = " ".join(one.text.split())
        table.add_row(
            f"{one.examples / found.examples:.0%}",
            f"{one.tokens:,}",
            "?" if usd is None else f"{usd:.4f}",
            "yes" if one in cut else "",
            one.prompt or one.role,
            shown if len(shown) <= 60 else f"{shown[:40]} … {shown[-17:]}",
        )
    console.print(table)
    if len(cut) > 1:
        typer.echo(
            f"{len(cut)} texts are shared by at least {min_share:.0%}. A model that was tuned without them knows which "
            "task it has by the rest of the prompt alone.",
            err=sys.stderr.isatty(),
        )
