"""`penstock check`: what was understood of the configuration, what is odd about it, and what a probe was answered."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import msgspec
from rich.console import Console
from rich.text import Text

from ..configuration import bind_problem, problems, without_secrets
from ..otlp_settings import connection_of
from ..settings import Cache, Model, Settings, Variant
from ..variants import name_of, share_of

if TYPE_CHECKING:
    from .probe import Probe


def understood(settings: Settings) -> Iterator[tuple[str, str]]:
    """The configuration in a few lines, without secrets."""
    shown = without_secrets(settings)
    server = shown.server
    workers = f"{server.workers} worker{'s' if server.workers > 1 else ''}"
    yield "listens", f"http://{server.host}:{server.port or '(a free port)'} with {workers}"
    yield (
        "accepts",
        f"{len(server.keys)} proxy key{'s' if len(server.keys) > 1 else ''}" if server.keys else "every caller",
    )
    yield "data", server.data_dir
    for upstream in shown.upstreams:
        key = "its own key" if upstream.api_key else "the caller's key"
        yield "upstream", f"{upstream.name}  {upstream.base_url}  {' '.join(upstream.models)}  with {key}"
    for alias in shown.models:
        variants = ", ".join(_variant(one, alias) for one in alias.variants)
        yield "alias", f"{alias.name}  {variants}  sticky by {alias.sticky}"
    embedded = shown.store.clickhouse == "embedded"
    where = (
        f"embedded, http://127.0.0.1:{shown.store.http_port or '(a free port)'}" if embedded else shown.store.clickhouse
    )
    yield "store", f"{where}, {shown.store.retention_days} days, content {shown.record.content}"
    yield "cache", _cache(shown.cache)
    for otlp in shown.otlp:
        there = connection_of(otlp)
        how = f"{otlp.preset}, {otlp.protocol}" if otlp.preset else otlp.protocol
        yield "spans", f"{there.endpoint} ({how}), dialect {there.dialect}, content {otlp.content}"
    if shown.export.jsonl:
        yield "export", f"{shown.export.jsonl}, content {shown.export.content}"
    if shown.metrics.port:
        yield "metrics", f"http://{shown.metrics.host}:{shown.metrics.port}/metrics"
    for model, price in shown.prices.items():
        yield "price", f"{model}  in {price.input:g}  out {price.output:g}  USD per million tokens"


def _variant(variant: Variant, alias: Model) -> str:
    share = f"{name_of(variant)} {100 * share_of(variant, alias.variants):.4g}%"
    where = f" at {variant.upstream}" if variant.upstream else ""
    return share + (f" ({variant.model}{where})" if variant.name or where else "")


def _cache(cache: Cache) -> str:
    if not cache.enabled:
        return "off"
    tiers = [f"{size >> 20} MiB {where}" for size, where in _sizes(cache) if size]
    tiers += [f"Redis at {cache.redis}"] if cache.redis else []
    rules = f"{len(cache.rules)} rule{'s' if len(cache.rules) > 1 else ''}" if cache.rules else "only when asked"
    return f"{', '.join(tiers) or 'no tier'}; {rules}"


def _sizes(cache: Cache) -> tuple[tuple[int, str], ...]:
    return (cache.memory_bytes_max, "in memory"), (cache.disk_bytes_max, "on disk")


def oddities(settings: Settings, *, insecure: bool) -> list[str]:
    """What would stop `serve` or surprise somebody, one line each."""
    bind = bind_problem(settings, insecure)
    return [*([bind] if bind else []), *problems(settings)]


def document(settings: Settings, odd: list[str], probes: list[Probe]) -> dict[str, Any]:
    """For programs: every setting with its value, without secrets."""
    shown = msgspec.to_builtins(without_secrets(settings))
    return {"settings": shown, "warnings": odd, "probes": [asdict(one) for one in probes]}


def print_check(console: Console, settings: Settings, odd: list[str], probes: list[Probe], source: str) -> None:
    """For the eye; `--json` is for programs."""
    console.print(Text.assemble((f"{'from':<9}", "dim"), source))
    for label, text in understood(settings):
        console.print(Text.assemble((f"{label:<9}", "dim"), text))
    for one in probes:
        style = "green" if one.ok else "red"
        console.print(Text.assemble((f"{'probe':<9}", "dim"), f"{one.kind} {one.name}  ", (one.said, style)))
    for text in odd:
        console.print(Text.assemble(("warning  ", "yellow"), text))
    if not odd and all(one.ok for one in probes):
        console.print(Text("nothing is wrong with it", "green"))
