"""Reads `penstock.toml` into `Settings`. What is wrong with it is said in one line each, with the key and the remedy.

Settings that come from `load` are whole: secrets are resolved (`upstreams.api_key`, the keys and headers of `otlp`, the
password in `store.clickhouse` hold what the reference led to) and `server.keys` are hashes. They must not be printed;
`without_secrets` gives a copy that may be. `OPENAI_BASE_URL` of Penstock's own environment is not read: it is what
callers are told, and would make Penstock its own upstream.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

import msgspec

from . import otlp_settings
from .addresses import url_secret
from .batching.faults import SECRET_CHARS_MIN
from .batching.signing import BadSecret, signing_key
from .credentials import KeyRing, SecretMissing, hash_key, is_key_hash, is_reference, resolve_secret
from .metering.prices import provider_of as guess_provider
from .refusals import explain
from .settings import Batch, Cache, Settings, Store, Upstream
from .validation import bind_problem, faults, problems

__all__ = [
    "ConfigurationError",
    "KeyRing",
    "bind_problem",
    "guess_provider",
    "load",
    "problems",
    "read_text",
    "resolve_secret",
    "understand",
    "without_secrets",
]

_MASK = "***"


class ConfigurationError(Exception):
    """The configuration cannot be used. `lines` holds one for each thing that is wrong; the text is all of them."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines


def load(
    path: Path | None,
    overrides: Mapping[str, object],
    environ: Mapping[str, str],
    *,
    only_store: bool = False,
    with_redis: bool = False,
    with_queue: bool = False,
) -> Settings:
    """The settings of the file at `path` (None: the defaults), with `overrides` on top and secrets from `environ`.

    `overrides` go by dotted key, `{"server.port": 4200}`; None among the values means not given. Paths of secrets are
    relative to the file. `only_store` leaves all secrets but the store's unresolved: a report needs no upstream's key;
    `with_redis` resolves that of `cache.redis` all the same, `with_queue` those of `batch`.
    Raises `ConfigurationError`.
    """
    source = "the command line" if path is None else str(path)
    document = {} if path is None else _read(path)
    for dotted, value in overrides.items():
        if value is not None:
            _set(document, dotted, value, source)
    settings = _converted(document, source)
    secrets = _Secrets(environ, path.parent if path else Path())
    if with_redis and only_store:
        address = _address("cache.redis", settings.cache.redis, secrets)
        settings = msgspec.structs.replace(settings, cache=msgspec.structs.replace(settings.cache, redis=address))
    if with_queue and only_store:
        settings = msgspec.structs.replace(settings, batch=_batch(settings.batch, secrets))
    return _resolve(settings, secrets, source, only_store=only_store)


def understand(text: str, source: str) -> Settings:
    """The settings that `text` says, with secrets as the references that they are. `source` is what errors name it by.

    Raises `ConfigurationError`.
    """
    return _converted(_parsed(text, source), source)


def _converted(document: dict[str, Any], source: str) -> Settings:
    try:
        settings = msgspec.convert(document, Settings)
    except msgspec.ValidationError as error:
        raise ConfigurationError([f"{source}: {explain(document, error)}"]) from error
    if wrong := faults(settings):
        raise ConfigurationError([f"{source}: {line}" for line in wrong])
    return settings


def _parsed(text: str, source: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError([f"{source}: is not valid TOML: {error}"]) from error


def _read(path: Path) -> dict[str, Any]:
    return _parsed(read_text(path), str(path))


def read_text(path: Path) -> str:
    """Of a configuration, with its ends of lines. Raises `ConfigurationError`."""
    try:
        return path.read_bytes().decode("utf-8")
    except FileNotFoundError as error:
        raise ConfigurationError([f"{path}: there is no such file"]) from error
    except OSError as error:
        raise ConfigurationError([f"{path}: cannot be read: {error.strerror}"]) from error
    except UnicodeDecodeError as error:
        raise ConfigurationError([f"{path}: is not UTF-8 text (at byte {error.start})"]) from error


def _set(document: dict[str, Any], dotted: str, value: object, source: str) -> None:
    *sections, key = dotted.split(".")
    table = document
    for section in sections:
        table = table.setdefault(section, {})
        if not isinstance(table, dict):
            raise ConfigurationError([f"{source}: {dotted}: {section} is not a table, write [{section}]"])
    table[key] = value


class _Secrets:
    """Resolves references and gathers those that lead nowhere."""

    def __init__(self, environ: Mapping[str, str], folder: Path) -> None:
        self.environ = environ
        self.folder = folder
        self.missing: list[str] = []

    def get(self, key: str, reference: str) -> str:
        try:
            return resolve_secret(reference, self.environ, self.folder)
        except SecretMissing as error:
            self.missing.append(f"{key}: {error}")
            return ""

    def header(self, key: str, reference: str) -> str:
        """A secret that travels in a header, where only visible ASCII does."""
        secret = self.get(key, reference)
        if not secret.isascii() or not secret.isprintable():
            self.missing.append(f"{key}: {reference} holds characters that cannot be sent in a header")
        return secret


def _resolve(settings: Settings, secrets: _Secrets, source: str, *, only_store: bool) -> Settings:
    settings = msgspec.structs.replace(settings, store=_store(settings.store, secrets))
    if not only_store:
        keys = _hashes("server.keys", settings.server.keys, secrets)
        settings = msgspec.structs.replace(
            settings,
            server=msgspec.structs.replace(settings.server, keys=keys),
            upstreams=tuple(_upstream(index, one, secrets) for index, one in enumerate(settings.upstreams)),
            otlp=tuple(
                otlp_settings.resolve(index, one, secrets.header, secrets.environ)
                for index, one in enumerate(settings.otlp)
            ),
            cache=_cache(settings.cache, secrets),
            batch=_batch(settings.batch, secrets),
        )
    if not secrets.missing and not settings.store.clickhouse.startswith(("embedded", "http://", "https://")):
        secrets.missing.append("store.clickhouse: the secret is not an http(s):// address")
    if secrets.missing:
        raise ConfigurationError([f"{source}: {line}" for line in secrets.missing])
    return settings


def _hashes(name: str, keys: Iterable[str], secrets: _Secrets) -> tuple[str, ...]:
    return tuple(
        key.lower() if is_key_hash(key) else hash_key(secrets.header(f"{name}[{index}]", key))
        for index, key in enumerate(keys)
    )


def _upstream(index: int, upstream: Upstream, secrets: _Secrets) -> Upstream:
    if upstream.api_key is None:
        return upstream
    key = secrets.header(f"upstreams[{index}].api_key", upstream.api_key)
    return msgspec.structs.replace(upstream, api_key=key)


def _store(store: Store, secrets: _Secrets) -> Store:
    return msgspec.structs.replace(store, clickhouse=_address("store.clickhouse", store.clickhouse, secrets))


def _cache(cache: Cache, secrets: _Secrets) -> Cache:
    key = cache.embeddings_key
    return msgspec.structs.replace(
        cache,
        redis=_address("cache.redis", cache.redis, secrets),
        embeddings_key=secrets.header("cache.embeddings_key", key) if key else "",
        keys=_hashes("cache.keys", cache.keys, secrets),
    )


def _batch(batch: Batch, secrets: _Secrets) -> Batch:
    secret, webhook_secret = (
        secrets.get(f"batch.{name}", value) if value else ""
        for name, value in (("secret", batch.secret), ("webhook_secret", batch.webhook_secret))
    )
    if batch.secret and secret and len(secret) < SECRET_CHARS_MIN:
        secrets.missing.append(f"batch.secret: has fewer than {SECRET_CHARS_MIN} characters")
    try:
        signing_key(webhook_secret)
    except BadSecret as error:
        secrets.missing.append(f"batch.webhook_secret: {error}")
    url = _address("batch.url", batch.url, secrets)
    return msgspec.structs.replace(batch, url=url, secret=secret, webhook_secret=webhook_secret)


def _address(key: str, url: str, secrets: _Secrets) -> str:
    """An address that is a reference as a whole, or has one for its password."""
    if is_reference(url):
        return secrets.get(key, url)
    if found := url_secret(url):
        before, reference, after = found
        return before + quote(secrets.get(key, reference), safe="") + after
    return url


def without_secrets(settings: Settings) -> Settings:
    """A copy that may be printed: `***` where a secret was."""
    cache, batch = settings.cache, settings.batch
    return msgspec.structs.replace(
        settings,
        upstreams=tuple(
            msgspec.structs.replace(one, api_key=None if one.api_key is None else _MASK) for one in settings.upstreams
        ),
        otlp=tuple(otlp_settings.without_secrets(one, _MASK) for one in settings.otlp),
        store=msgspec.structs.replace(settings.store, clickhouse=_masked(settings.store.clickhouse)),
        cache=msgspec.structs.replace(
            cache, redis=_masked(cache.redis), embeddings_key=_MASK if cache.embeddings_key else ""
        ),
        batch=msgspec.structs.replace(
            batch,
            url=_masked(batch.url),
            secret=_MASK if batch.secret else "",
            webhook_secret=_MASK if batch.webhook_secret else "",
        ),
    )


def _masked(url: str) -> str:
    parts = urlsplit(url)
    if parts.password:
        host = parts.netloc.rpartition("@")[2]
        parts = parts._replace(netloc=f"{parts.username}:{_MASK}@{host}")
    return urlunsplit(parts)
