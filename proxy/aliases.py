"""What is wrong or odd about `[[models]]`."""

from __future__ import annotations

from collections.abc import Iterator

from .addresses import is_loopback, split
from .settings import Model, Settings, Upstream
from .variants import name_of, named


def faults(settings: Settings) -> Iterator[str]:
    """One line for each thing that makes them unusable."""
    aliases: dict[str, int] = {}
    for index, alias in enumerate(settings.models):
        at = f"models[{index}]"
        if not _is_name(alias.name):
            yield f"{at}.name: {_NAMES}"
        if alias.name in aliases:
            yield f'{at}.name: models[{aliases[alias.name]}] is already called "{alias.name}"'
        aliases.setdefault(alias.name, index)
    for index, alias in enumerate(settings.models):
        yield from _variants(f"models[{index}]", alias, settings, aliases.keys() - {alias.name})


def _variants(at: str, alias: Model, settings: Settings, others: set[str]) -> Iterator[str]:
    if not any(variant.weight for variant in alias.variants):
        yield f"{at}.variants: none has a weight, so nobody could answer; write [[models.variants]] with a model"
    if alias.baseline and named(alias, alias.baseline) is None:
        yield f'{at}.baseline: there is no variant "{alias.baseline}", only {", ".join(map(name_of, alias.variants))}'
    upstreams = [upstream.name for upstream in settings.upstreams]
    seen: dict[str, int] = {}
    for index, variant in enumerate(alias.variants):
        here, name = f"{at}.variants[{index}]", name_of(variant)
        if not variant.model:
            yield f"{here}.model: must not be empty"
        elif not _is_name(name):
            yield f"{here}.name: {_NAMES}"
        if name in seen:
            yield f'{here}.name: variants[{seen[name]}] is already called "{name}"'
        seen.setdefault(name, index)
        if variant.model in others:
            yield f'{here}.model: "{variant.model}" is an alias itself; write the model that is to answer'
        if variant.upstream and variant.upstream not in upstreams:
            yield f'{here}.upstream: there is no upstream "{variant.upstream}", only {", ".join(upstreams)}'
        if "" in variant.prune or "" in variant.prune_user:
            yield f"{here}.prune: an empty text is the beginning of everything; leave it out"


_NAMES = "write visible ASCII characters: it travels in headers"


def _is_name(name: str) -> bool:
    return bool(name) and name.isascii() and name.isprintable() and name == name.strip()


def bound(settings: Settings) -> set[str]:
    """Upstreams that variants name: they are reached whatever their patterns say."""
    return {variant.upstream for alias in settings.models for variant in alias.variants if variant.upstream}


def problems(settings: Settings) -> Iterator[str]:
    """One line for each thing that is probably not meant."""
    by_name = {upstream.name: upstream for upstream in settings.upstreams}
    for index, alias in enumerate(settings.models):
        models = {variant.model for variant in alias.variants}
        for upstream in settings.upstreams:
            if alias.name in upstream.models and alias.name not in models:
                yield f"models[{index}].name: hides the model {alias.name} of {upstream.name}, which nobody reaches"
        for place, variant in enumerate(alias.variants):
            if variant.upstream and _takes_keys_away(by_name[variant.upstream], settings):
                yield (
                    f"models[{index}].variants[{place}].upstream: {variant.upstream} has no api_key, so a caller's own "
                    "key, meant for another upstream, is sent there. Give it one."
                )


def _takes_keys_away(upstream: Upstream, settings: Settings) -> bool:
    """It gets keys of callers that did not choose it."""
    if upstream.api_key is not None or all(one.api_key is not None for one in settings.upstreams if one != upstream):
        return False
    parts = split(upstream.base_url)
    return parts is None or not is_loopback(parts.hostname or "")
