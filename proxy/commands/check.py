"""`penstock check`: what was understood of the configuration, what is odd about it, and whether upstreams answer."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

import httpx
import msgspec
from rich.console import Console
from rich.text import Text

from ..configuration import bind_problem, problems, without_secrets
from ..settings import Cache, Settings, Upstream

PROBE_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Probe:
    """What an upstream said to GET /models."""

    upstream: str
    ok: bool
    said: str


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
    embedded = shown.store.clickhouse == "embedded"
    where = (
        f"embedded, http://127.0.0.1:{shown.store.http_port or '(a free port)'}" if embedded else shown.store.clickhouse
    )
    yield "store", f"{where}, {shown.store.retention_days} days, content {shown.record.content}"
    yield "cache", _cache(shown.cache)
    for otlp in shown.otlp:
        yield "spans", f"{otlp.endpoint} ({otlp.protocol}), content {otlp.content}"
    if shown.metrics.port:
        yield "metrics", f"http://{shown.metrics.host}:{shown.metrics.port}/metrics"
    for model, price in shown.prices.items():
        yield "price", f"{model}  in {price.input:g}  out {price.output:g}  USD per million tokens"


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


def probe(upstream: Upstream) -> Probe:
    """Ask an upstream for its models. Never raises: what is wrong is the answer."""
    headers = {"Authorization": f"Bearer {upstream.api_key}"} if upstream.api_key else {}
    try:
        trust = ssl.create_default_context(cafile=upstream.ca_file)
        with httpx.Client(verify=trust, timeout=PROBE_TIMEOUT_S) as client:
            reply = client.get(upstream.base_url.rstrip("/") + "/models", headers=headers)
    except httpx.TimeoutException:
        return Probe(upstream.name, False, f"does not answer within {PROBE_TIMEOUT_S:g} s")
    except (httpx.HTTPError, OSError) as error:
        return Probe(upstream.name, False, f"cannot be reached: {error}")
    if reply.status_code in (401, 403):
        if upstream.api_key:
            return Probe(upstream.name, False, f"refuses the key ({reply.status_code})")
        return Probe(upstream.name, True, "answers, and wants the caller's key")
    if reply.status_code == 404:
        return Probe(upstream.name, False, "has no /models: does base_url end where the API begins (often /v1)?")
    if not reply.is_success:
        return Probe(upstream.name, False, f"answers with {reply.status_code}")
    return Probe(upstream.name, True, f"answers{_count_models(reply)}")


def probe_all(settings: Settings) -> list[Probe]:
    """Every upstream at once, so that one that does not answer costs its timeout and no more."""
    with ThreadPoolExecutor(max_workers=16) as pool:
        return [*pool.map(probe, settings.upstreams)]


def _count_models(reply: httpx.Response) -> str:
    try:
        count = len(reply.json()["data"])
    except (ValueError, KeyError, TypeError):
        return ", but not with a list of models"
    return f", {count} model" + ("" if count == 1 else "s")


def print_check(console: Console, settings: Settings, odd: list[str], probes: list[Probe], source: str) -> None:
    """For the eye; `--json` is for programs."""
    console.print(Text.assemble((f"{'from':<9}", "dim"), source))
    for label, text in understood(settings):
        console.print(Text.assemble((f"{label:<9}", "dim"), text))
    for one in probes:
        style = "green" if one.ok else "red"
        console.print(Text.assemble((f"{'probe':<9}", "dim"), f"{one.upstream}  ", (one.said, style)))
    for text in odd:
        console.print(Text.assemble(("warning  ", "yellow"), text))
    if not odd and all(one.ok for one in probes):
        console.print(Text("nothing is wrong with it", "green"))
