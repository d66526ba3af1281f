"""Which variant of an alias answers a call: by weight, and always the same one for the same caller.

Weighted rendezvous hashing: every variant draws a number from a hash of its name and the caller's key, distributed
exponentially with its weight as the rate, and the smallest wins. A variant wins as often as its share says, whatever
the order of the file. When one weight grows, callers move to that variant only; when it shrinks, only its own move.
Nothing of it depends on the process, so all workers, before and after a restart, choose alike.
Source: D. Thaler and C. Ravishankar, "A name-based mapping scheme for rendezvous" (1996), in its weighted form.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

from .settings import Model, Variant

STICKS_TO = {
    "session": ("session", "user"),
    "user": ("user", "session"),
    "key": ("key",),
    "none": (),
}
"""By `sticky`: what a call is known by, the first that it has. A key is no stand-in for a session: one key is often a
whole application, which a small share would then take as a whole or not at all."""


def name_of(variant: Variant) -> str:
    return variant.name or variant.model


def share_of(variant: Variant, variants: Sequence[Variant]) -> float:
    """From 0 to 1. At least one of `variants` has a weight."""
    return variant.weight / math.fsum(one.weight for one in variants)


def named(alias: Model, name: str) -> Variant | None:
    return next((variant for variant in alias.variants if name_of(variant) == name), None)


def choose(alias: Model, key: str) -> Variant:
    """The variant for whoever is known by `key`. At least one of them has a weight."""
    candidates = (variant for variant in alias.variants if variant.weight)
    return min(candidates, key=lambda variant: _drawn(f"{alias.name}\0{name_of(variant)}\0{key}") / variant.weight)


def _drawn(text: str) -> float:
    """Exponentially distributed with the mean 1."""
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return -math.log(((int.from_bytes(digest) >> 11) + 0.5) / 2**53)
