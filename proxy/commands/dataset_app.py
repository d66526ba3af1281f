"""`penstock dataset`: its commands and their options."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from . import dataset_options as flag
from .dataset_ask import prune, relabel
from .dataset_run import ROOT, NameArgument, RootOption, bars, ended_in_order, folder_of, told
from .failure import CommandFailed
from .options import ConfigOption, DataDirOption, JsonOption, LimitOption, config_path, print_json, stdout_console

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Make training sets of recorded traffic.")


@app.command()
def build(
    context: typer.Context,
    name: flag.NameArgument,
    from_: flag.From = None,
    since: flag.Since = "",
    until: flag.Until = "",
    where: flag.Where = "",
    model: flag.Model = None,
    upstream: flag.Upstream = None,
    key: flag.Key = None,
    user: flag.User = None,
    session: flag.Session = None,
    tag: flag.Tag = None,
    prompt: flag.Prompt = None,
    outcome: flag.Outcome = None,
    finish_reason: flag.FinishReason = None,
    label: flag.Label = None,
    score_name: flag.ScoreName = "",
    score_min: flag.ScoreMin = None,
    max_input_tokens: flag.MaxInputTokens = None,
    min_output_tokens: flag.MinOutputTokens = None,
    max_output_tokens: flag.MaxOutputTokens = None,
    max_cost: flag.MaxCost = None,
    sample: flag.Sample = None,
    sample_by: flag.SampleBy = None,
    limit: flag.Limit = None,
    corrections: flag.Corrections = None,
    keep_refusals: flag.KeepRefusals = False,
    keep_incomplete: flag.KeepIncomplete = False,
    min_tokens: flag.MinTokens = None,
    max_tokens: flag.MaxTokens = None,
    language: flag.Language = None,
    images: flag.Images = None,
    max_image_bytes: flag.MaxImageBytes = None,
    no_scrub: flag.NoScrub = False,
    scrub_engine: flag.ScrubEngine = None,
    pattern: flag.Pattern = None,
    fail_on_pii: flag.FailOnPii = False,
    keep_duplicates: flag.KeepDuplicates = False,
    near: flag.Near = None,
    no_near: flag.NoNear = False,
    keep_prefixes: flag.KeepPrefixes = False,
    benchmark: flag.Benchmark = None,
    held_out: flag.HeldOut = None,
    per_user: flag.PerUser = None,
    per_template: flag.PerTemplate = None,
    per_label: flag.PerLabel = None,
    split_by: flag.SplitBy = None,
    validation: flag.Validation = None,
    test: flag.Test = None,
    salt: flag.Salt = "",
    format: flag.Format = None,  # noqa: A002 - the name of the option
    mask: flag.Mask = None,
    replace: flag.Replace = False,
    root: RootOption = ROOT,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a dataset: select, clean, scrub, leave out duplicates and evaluation sets, split, write."""
    with told(), ended_in_order(), bars() as progress:
        from . import dataset_build as command
        from .dataset_view import document, print_built

        options = command.asked_for(name, context.params, datetime.now(UTC))
        made = command.build(options, root, config_path(config), data_dir, progress, replace=replace)
    if as_json:
        print_json(document(made))
    else:
        print_built(stdout_console(), made, root / name)


@app.command()
def rebuild(
    name: NameArgument,
    root: RootOption = ROOT,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a dataset again with the options in its manifest; who was forgotten stays out."""
    with told(), ended_in_order(), bars() as progress:
        from exporters.datasets.describing.manifest import read

        from . import dataset_build as command
        from .dataset_view import document, print_built

        folder = folder_of(name, root)
        options = command.again(read(folder), folder)
        made = command.build(options, folder.parent, config_path(config), data_dir, progress, replace=True)
    if as_json:
        print_json(document(made))
    else:
        print_built(stdout_console(), made, folder)


@app.command("list")
def list_datasets(root: RootOption = ROOT, as_json: JsonOption = False) -> None:
    """List the datasets of the folder: how large they are, of when, of which models."""
    with told():
        from exporters.datasets.describing.catalog import datasets
        from exporters.datasets.describing.manifest import read
        from exporters.datasets.errors import DatasetError

        from .dataset_view import print_list, summary

        found, faults = [], []
        for folder in datasets(root):
            try:
                found.append((folder, read(folder)))
            except DatasetError as error:
                faults.append(str(error))
    if as_json:
        print_json([summary(folder, manifest) for folder, manifest in found])
    else:
        print_list(stdout_console(), found, root)
    if faults:
        raise CommandFailed("\n".join(faults))


@app.command()
def show(name: NameArgument, root: RootOption = ROOT, as_json: JsonOption = False) -> None:
    """Show one dataset: what it was made of, what became of the rows, splits, cost of training, files."""
    with told():
        from exporters.datasets.describing.catalog import runs
        from exporters.datasets.describing.manifest import read

        from .dataset_view import document, print_shown

        folder = folder_of(name, root)
        manifest, trained = read(folder), runs(folder)
    if as_json:
        print_json(document(manifest) | {"trained": trained})
    else:
        print_shown(stdout_console(), manifest, folder, trained)


@app.command()
def stats(name: NameArgument, root: RootOption = ROOT, as_json: JsonOption = False) -> None:
    """Show how the examples are distributed: tokens, turns, models, prompts, labels, times."""
    with told():
        from exporters.datasets.describing.manifest import read

        from .dataset_view import histograms, print_histograms

        manifest = read(folder_of(name, root))
    if as_json:
        print_json(histograms(manifest))
    else:
        print_histograms(stdout_console(), manifest)


@app.command()
def diff(
    first: Annotated[str, typer.Argument(metavar="A", help="A dataset, by its name or its folder.")],
    second: Annotated[str, typer.Argument(metavar="B", help="Another.")],
    root: RootOption = ROOT,
    limit: LimitOption = 10,
    as_json: JsonOption = False,
) -> None:
    """Say how two datasets differ: options, counts, and the calls that only one of them has."""
    with told():
        from exporters.datasets.describing.catalog import difference

        from .dataset_reports import print_difference
        from .dataset_view import document

        found = difference(folder_of(first, root), folder_of(second, root), ids_max=limit)
    if as_json:
        print_json(document(found))
    else:
        print_difference(stdout_console(), first, second, found)


@app.command()
def validate(
    name: Annotated[str, typer.Argument(metavar="FILE|NAME", help="Any JSONL file for training, or a dataset.")],
    model: Annotated[str, typer.Option(help="The model to be trained, for its limit of tokens.")] = "",
    root: RootOption = ROOT,
    as_json: JsonOption = False,
) -> None:
    """Check a file against OpenAI's rules and ours, with line numbers and what to do; of a dataset every such file.

    The exit status is 1 when there are errors.
    """
    with told(), ended_in_order(), bars() as progress:
        from .dataset_reports import print_checked
        from .dataset_validate import check
        from .dataset_view import document

        checked = check(name, root, model, progress)
    if as_json:
        print_json(document(checked))
    else:
        print_checked(stdout_console(), checked)
    raise typer.Exit(0 if checked.ok else 1)


@app.command()
def trace(
    place: Annotated[str, typer.Argument(metavar="FILE:LINE", help="A line of a dataset's file.")],
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the call that an example was made of, as it was recorded, when the store still has it."""
    with told():
        from exporters.datasets.tracing import trace as command

        from .dataset_reports import print_traced
        from .dataset_trace import call_of, facts_of

        traced = command(place)
    call, tries, why = call_of(traced, config_path(config), data_dir)
    if as_json:
        print_json(facts_of(traced) | {"call": call and call | {"tries": [*tries]}, "unknown_because": why})
    else:
        print_traced(stdout_console(), traced, call, tries, why)


@app.command()
def forget(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="Datasets; by default all of the folder.")
    ] = None,
    user: Annotated[list[str] | None, typer.Option(help="A user, as callers named it. Several are allowed.")] = None,
    request: Annotated[list[str] | None, typer.Option(help="The id of a call. Several are allowed.")] = None,
    root: RootOption = ROOT,
    as_json: JsonOption = False,
) -> None:
    """Take a person or a call out of datasets, every file of them, and say which models had learnt of them."""
    names_in_clear = [*(user or ()), *(request or ())]
    if not names_in_clear or "" in names_in_clear:
        raise CommandFailed("Say who is to be forgotten: --user NAME, or --request ID.")
    with told(), ended_in_order():
        from exporters.datasets.changing.forgetting import clear, known_files
        from exporters.datasets.changing.forgetting import forget as command
        from exporters.datasets.describing.catalog import datasets

        from .dataset_reports import print_forgotten
        from .dataset_view import document

        clear(root)
        folders = [folder_of(name, root) for name in names] if names else datasets(root)
        for folder in folders:
            clear(folder.parent)
            known_files(folder)  # what is wrong with one of them is said before another is changed
        changed = []
        whole = False
        try:
            for folder in folders:
                if found := command(folder, users=user or (), requests=request or ()):
                    changed.append(found)
            whole = True
        finally:
            # Also when one of them cannot be written: what was done is done, and models had learnt. But that nothing
            # of them is left is said only when all were looked into.
            if as_json:
                print_json(document(changed))
            elif whole or changed:
                print_forgotten(stdout_console(), changed, len(folders))


app.command()(relabel)
app.command()(prune)
