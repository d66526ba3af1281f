"""What the answers of an alias are compared with: the variant that would answer if there were no other."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from ..settings import Settings
from ..variants import name_of, named
from .prices import provider_at, provider_for


class Baseline(NamedTuple):
    variant: str
    model: str
    provider: str


Baselines = Mapping[str, Baseline]
"""By alias."""

NO_BASELINES: Final[Baselines] = MappingProxyType({})


def baselines(settings: Settings) -> Baselines:
    """Of the aliases that name one."""
    found = {}
    by_name = {upstream.name: upstream for upstream in settings.upstreams}
    for alias in settings.models:
        variant = named(alias, alias.baseline) if alias.baseline else None
        if variant is not None:
            bound = by_name.get(variant.upstream)
            provider = provider_at(bound) if bound is not None else provider_for(settings.upstreams, variant.model)
            found[alias.name] = Baseline(name_of(variant), variant.model, provider)
    return found
