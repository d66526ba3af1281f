"""What the shared tiers hold, summed up, and one entry looked up by what a person knows of it."""

from __future__ import annotations

from dataclasses import dataclass

from .entry import Entry
from .tiers import Tiers


@dataclass(slots=True)
class Group:
    """The entries of one tier that have model and namespace in common."""

    tier: str
    model: str
    namespace: str
    entries: int = 0
    bytes: int = 0
    """Of the bodies."""
    oldest_ns: int = 0
    newest_ns: int = 0
    """Unix time when the first and the last of them were paid for."""


async def contents(tiers: Tiers) -> list[Group]:
    """By tier, the largest first. Reads everything."""
    groups: dict[tuple[str, str, str], Group] = {}
    async for tier, _, entry in tiers.scan():
        name = (tier, entry.model, entry.namespace)
        group = groups.get(name)
        if group is None:
            group = groups[name] = Group(*name, oldest_ns=entry.created_ns)
        group.entries += 1
        group.bytes += len(entry.body)
        group.oldest_ns = min(group.oldest_ns, entry.created_ns)
        group.newest_ns = max(group.newest_ns, entry.created_ns)
    return sorted(groups.values(), key=lambda one: (one.tier, -one.bytes, one.model, one.namespace))


async def find(tiers: Tiers, name: str, at_most: int = 10) -> list[tuple[str, str, Entry]]:
    """Tier, key and entry of what has `name` as its key or request id; else of what has one that begins so."""
    found: list[tuple[str, str, Entry]] = []
    async for tier, key, entry in tiers.scan():
        if name in (key, entry.request_id):
            return [(tier, key, entry)]
        if len(found) < at_most and (key.startswith(name) or entry.request_id.startswith(name)):
            found.append((tier, key, entry))
    return found
