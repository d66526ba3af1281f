"""`penstock cache`: what the response cache holds on disk and in Redis, one reply of it, and how to be rid of some."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeVar

from rich.console import Console
from rich.table import Table
from rich.text import Text

from cache import report
from cache.entry import Entry
from cache.purge import Selection
from cache.redis import RedisUnusable
from cache.tiers import Tiers, open_tiers
from exporters.call_line import cut, duration, printable

from ..configuration import load
from ..settings import Settings
from .failure import CommandFailed
from .filters import parse_since

PATIENCE_S: Final = 5.0
"""For one answer of Redis: nobody's call waits."""
BODY_SHOWN: Final = 2000
"""Characters of a body that a person is shown; --json has all of it."""
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Found:
    """An entry and where it was."""

    tier: str
    key: str
    entry: Entry


def settings_of(path: Path | None, data_dir: str | None) -> Settings:
    """The settings that say where the cache is; of the secrets, only its own. Raises `ConfigurationError`."""
    return load(path, {"server.data_dir": data_dir}, os.environ, only_store=True, with_redis=True)


def stats(settings: Settings) -> dict[str, Any]:
    """For each tier its size, limit and contents. Raises `CommandFailed`, as all here."""

    async def gather(tiers: Tiers) -> dict[str, Any]:
        groups = await report.contents(tiers)
        sizes = dict(await tiers.stats())
        tiers_found = []
        for name, size in sizes.items():
            own = [asdict(one) for one in groups if one.tier == name]
            volume = size.bytes if name == "disk" else sum(one["bytes"] for one in own)
            limit = settings.cache.disk_bytes_max if name == "disk" else None
            entries = sum(one["entries"] for one in own)
            tiers_found.append(
                {"tier": name, "entries": entries, "bytes": volume, "bytes_max": limit, "corrupt": size.corrupt}
            )
        return {"tiers": tiers_found, "contents": [asdict(one) for one in groups]}

    return _with_tiers(settings, gather)


def inspect(settings: Settings, name: str) -> Found:
    """The entry with this key, or whose key or request id begins so."""
    if not name:
        raise CommandFailed("Say which reply: its key, or the request id of the call that was paid for.")
    found = _with_tiers(settings, lambda tiers: report.find(tiers, name))
    by_key: dict[str, Found] = {}
    for tier, key, entry in found:
        by_key.setdefault(key, Found(tier, key, entry))
    if not by_key:
        raise CommandFailed(f"No kept reply has a key or a request id that begins with {name!r}.")
    exact = by_key.get(name) or (next(iter(by_key.values())) if len(by_key) == 1 else None)
    if exact is None:
        raise CommandFailed(f"{name!r} fits several: " + ", ".join(key[:16] for key in by_key) + ". Give more of it.")
    return exact


def purge(settings: Settings, selection: Selection) -> dict[str, int]:
    """How many entries went, by tier. Workers forget them within about a second."""

    async def gone(tiers: Tiers) -> dict[str, int]:
        try:
            return await tiers.purge(selection)
        except OSError as error:
            raise CommandFailed(f"The workers cannot be told what to forget: {error.strerror}.") from error

    return _with_tiers(settings, gone, told=True)


def selection_of(
    *, key: str, namespace: str | None, model: str, older_than: str, everything: bool, now: datetime
) -> Selection:
    """Raises `CommandFailed` when it is not said what is to go, or said twice."""
    try:
        until_ns = int(parse_since(older_than, now).timestamp() * 1e9) if older_than else 0
    except CommandFailed as error:
        raise CommandFailed(str(error).replace("--since", "--older-than")) from error
    selection = Selection(key=key, namespace=namespace, model=model, until_ns=until_ns)
    if selection.everything and not everything:
        raise CommandFailed("Say what is to go: --key, --namespace, --model, --older-than, or --all.")
    if everything and not selection.everything:
        raise CommandFailed("--all is everything: leave out the other options, or --all.")
    return selection


def document(found: Found) -> dict[str, Any]:
    """For programs: all of it."""
    entry = found.entry
    headers = [[name.decode("latin-1"), value.decode("latin-1")] for name, value in entry.headers]
    fields = {name: getattr(entry, name) for name in entry.__struct_fields__ if name not in ("headers", "body")}
    body = entry.body.decode(errors="replace")
    return {"tier": found.tier, "key": found.key, **fields, "headers": headers, "body": body}


def print_stats(console: Console, found: dict[str, Any]) -> None:
    """Columns without boxes, as `penstock stats` has them."""
    now = datetime.now(UTC).timestamp()
    for tier in found["tiers"]:
        limit = f" of {size(tier['bytes_max'])}" if tier["bytes_max"] else ""
        count = tier["entries"]
        replies = "reply" if count == 1 else "replies"
        console.print(
            Text.assemble((f"{tier['tier']:<9}", "dim"), f"{count:,} {replies}, {size(tier['bytes'])}{limit}")
        )
        if tier["corrupt"]:
            console.print(Text(f"{'':<9}{tier['corrupt']:,} were corrupt and were removed", "yellow"))
    if found["contents"]:
        console.print(_table(found["contents"], now))
    elif console.is_terminal:
        console.print(
            Text("The cache is empty. A call takes part when a rule fits, or with x-penstock-cache: on.", "dim")
        )


def _table(groups: Sequence[dict[str, Any]], now: float) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", show_edge=False, padding=(0, 1))
    for name in ("tier", "model", "namespace"):
        table.add_column(name, no_wrap=True, overflow="ellipsis")
    for name in ("replies", "bytes", "oldest", "newest"):
        table.add_column(name, justify="right", no_wrap=True)
    for one in groups:
        ages = (duration(max(0.0, now - one[name] / 1e9)) for name in ("oldest_ns", "newest_ns"))
        table.add_row(
            one["tier"],
            Text(cut(printable(one["model"]), 32) or "-", "bold"),
            cut(printable(one["namespace"]), 20) or "-",
            f"{one['entries']:,}",
            size(one["bytes"]),
            *ages,
        )
    return table


def print_entry(console: Console, found: Found) -> None:
    """For the eye: what it is, how long it is given, and how its body begins."""
    entry = found.entry
    until = _when(entry.expires_ns) if entry.expires_ns else "until it has to make room"
    kind = "stream" if entry.stream else "whole reply"
    for label, text in (
        ("key", found.key),
        ("found in", found.tier),
        ("request", entry.request_id),
        ("model", f"{entry.model}  {entry.endpoint}, {kind}, from {entry.upstream}"),
        ("namespace", entry.namespace or "-"),
        ("paid for", _when(entry.created_ns)),
        ("given", until),
        ("body", size(len(entry.body))),
    ):
        console.print(Text.assemble((f"{label:<11}", "dim"), printable(text)), soft_wrap=True)
    text = entry.body.decode(errors="replace")
    console.print(Text(printable(text[:BODY_SHOWN], keep="\n")), soft_wrap=True)
    if len(text) > BODY_SHOWN:
        console.print(Text(f"{len(text) - BODY_SHOWN:,} more characters: --json", "dim"))


def print_purge(console: Console, gone: dict[str, int]) -> None:
    said = ", ".join(f"{count:,} from {tier}" for tier, count in gone.items())
    console.print(f"{said} went; workers forget theirs within a second" if gone else "No tier outlives the workers.")


def size(count: int) -> str:
    """Bytes, to three digits."""
    amount, units = float(count), ["B", "kB", "MB", "GB", "TB"]
    while amount >= 999.5 and len(units) > 1:
        amount /= 1000
        units.pop(0)
    return f"{amount:.3g} {units[0]}"


def _when(at_ns: int) -> str:
    return datetime.fromtimestamp(at_ns / 1e9).isoformat(" ", "seconds")


def _with_tiers(settings: Settings, work: Callable[[Tiers], Awaitable[T]], *, told: bool = False) -> T:
    tiers = _open(settings, told=told)

    async def run() -> T:
        try:
            result = await work(tiers)
            for name, one in await tiers.stats():
                if one.failed:
                    raise CommandFailed(f"The {name} of the cache cannot be read now, or not all of it. Try again.")
            return result
        finally:
            await tiers.aclose()

    return asyncio.run(run())


def _open(settings: Settings, *, told: bool) -> Tiers:
    """The tiers that several processes share. A folder that nobody has made yet is not made, unless workers, which may
    keep replies in their memories alone, are to be `told` something there."""
    data_dir = Path(settings.server.data_dir)
    folder = data_dir / "cache"
    try:
        return open_tiers(
            directory=folder if folder.is_dir() or (told and data_dir.is_dir()) else None,
            disk_bytes_max=settings.cache.disk_bytes_max,
            redis_url=settings.cache.redis,
            redis_timeout_s=PATIENCE_S,
            tidy=False,
        )
    except RedisUnusable as error:
        raise CommandFailed(str(error)) from error
