"""How a training at a provider looks: progress on standard error, reports on standard output."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from exporters.call_line import printable

if TYPE_CHECKING:
    from finetune.hosted import Plan
    from finetune.hosting.provider import Provider
    from finetune.hosting.state import State
    from finetune.run import Run


class _Lines:
    """Where nobody looks: a line for each thing that happened, and none for progress."""

    def say(self, line: str) -> None:
        typer.echo(printable(line), err=True)

    def progress(self, what: str, done: float, total: float | None, note: str = "") -> None:
        """Nothing."""


class _Bars:
    """A bar for each step, and what happened above them."""

    def __init__(self, shown: Progress) -> None:
        self._shown = shown
        self._bars: dict[str, TaskID] = {}

    def say(self, line: str) -> None:
        self._shown.console.print(Text(printable(line), "dim"), soft_wrap=True)

    def progress(self, what: str, done: float, total: float | None, note: str = "") -> None:
        if what not in self._bars:
            self._bars[what] = self._shown.add_task(what, total=total, note="")
        self._shown.update(self._bars[what], completed=done, total=total, note=printable(note))


@contextlib.contextmanager
def shown_on_stderr(provider: Provider | None = None) -> Iterator[Any]:
    """A `finetune.hosting.pace.Shown` on standard error; `provider` tells it when it asks again."""
    if not sys.stderr.isatty():
        yield _Lines()
        return
    columns = (
        TextColumn("{task.description:<9}"),
        BarColumn(bar_width=32),
        TextColumn("{task.percentage:>3.0f} %"),
        TextColumn("{task.fields[note]}", style="dim", markup=False),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(file=sys.stderr), refresh_per_second=5) as shown:
        bars = _Bars(shown)
        if provider is not None:
            provider.note = bars.say
        yield bars


def document(run: Run, state: State) -> dict[str, Any]:
    """For programs."""
    hosted, job = state.hosted, state.hosted.job
    return {
        "run": run.name,
        "folder": str(run.folder),
        "state": run.file.state,
        "base": run.file.base,
        "model": run.file.model or job.fine_tuned_model or None,
        "base_url": hosted.base_url,
        "job": job.id or None,
        "status": job.status or None,
        "attempt": job.attempt,
        "steps": job.steps,
        "steps_total": job.steps_total or None,
        "trained_tokens": job.trained_tokens or None,
        "estimated_finish": _when(job.estimated_finish) or None,
        "loss": run.file.loss,
        "usd_expected": hosted.usd,
        "files": {
            role: {"id": one.id or None, "name": one.name, "bytes": one.bytes, "deleted": one.deleted}
            for role, one in hosted.files.items()
        },
        "error": job.error or run.file.error or None,
    }


def print_status(console: Console, run: Run, state: State) -> None:
    """The facts, one a line."""
    _print(console, _facts(run, state))


def print_run(console: Console, run: Run, state: State) -> None:
    """What came of it, and how it learnt."""
    _print(console, _facts(run, state))
    if run.file.state == "finished":
        from finetune.curves import in_terminal, read_log

        log = read_log(run.log)
        with contextlib.suppress(ModuleNotFoundError):  # The plot is for the eye; the log is there.
            if log and console.is_terminal:
                console.print(Text.from_ansi(in_terminal(log, min(console.width, 100))))
    elif state.hosted.job.id:
        console.print(f"Follow it: penstock finetune watch {run.name}")


def _facts(run: Run, state: State) -> Iterator[tuple[str, str]]:
    hosted, job = state.hosted, state.hosted.job
    yield "run", f"{run.name}, {run.folder}"
    yield "base", f"{run.file.base} at {hosted.base_url}"
    if job.id:
        yield "job", f"{job.id}, {job.status or 'created'}"
    steps = f"{job.steps:,} of {job.steps_total:,}" if job.steps_total else f"{job.steps:,}"
    if job.steps:
        yield "steps", steps
    if job.estimated_finish and not run.file.ended:
        yield "ends", f"about {_when(job.estimated_finish)}"
    if job.trained_tokens:
        yield "tokens", f"{job.trained_tokens:,} trained on"
    for name, loss in run.file.loss.items():
        yield f"{name} loss", f"{loss:.4f}"
    if model := run.file.model or job.fine_tuned_model:
        yield "model", model
    if job.error:
        yield "error", job.error


def _print(console: Console, facts: Iterator[tuple[str, str]]) -> None:
    for label, text in facts:
        console.print(Text.assemble((f"{label:<16}", "dim"), printable(text)), soft_wrap=True)


def _when(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds") if at else ""


def plan_document(wanted: Plan) -> dict[str, Any]:
    """For programs."""
    return {
        "model": wanted.options.model,
        "objective": wanted.options.objective,
        "files": {role: msgspec.structs.asdict(one) for role, one in wanted.files.items()},
        "price": msgspec.structs.asdict(wanted.price),
        "objection": wanted.objection or None,
    }


def print_plan(console: Console, wanted: Plan) -> None:
    """For the eye."""
    from finetune.hosting.pricing import said

    for role, one in wanted.files.items():
        about = f"{one.examples:,} examples, {one.tokens:,} tokens, the longest has {one.tokens_max:,}"
        console.print(Text.assemble((f"{role:<12}", "dim"), f"{one.path}: {about}"), soft_wrap=True)
    console.print(Text.assemble((f"{'price':<12}", "dim"), said(wanted.price, wanted.options.model)), soft_wrap=True)
    if wanted.objection:
        console.print(Text.assemble((f"{'but':<12}", "dim"), (wanted.objection, "yellow")), soft_wrap=True)


def checkpoint_documents(found: Sequence[Any]) -> list[dict[str, Any]]:
    """For programs, by step."""
    number: Callable[[Any, str], float | None] = lambda metrics, name: getattr(metrics, name, None)  # noqa: E731
    return [
        {
            "id": one.id,
            "step": one.step_number,
            "model": one.fine_tuned_model_checkpoint,
            "train_loss": number(one.metrics, "train_loss"),
            "valid_loss": number(one.metrics, "full_valid_loss") or number(one.metrics, "valid_loss"),
        }
        for one in found
    ]


def print_checkpoints(console: Console, found: Sequence[dict[str, Any]]) -> None:
    """A table without boxes."""
    if not found:
        console.print("There are no checkpoints yet: they are made at the end of an epoch, and the last ones are kept.")
        return
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2))
    for name in ("step", "train loss", "validation loss"):
        table.add_column(name, justify="right")
    table.add_column("model", overflow="fold")
    for one in found:
        losses = ("-" if one[name] is None else f"{one[name]:.4f}" for name in ("train_loss", "valid_loss"))
        table.add_row(f"{one['step']:,}", *losses, printable(str(one["model"])))
    console.print(table)
