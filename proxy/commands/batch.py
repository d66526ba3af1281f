"""`penstock batch`: what waits in the queue, which batches are made of it, how far they are and what they saved."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from exporters.call_line import cut, duration, money, printable

from ..batching.database import Database
from ..batching.intervention import Changed
from ..batching.intervention import cancel as cancel_in
from ..batching.intervention import retry as retry_in
from ..batching.refusal import QueueUnavailable
from ..batching.report import NoQueue, NotPossible, Overview, open_queue, overview
from ..batching.report import find as find_in
from ..configuration import load
from ..settings import Settings
from .failure import CommandFailed
from .store import Query, open_query

POLL_S: Final = 1.0
MODEL_CHARS: Final = 28
_STYLES: Final = {"completed": "green", "done": "green", "failed": "red", "expired": "red", "lost": "red"}
_SAVED = """\
SELECT batch_id AS id, sum(savings['batch']) AS saved, countIf(cost IS NOT NULL) AS priced
FROM generations WHERE batch_id IN {ids:Array(String)} GROUP BY batch_id"""


def settings_of(path: Path | None, data_dir: str | None) -> Settings:
    """The settings that say where the queue and the store are. Raises `ConfigurationError`."""
    return load(path, {"server.data_dir": data_dir}, os.environ, only_store=True, with_queue=True)


@contextmanager
def opened(settings: Settings) -> Iterator[Database]:
    """The queue. Raises `CommandFailed`, for what goes wrong inside as well."""
    try:
        database = open_queue(settings)
        try:
            yield database
        finally:
            database.close()
    except QueueUnavailable as error:
        raise CommandFailed(f"The batch queue cannot be used: {error}.") from error
    except (NoQueue, NotPossible) as error:
        raise CommandFailed(str(error)) from error


def select(database: Database, state: str, upstream: str, limit: int) -> list[Overview]:
    with database.reading() as connection:
        return overview(connection, state=state, upstream=upstream, limit=limit)


def find(database: Database, name: str) -> Overview:
    with database.reading() as connection:
        return find_in(connection, name)


def cancel(database: Database, name: str, settings: Settings) -> Changed:
    with database.transaction() as connection:
        now_ns = database.now_ns(connection)
        return cancel_in(connection, name, now_ns=now_ns, keep_s=settings.batch.keep_s)


def retry(database: Database, name: str, settings: Settings) -> Changed:
    with database.transaction() as connection:
        return retry_in(connection, name, settings, now_ns=database.now_ns(connection))


def said(changed: Changed, what: str) -> str:
    """For the eye."""
    calls = f"{changed.items:,} {'call' if changed.items == 1 else 'calls'}"
    return f"{calls} of the batch {what}" if changed.batches else f"{calls} {what}"


def with_savings(settings: Settings, found: Sequence[Overview]) -> list[Overview]:
    """The same with what each batch saved, as far as the store can be asked and its calls have a price."""
    names = {name for one in found if one.kind != "item" for name in (one.id, one.provider_id) if name}
    if not names:
        return [*found]
    try:
        saved = saved_by(open_query(settings), sorted(names))
    except CommandFailed:
        return [*found]  # The queue can be looked at while nothing serves.
    return [
        msgspec.structs.replace(
            one, saved_usd=saved.get(one.provider_id) if one.provider_id in saved else saved.get(one.id)
        )
        for one in found
    ]


def saved_by(query: Query, names: list[str]) -> dict[str, float]:
    """USD by batch; those of which no line has a price are not in it."""
    return {row["id"]: row["saved"] for row in query(_SAVED, {"ids": names}) if row["priced"]}


def documents(found: Sequence[Overview]) -> list[dict[str, Any]]:
    """For programs."""
    return [msgspec.structs.asdict(one) for one in found]


def print_list(console: Console, found: Sequence[Overview]) -> None:
    """Columns without boxes, as `penstock stats` has them."""
    if not found:
        if console.is_terminal:
            console.print(Text("Nothing waits, and no batch was made. x-penstock-batch: hold puts a call off.", "dim"))
        return
    table = Table(box=None, pad_edge=False, header_style="dim", show_edge=False, padding=(0, 1))
    for name in ("id", "kind", "state", "upstream", "model"):
        table.add_column(name, no_wrap=True, overflow="ellipsis")
    for name in ("items", "done", "failed", "age", "deadline", "saved"):
        table.add_column(name, justify="right", no_wrap=True)
    now = time.time()
    for one in found:
        table.add_row(
            Text(printable(one.provider_id or one.id) or "-", "cyan"),
            one.kind,
            Text(printable(one.state), _STYLES.get(one.state, "")),
            printable(one.upstream),
            Text(cut(printable(one.model), MODEL_CHARS) or "-", "bold"),
            f"{one.total:,}",
            f"{one.completed:,}",
            Text(f"{one.failed:,}", "red" if one.failed else ""),
            duration(max(0.0, (one.ended or now) - one.created)),
            _left(one, now),
            Text("-" if one.saved_usd is None else money(one.saved_usd), "green" if one.saved_usd else "dim"),
        )
    console.print(table)


def print_one(console: Console, one: Overview) -> None:
    """The facts, one a line."""
    for label, text in _facts(one):
        console.print(Text.assemble((f"{label:<10}", "dim"), text), soft_wrap=True)


def _facts(one: Overview) -> Iterator[tuple[str, Text]]:
    yield ("item" if one.kind == "item" else "batch"), Text(one.id, "cyan")
    if one.provider_id:
        yield "there", Text(printable(one.provider_id), "cyan")
    if one.request_id:
        yield "request", Text(one.request_id, "cyan")
    yield "kind", Text(one.mode if one.kind == "item" else one.kind)
    answered = f", answered with {one.status}" if one.status is not None else ""
    yield "state", Text(printable(one.state) + answered, _STYLES.get(one.state, ""))
    yield "asked", Text(f"{printable(one.model) or '-'}  {printable(one.path)}, {printable(one.upstream)}")
    if one.kind != "item":
        failed = f", {one.failed:,} failed" if one.failed else ""
        yield "items", Text(f"{one.completed:,} of {one.total:,} done{failed}")
    if one.batch_id:
        yield "batch", Text(one.batch_id, "cyan")
    if one.attempts:
        yield "tries", Text(f"{one.attempts:,} without an answer")
    if one.tier:
        yield "tier", Text(f"{one.tier}, because the deadline was near")
    if one.webhook_state:
        yield "webhook", Text(one.webhook_state.replace("_", " "))
    yield "made", Text(_when(one.created))
    if one.ended:
        yield "ended", Text(f"{_when(one.ended)}, after {duration(max(0.0, one.ended - one.created))}")
    elif one.deadline:
        yield "deadline", Text(f"{_when(one.deadline)}, in {_left(one, time.time())}")
    if one.saved_usd is not None:
        yield "saved", Text(money(one.saved_usd), "green")


def _left(one: Overview, now: float) -> str:
    if one.is_over or not one.deadline:
        return "-"
    return duration(one.deadline - now) if one.deadline > now else "late"


def _when(at: float) -> str:
    return datetime.fromtimestamp(at).isoformat(" ", "seconds")


def watch(
    console: Console,
    look: Callable[[], Sequence[Overview]],
    *,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Bars until all are over, or Ctrl-C; where nobody looks a line for each change."""
    try:
        if console.is_terminal:
            _watch_bars(console, look, sleep)
        else:
            _watch_lines(console, look, sleep)
    except KeyboardInterrupt:
        return


def _watch_bars(console: Console, look: Callable[[], Sequence[Overview]], sleep: Callable[[float], None]) -> None:
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}", style="dim", markup=False),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as progress:
        bars: dict[str, Any] = {}
        while True:
            found = look()
            for one in found:
                key = one.id or f"{one.upstream} {one.model} {one.state}"
                if key not in bars and one.is_over and len(found) > 1:
                    continue
                if key not in bars:
                    bars[key] = progress.add_task(_title(one), total=one.total, note="")
                done = one.completed + one.failed
                progress.update(bars[key], total=one.total, completed=done, note=_note(one))
            if all(one.is_over for one in found):
                return
            sleep(POLL_S)


def _watch_lines(console: Console, look: Callable[[], Sequence[Overview]], sleep: Callable[[float], None]) -> None:
    told: dict[str, str] = {}
    while True:
        found = look()
        for one in found:
            line = f"{_title(one)}  {one.completed + one.failed:,}/{one.total:,}  {_note(one)}"
            if told.get(one.id) != line:
                told[one.id] = line
                console.print(line, soft_wrap=True)
        if all(one.is_over for one in found):
            return
        sleep(POLL_S)


def _title(one: Overview) -> str:
    return f"{printable(one.provider_id or one.id or one.kind)}  {cut(printable(one.model), MODEL_CHARS)}"


def _note(one: Overview) -> str:
    return printable(one.state) + (f", {one.failed:,} failed" if one.failed else "")
