"""`penstock check --probe`: everything that is configured is asked whether it answers, all at once."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

import httpx

from exporters.clickhouse.connect import Address, StoreError, connect, parse_url, translated
from exporters.clickhouse.schema import SchemaError, missing

from ..data_dir import serving
from ..otlp_settings import advice, connection_of, sink_name
from ..settings import Otlp, Settings, Upstream
from .failure import CommandFailed
from .store import address

if TYPE_CHECKING:
    from exporters.otlp_transport import Target

PROBE_TIMEOUT_S: Final = 10.0
"""Of one step."""
PROBE_WITHIN_S: Final = 20.0
"""Of all; who has not answered then is said not to."""


@dataclass(frozen=True, slots=True)
class Probe:
    """What somebody answered. `kind`: upstream, spans, store, cache or queue."""

    kind: str
    name: str
    ok: bool
    said: str


class Said(NamedTuple):
    ok: bool
    said: str


class Ask(Protocol):
    """Never raises what a fault of the other side may cause: what is wrong is the answer."""

    def __call__(self) -> Said: ...


class Question(NamedTuple):
    kind: str
    name: str
    ask: Ask


def questions(settings: Settings, environ: Mapping[str, str]) -> Iterator[Question]:
    """Whom these settings and the environment make Penstock talk to."""
    for upstream in settings.upstreams:
        yield Question("upstream", upstream.name, partial(ask_upstream, upstream))
    for index, otlp in enumerate(settings.otlp):
        yield Question("spans", sink_name(otlp), partial(ask_endpoint, index, otlp))
    yield from _environment(environ)
    yield Question("store", "clickhouse", partial(ask_store, settings))
    if settings.cache.enabled and settings.cache.redis:
        yield Question("cache", "redis", partial(ask_redis, settings.cache.redis))
    if settings.batch.enabled and settings.batch.url:
        yield Question("queue", "postgresql", partial(ask_queue, settings))


def probe_all(settings: Settings, environ: Mapping[str, str], *, within_s: float = PROBE_WITHIN_S) -> list[Probe]:
    """All at once, so that one who does not answer costs its timeout and no more."""
    return answers([*questions(settings, environ)], within_s=within_s)


def answers(
    asked: Sequence[Question], *, within_s: float, monotonic: Callable[[], float] = time.monotonic
) -> list[Probe]:
    """In the order of the questions. Who is silent is left behind, in a thread that does not keep the process alive."""
    found: dict[int, Said] = {}

    def ask(number: int) -> None:
        found[number] = asked[number].ask()

    threads = [Thread(target=ask, args=(number,), daemon=True) for number in range(len(asked))]
    for thread in threads:
        thread.start()
    deadline = monotonic() + within_s
    for thread in threads:
        thread.join(max(0.0, deadline - monotonic()))
    silent = Said(False, f"does not answer within {within_s:g} s")
    return [Probe(one.kind, one.name, *found.get(number, silent)) for number, one in enumerate(asked)]


def ask_upstream(upstream: Upstream) -> Said:
    """For its models."""
    headers = {"Authorization": f"Bearer {upstream.api_key}"} if upstream.api_key else {}
    try:
        trust = ssl.create_default_context(cafile=upstream.ca_file)
        with httpx.Client(verify=trust, timeout=PROBE_TIMEOUT_S) as client:
            reply = client.get(upstream.base_url.rstrip("/") + "/models", headers=headers)
    except httpx.TimeoutException:
        return Said(False, f"does not answer within {PROBE_TIMEOUT_S:g} s")
    except (httpx.HTTPError, OSError) as error:
        return Said(False, f"cannot be reached: {error}")
    if reply.status_code in (401, 403):
        if upstream.api_key:
            return Said(False, f"refuses the key ({reply.status_code})")
        return Said(True, "answers, and wants the caller's key")
    if reply.status_code == 404:
        return Said(False, "has no /models: does base_url end where the API begins (often /v1)?")
    if not reply.is_success:
        return Said(False, f"answers with {reply.status_code}")
    return Said(True, f"answers{_count_models(reply)}")


def _count_models(reply: httpx.Response) -> str:
    try:
        count = len(reply.json()["data"])
    except (ValueError, KeyError, TypeError):
        return ", but not with a list of models"
    return f", {count} model" + ("" if count == 1 else "s")


def ask_endpoint(index: int, otlp: Otlp) -> Said:
    """To take a test span."""
    # Imported where an endpoint is configured: gRPC and its like are a good part of a start.
    from exporters.otlp_environment import target_from_configuration

    there = connection_of(otlp)
    target = target_from_configuration(
        there.endpoint,
        protocol=otlp.protocol,
        headers=there.headers,
        timeout_s=min(otlp.timeout_s or PROBE_TIMEOUT_S, PROBE_TIMEOUT_S),
    )
    return _send(target, there.resource, *advice(index, otlp))


def _environment(environ: Mapping[str, str]) -> Iterator[Question]:
    if not any(environ.get(f"OTEL_EXPORTER_OTLP_{name}") for name in ("ENDPOINT", "TRACES_ENDPOINT")):
        return
    from exporters.otlp_environment import target_from_environment

    try:
        target = target_from_environment(environ)
    except ValueError as error:
        said = Said(False, str(error))
        yield Question("spans", "otlp-environment", lambda: said)
        return
    if target is not None:
        headers, endpoint = "OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_ENDPOINT"
        yield Question("spans", "otlp-environment", partial(_send, target, {}, headers, endpoint))


def _send(target: Target, resource: Mapping[str, str], keys: str, places: str) -> Said:
    """`keys` and `places`: the settings to look at when somebody is not let in, or nothing is there."""
    from exporters.otlp_probe import send_probe
    from exporters.otlp_transport import NothingThere, NotLetIn, place
    from exporters.sink import BatchRefused, SinkUnavailable

    try:
        send_probe(target, resource)
    except NotLetIn as error:
        return Said(False, f"does not let Penstock in ({error}): check {keys}")
    except NothingThere as error:
        return Said(False, f"takes no spans there ({error}): check {places}")
    except SinkUnavailable as error:
        return Said(False, f"cannot be reached or is busy ({error})")
    except (BatchRefused, ValueError) as error:
        return Said(False, f"refuses the test span: {error}")
    return Said(True, f"took a test span at {place(target.url)}")


def ask_store(settings: Settings) -> Said:
    """ClickHouse for its version, whether the tables are up to date and whether Penstock may write to them."""
    if settings.store.clickhouse == "embedded":
        note = serving(Path(settings.server.data_dir))
        if note is None or not note.store_url:
            return Said(True, "is the embedded one, and opens with `penstock serve`")
    try:
        target = parse_url(address(settings, "writer"))
        version, unapplied = _version(target), missing(target)
        if unapplied:
            what = f"{len(unapplied)} migration{'' if len(unapplied) == 1 else 's'}"
            return Said(True, f"ClickHouse {version} at {target.public}, {what} behind: `penstock serve` applies them")
        _insert_nothing(target)
    except (StoreError, SchemaError, CommandFailed) as error:
        return Said(False, str(error))
    return Said(True, f"ClickHouse {version} at {target.public}, tables up to date, may write")


def _version(target: Address) -> str:
    client = connect(target, database="", answer_timeout_s=int(PROBE_TIMEOUT_S))
    try:
        return str(client.server_version)
    finally:
        client.close()


def _insert_nothing(target: Address) -> None:
    """Asks for the right to write, and leaves no row."""
    client = connect(target, answer_timeout_s=int(PROBE_TIMEOUT_S))
    try:
        with translated(target):
            client.command("INSERT INTO otel_traces_ingest (SpanName) SELECT 'penstock probe' WHERE 0")
    finally:
        client.close()


def ask_redis(url: str) -> Said:
    """For a PONG."""
    from cache.redis import Redis, RedisUnusable

    async def ping() -> str:
        redis = Redis(url, PROBE_TIMEOUT_S)
        try:
            return await redis.ping()
        finally:
            await redis.aclose()

    try:
        fault = asyncio.run(ping())
    except RedisUnusable as error:
        return Said(False, str(error))
    return Said(False, f"does not answer ({fault}): check cache.redis") if fault else Said(True, "answers")


def ask_queue(settings: Settings) -> Said:
    """Whether its tables are there and can be read; none are made."""
    from ..batching.database import looking, queue_url
    from ..batching.refusal import QueueUnavailable

    try:
        with looking(queue_url(settings), within_s=PROBE_TIMEOUT_S) as connection:
            said = "answers" if connection is not None else "answers, without tables: `penstock serve` makes them"
    except QueueUnavailable as error:
        return Said(False, f"cannot be asked ({error}): check batch.url")
    return Said(True, said)
