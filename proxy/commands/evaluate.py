"""`penstock evaluate`: models compared on a dataset's split, through the proxy."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from .dataset_ask import key_of
from .dataset_run import ROOT, RootOption, ended_in_order
from .failure import CommandFailed
from .finetune_run import RUNS, RunsOption, told
from .options import ConfigOption, JsonOption, config_path, print_json, stdout_console

if TYPE_CHECKING:
    from finetune.dataset import Dataset
    from finetune.evaluation.evaluate import Options
    from finetune.evaluation.result import Places
    from finetune.run import Run

    from ..settings import Settings

EVALUATIONS: Final = Path("penstock-evaluations")
USD_ASKED_ABOUT: Final = 1.0
"""What is done without a question."""
_BYTES_A_TOKEN: Final = 4

Given = Annotated[str, typer.Argument(metavar="[DATASET]", help="By its name or its folder; by default the run's.")]
NameOption = Annotated[str, typer.Option("--dataset", help="The same, as an option.")]
ModelsOption = Annotated[str, typer.Option("--models", help="What to ask for, with commas; the first is the baseline.")]
FewShotOption = Annotated[
    list[str] | None,
    typer.Option("--few-shot", help="MODEL=FILE: ask it behind a prompt of `finetune advise --few-shot` too; several."),
]
SplitOption = Annotated[str, typer.Option("--split", help="train, validation or test.")]
UrlOption = Annotated[
    str, typer.Option("--url", help="Where Penstock is.", show_default="http://127.0.0.1:4100/v1, with the port served")
]
KeyOption = Annotated[
    str,
    typer.Option("--api-key", help="The key to ask with, as env:NAME or file:PATH.", show_default="env:OPENAI_API_KEY"),
]
RunOption = Annotated[str, typer.Option("--run", help="The run that one of the models came from; kept in its folder.")]
TunedOption = Annotated[str, typer.Option("--tuned", help="Which of the models that is.", show_default="the other one")]
MetricsOption = Annotated[str, typer.Option("--metrics", help="With commas.", show_default="all that apply")]
PrimaryOption = Annotated[
    str, typer.Option("--primary", help="The metric that decides.", show_default="by the answers")
]
LabelsOption = Annotated[str, typer.Option("--labels", help="Answers that are labels, with commas.")]
SchemaOption = Annotated[Path | None, typer.Option("--schema", help="A JSON schema that answers must keep to.")]
PatternOption = Annotated[
    list[str] | None, typer.Option("--pattern", help="NAME=REGEX that answers are to match; several.")
]
TokenizerOption = Annotated[
    str, typer.Option("--tokenizer", help="Base whose chat template is used, for perplexity.", show_default="the run's")
]
LimitOption = Annotated[int | None, typer.Option("--limit", "-n", min=2, help="So many examples, the same each time.")]
ConcurrencyOption = Annotated[int, typer.Option("--concurrency", min=1, max=1000, help="Questions open at a time.")]
TokensOption = Annotated[int, typer.Option("--max-tokens", min=1, help="Of an answer.")]
TemperatureOption = Annotated[float, typer.Option("--temperature", min=0, max=2)]
SeedOption = Annotated[int, typer.Option("--seed", min=0, help="Of sampling, and of every resampling.")]
OutOption = Annotated[
    Path | None,
    typer.Option(
        "--out", help="The result, .json.", show_default="evaluation.json of the run, or penstock-evaluations/"
    ),
]
PlotOption = Annotated[Path | None, typer.Option("--plot", help="The picture, .png.", show_default="beside the result")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask, whatever it costs.")]


def evaluate(
    given: Given = "",
    models: ModelsOption = "",
    dataset: NameOption = "",
    few_shot: FewShotOption = None,
    split: SplitOption = "test",
    url: UrlOption = "",
    api_key: KeyOption = "",
    run: RunOption = "",
    tuned: TunedOption = "",
    metrics: MetricsOption = "",
    primary: PrimaryOption = "",
    labels: LabelsOption = "",
    schema: SchemaOption = None,
    pattern: PatternOption = None,
    tokenizer: TokenizerOption = "",
    limit: LimitOption = None,
    concurrency: ConcurrencyOption = 8,
    max_tokens: TokensOption = 1024,
    temperature: TemperatureOption = 0.0,
    seed: SeedOption = 0,
    out: OutOption = None,
    plot: PlotOption = None,
    yes: YesOption = False,
    root: RootOption = ROOT,
    runs: RunsOption = RUNS,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare models on a dataset's split: scores with intervals, what differs by more than chance, speed, cost.

    Every model is asked each example through Penstock. What was answered before it was ended is not asked again.
    """
    from .store import settings_of

    settings = settings_of(config_path(config), None)
    with told(), ended_in_order():
        from finetune.dataset import SPLITS
        from finetune.evaluation import evaluate as story
        from finetune.evaluation.asking import Sampling

        if split not in SPLITS:
            raise CommandFailed(f"--split takes {', '.join(SPLITS)}.")
        of_run = _run(run, runs)
        data = _dataset(given or dataset, root, of_run)
        asked = _listed(models)
        options = story.Options(
            models=asked,
            url=url or f"http://127.0.0.1:{settings.server.port}/v1",
            split=split,
            few_shot=tuple(few_shot or ()),
            tuned=_tuned(tuned, asked, of_run),
            metrics=_listed(metrics),
            primary=primary,
            labels=_listed(labels),
            schema=schema,
            patterns=tuple(pattern or ()),
            tokenizer=tokenizer,
            sampling=Sampling(temperature=temperature, max_tokens=max_tokens, seed=seed),
            limit=limit,
            concurrency=concurrency,
            seed=seed,
        )
        places = _places(out, plot, data, split, of_run)
        _agree(data, options, settings, yes=yes)
        with _bar() as progress:
            made = story.evaluate(data, options, key_of(api_key), places, run=of_run, progress=progress)
    if as_json:
        import msgspec

        print_json(msgspec.to_builtins(made))
    else:
        from .evaluate_view import print_evaluation

        print_evaluation(stdout_console(), made, places)


def _listed(text: str) -> tuple[str, ...]:
    return tuple(one for part in text.split(",") if (one := part.strip()))


def _run(name: str, root: Path) -> Run | None:
    from finetune.run import Run, folder_of

    return Run.open(folder_of(name, root)) if name else None


def _dataset(name: str, root: Path, run: Run | None) -> Dataset:
    from finetune.dataset import MANIFEST, Dataset

    if not name:
        if run is None:
            raise CommandFailed("Name a dataset: penstock evaluate DATASET --models base,tuned.")
        return Dataset.open(Path(run.file.dataset.folder))
    inside = root / name
    return Dataset.open(inside if (inside / MANIFEST).is_file() else Path(name))


def _tuned(name: str, models: Sequence[str], run: Run | None) -> str:
    """Raises `CommandFailed` when it cannot be told which of the models is the run's, or it is the baseline."""
    if run is None:
        return name
    known = [one for one in (name, run.name, run.file.model) if one and (one in models or one == name)]
    if not known and len(models) != 2:
        raise CommandFailed(f"Say which of the models is that of {run.name}: --tuned NAME.")
    found = known[0] if known else models[1]
    if len(models) > 1 and found == models[0]:
        raise CommandFailed(f"{found} is named first, which is the baseline: name it behind what it is compared with.")
    return found


def _places(out: Path | None, plot: Path | None, dataset: Dataset, split: str, run: Run | None) -> Places:
    from finetune.evaluation.result import Places

    default = run.evaluation if run is not None else EVALUATIONS / f"{dataset.name}-{split}.json"
    if (out is not None and out.suffix != ".json") or (plot is not None and plot.suffix != ".png"):
        raise CommandFailed("--out takes a name that ends in .json, --plot one that ends in .png.")
    return Places(out or default, plot)


def _agree(dataset: Dataset, options: Options, settings: Settings, *, yes: bool) -> None:
    """Ask before it costs more than a little, as far as prices are known. Raises `typer.Abort`."""
    from finetune.evaluation.examples import read
    from finetune.evaluation.prompting import contestants

    from .dataset_prices import price_of

    examples = read(dataset, options.split, limit=options.limit, seed=options.seed)
    said = sum(len(json.dumps(one.reference)) for one in examples)
    asked_of = contestants(options.models, options.few_shot)
    costs = {}
    for name, who in asked_of.items():
        asked = sum(len(json.dumps([one.messages, one.tools])) for one in map(who.asked, examples))
        costs[name] = price_of(settings, who.model, waits=False)(asked // _BYTES_A_TOKEN, said // _BYTES_A_TOKEN)
    unknown = [name for name, cost in costs.items() if cost is None]
    total = sum(cost for cost in costs.values() if cost is not None)
    about = f"{len(examples):,} examples, {len(asked_of)} models: about ${total:.2f}"
    more = f", and what {', '.join(unknown)} costs is not known" if unknown else ""
    if sys.stderr.isatty() or total > USD_ASKED_ABOUT:
        typer.echo(f"{about}{more}.", err=True)
    if total > USD_ASKED_ABOUT and not yes:
        typer.confirm("Ask them?", abort=True, err=True)


@contextlib.contextmanager
def _bar() -> Iterator[Callable[[int, int], None]]:
    """On standard error where a person looks."""
    if not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("answers"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(file=sys.stderr), transient=True) as shown:
        task = shown.add_task("", total=None)
        yield lambda done, total: shown.update(task, completed=done, total=total)
