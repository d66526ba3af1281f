"""What may have been made is looked for until it surely is not there, however long a look takes."""

from __future__ import annotations

from typing import Any

import pytest

from finetune.hosting.once import once
from finetune.hosting.pace import Pace
from finetune.hosting.provider import Provider
from finetune.hosting.state import Asked

SETTLE_S = 20.0


@pytest.mark.parametrize("look_took_s", [0.0, SETTLE_S + 1, 3600.0])
def test_a_look_that_began_too_early_decides_nothing(look_took_s: float) -> None:
    """The list of a moment at which it lagged behind comes late, as when a machine was put to sleep meanwhile."""
    now_s = 1_795_000_000.0

    def sleep(seconds: float) -> None:
        nonlocal now_s
        now_s += seconds

    def find() -> str | None:
        nonlocal now_s
        found = "file-1" if now_s >= thing.asked + SETTLE_S / 2 else None
        now_s += look_took_s
        return found

    def make() -> Any:
        raise AssertionError("it is made twice")

    thing = Asked(asked=now_s)
    provider = Provider("http://127.0.0.1:1/v1", "sk-a", Pace(settle_s=SETTLE_S), sleep=sleep, clock=lambda: now_s)
    once(thing, provider, find=find, make=make, save=lambda: None)
    provider.close()
    assert (thing.id, thing.asked) == ("file-1", 0.0)


def test_what_is_not_there_when_all_is_settled_is_made() -> None:
    now_s = 1_795_000_000.0
    looks: list[float] = []

    def sleep(seconds: float) -> None:
        nonlocal now_s
        now_s += seconds

    def find() -> str | None:
        looks.append(now_s)
        return None

    thing = Asked(asked=now_s)
    provider = Provider("http://127.0.0.1:1/v1", "sk-a", Pace(settle_s=SETTLE_S), sleep=sleep, clock=lambda: now_s)
    once(thing, provider, find=find, make=lambda: "file-2", save=lambda: None)
    provider.close()
    assert thing.id == "file-2"
    assert (looks[0], looks[-1]) == (1_795_000_000.0, 1_795_000_000.0 + SETTLE_S)
