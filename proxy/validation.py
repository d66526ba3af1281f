"""What types cannot say about the settings: faults that stop Penstock, and problems that are worth a word."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from exporters.redact import Redactor

from .addresses import is_loopback, split, url_faults, url_secret
from .aliases import bound
from .aliases import faults as model_faults
from .aliases import problems as model_problems
from .batching.faults import faults as batch_faults
from .batching.faults import problems as batch_problems
from .credentials import is_key_hash, is_reference
from .metering.prices import known_providers, provider_at
from .otlp_settings import faults as otlp_faults
from .otlp_settings import problems as otlp_problems
from .settings import Cache, CacheRule, Settings, Upstream

_NOT_HERE: Final = "a key itself is not written into the file"


def faults(settings: Settings) -> list[str]:
    """One line for each thing that makes the settings unusable. Secrets must not be resolved yet."""
    return [
        *_server(settings),
        *_upstreams(settings),
        *model_faults(settings),
        *_store(settings),
        *_record(settings),
        *otlp_faults(settings.otlp),
        *_cache(settings.cache),
        *batch_faults(settings.batch),
    ]


def _server(settings: Settings) -> Iterator[str]:
    server = settings.server
    if not server.host or server.host != server.host.strip():
        yield "server.host: write an address, 127.0.0.1 or 0.0.0.0 for instance"
    if not server.data_dir:
        yield "server.data_dir: write a directory"
    yield from _keys("server.keys", server.keys)


def _keys(name: str, keys: Iterable[str]) -> Iterator[str]:
    for index, key in enumerate(keys):
        if not is_key_hash(key) and not is_reference(key):
            yield f"{name}[{index}]: write env:NAME, file:PATH or sha256: and the hash's 64 digits; {_NOT_HERE}"


def _upstreams(settings: Settings) -> Iterator[str]:
    if not settings.upstreams:
        yield "upstreams: at least one is needed; leave the section out for the OpenAI API"
    seen: dict[str, int] = {}
    for index, upstream in enumerate(settings.upstreams):
        at = f"upstreams[{index}]"
        if not upstream.name:
            yield f"{at}.name: must not be empty"
        if upstream.name in seen:
            yield f'{at}.name: upstreams[{seen[upstream.name]}] is already called "{upstream.name}"'
        seen.setdefault(upstream.name, index)
        yield from (f"{at}.base_url: {what}" for what in url_faults(upstream.base_url))
        if _is_own_address(settings, upstream):
            yield f"{at}.base_url: is Penstock's own address, so a call would never end; write the API's address"
        if upstream.api_key is not None and not is_reference(upstream.api_key):
            yield f"{at}.api_key: write env:NAME or file:PATH; {_NOT_HERE}"
        if not upstream.models:
            yield f'{at}.models: without a pattern nothing is sent there; write models = ["*"] for all'
        if upstream.ca_file is not None and not Path(upstream.ca_file).is_file():
            yield f"{at}.ca_file: there is no file {upstream.ca_file}"


def _is_own_address(settings: Settings, upstream: Upstream) -> bool:
    parts = split(upstream.base_url)
    if parts is None or not parts.hostname or not settings.server.port:
        return False
    port = parts.port or (443 if parts.scheme == "https" else 80)
    if port != settings.server.port:
        return False
    return parts.hostname == settings.server.host or is_loopback(parts.hostname)


def _store(settings: Settings) -> Iterator[str]:
    url = settings.store.clickhouse
    if url == "embedded" or is_reference(url):
        return
    if not url.startswith(("http://", "https://")):
        yield 'store.clickhouse: write "embedded" or http://user:env:NAME@host:8123/database'
        return
    secret = url_secret(url)
    parts = split(url if secret is None else secret[0] + "x" + secret[2])
    if parts is None or not parts.hostname:
        yield "store.clickhouse: is not an address; write http://user:env:NAME@host:8123/database"
    elif parts.path.strip("/").count("/"):
        yield "store.clickhouse: the path is the name of one database"


def _record(settings: Settings) -> Iterator[str]:
    for index, pattern in enumerate(settings.record.redact):
        try:
            Redactor((pattern,))
        except ValueError as error:
            yield f"record.redact[{index}]: is not a usable regular expression: {' '.join(str(error).split())}"
    spool = settings.spool
    if spool.bytes_max < 2 * spool.segment_bytes_max:
        yield "spool.bytes_max: must hold at least two segments (spool.segment_bytes_max)"


def _cache(cache: Cache) -> Iterator[str]:
    url = cache.redis
    if url and not is_reference(url):
        secret = url_secret(url)
        parts = split(url if secret is None else secret[0] + "x" + secret[2])
        if parts is None or parts.scheme not in ("redis", "rediss") or not parts.hostname:
            yield "cache.redis: write an address such as redis://127.0.0.1:6379/0"
        elif parts.password and secret is None:
            yield f"cache.redis: write the password as env:NAME or file:PATH; {_NOT_HERE}"
    if cache.embeddings_url:
        yield from (f"cache.embeddings_url: {what}" for what in url_faults(cache.embeddings_url))
        if not cache.embeddings_model:
            yield "cache.embeddings_model: say which model to ask at cache.embeddings_url"
    if cache.embeddings_key and not is_reference(cache.embeddings_key):
        yield f"cache.embeddings_key: write env:NAME or file:PATH; {_NOT_HERE}"
    yield from _keys("cache.keys", cache.keys)
    for index, rule in enumerate(cache.rules):
        if not rule.models or not rule.paths:
            yield f'cache.rules[{index}]: fits nothing; write models = ["*"] and paths = ["*"] for all'


def bind_problem(settings: Settings, insecure: bool) -> str | None:
    """Why Penstock must not listen where the settings say, or None. `insecure`: the user insists."""
    host = settings.server.host
    if insecure or settings.server.keys or is_loopback(host):
        return None
    return (
        f"server.host: {host} can be reached by others, who could then spend your API key and read what is recorded. "
        "Set server.keys, listen on 127.0.0.1, or say --insecure."
    )


def problems(settings: Settings) -> list[str]:
    """One line for each thing in usable settings that is probably not meant. Takes them as `load` gives them."""
    checks: tuple[Callable[[Settings], Iterator[str]], ...] = (
        _pattern_problems,
        model_problems,
        _provider_problems,
        _key_problems,
        _port_problems,
        _idle_settings,
        _cache_problems,
        otlp_problems,
        batch_problems,
    )
    return [line for check in checks for line in check(settings)]


def _pattern_problems(settings: Settings) -> Iterator[str]:
    taken: dict[str, str] = {}
    asked = bound(settings)
    for index, upstream in enumerate(settings.upstreams):
        for pattern in upstream.models if upstream.name not in asked else ():
            by = taken.get("*") or taken.get(pattern)
            if by is not None:
                yield (
                    f'upstreams[{index}].models: "{pattern}" is never reached, upstream {by} comes first and takes '
                    "those models. Move this upstream before it."
                )
            taken.setdefault(pattern, upstream.name)
    if settings.upstreams and "*" not in taken:
        yield 'upstreams: calls for a model that no pattern matches get a 404. One with models = ["*"] takes the rest.'


def _provider_problems(settings: Settings) -> Iterator[str]:
    known = known_providers()
    for index, upstream in enumerate(settings.upstreams):
        provider = provider_at(upstream)
        parts = urlsplit(upstream.base_url)
        if provider not in known and not settings.prices:
            name = f'"{provider}" is not in the price list' if provider else "who serves it is not known"
            yield (
                f"upstreams[{index}]: {name}, so its calls have no cost. Set provider (openai, anthropic, ...) or "
                "give prices under [prices]."
            )
        if not parts.path.strip("/") and provider in ("openai", "azure"):
            yield f"upstreams[{index}].base_url: has no path; the API is probably at {upstream.base_url.rstrip('/')}/v1"
        if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
            yield f"upstreams[{index}].base_url: keys and text travel unencrypted to {parts.hostname}"


def _key_problems(settings: Settings) -> Iterator[str]:
    if settings.server.keys:
        for index, upstream in enumerate(settings.upstreams):
            if upstream.api_key is None:
                yield (
                    f"upstreams[{index}]: has no api_key while server.keys are set, so callers must send both: the "
                    "upstream's key as Authorization and Penstock's as x-penstock-key."
                )
    parts = urlsplit(settings.store.clickhouse)
    if parts.password and parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        yield f"store.clickhouse: password and text travel unencrypted to {parts.hostname}"


def _port_problems(settings: Settings) -> Iterator[str]:
    ports = [("server.port", settings.server.port), ("metrics.port", settings.metrics.port)]
    if settings.store.clickhouse == "embedded":
        ports.append(("store.http_port", settings.store.http_port))
    seen: dict[int, str] = {}
    for name, port in ports:
        if port and port in seen:
            yield f"{name}: {port} is also {seen[port]}; one of them will not listen"
        seen.setdefault(port, name)


def _idle_settings(settings: Settings) -> Iterator[str]:
    sinks = [settings.record.content, *(one.content for one in settings.otlp)]
    if settings.record.redact and "redacted" not in sinks:
        yield 'record.redact: has no effect without content = "redacted"'
    if settings.store.cluster and settings.store.clickhouse == "embedded":
        yield "store.cluster: has no effect on the embedded store"
    if settings.store.writer == "collector" and not settings.otlp:
        yield 'store.writer: with "collector" calls go to no table, unless an [[otlp]] endpoint leads to the Collector'


def _cache_problems(settings: Settings) -> Iterator[str]:
    cache = settings.cache
    if not cache.enabled:
        return
    if not (cache.memory_bytes_max or cache.disk_bytes_max or cache.redis):
        yield "cache: has no tier, so nothing is kept; give memory_bytes_max, disk_bytes_max or redis"
    if cache.redis and find_spec("redis") is None:
        yield "cache.redis: the client library is not installed: pip install 'penstock[redis]'"
    if not cache.embeddings_url and find_spec("wordllama") is None:
        for index, rule in enumerate(cache.rules):
            if rule.semantic is not None:
                yield f"cache.rules[{index}].semantic: needs more than is installed: pip install 'penstock[semantic]'"
    for index, rule in enumerate(cache.rules[:-1]):
        if rule == CacheRule(cache=rule.cache, ttl_s=rule.ttl_s, namespace=rule.namespace, variants=rule.variants):
            yield f"cache.rules[{index}]: fits every call, so the rules after it are never reached"
            break
    parts = urlsplit(cache.redis)
    if parts.password and parts.scheme == "redis" and not is_loopback(parts.hostname or ""):
        yield f"cache.redis: password and replies travel unencrypted to {parts.hostname}; use rediss://"
