"""One process at a time keeps the folder small, and another goes on when that one is gone."""

from __future__ import annotations

import os
import time
from pathlib import Path

from cache.janitor import Janitor
from cache.shelf import Shelf
from tests.unit.cache.entries import key


def test_only_one_holds_the_lock_until_it_is_gone(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path, 1_000_000)
    one, other = (Janitor(shelf, tmp_path, 1_000_000, time.time_ns) for _ in range(2))
    held = one._locked()
    assert held is not None
    assert other._locked() is None
    os.close(held)
    held = other._locked()
    assert held is not None
    os.close(held)


def test_it_removes_until_nothing_is_too_much(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path, 1_000_000)
    for number in range(60):
        shelf.write(key(number), bytes(60_000), 0)
    janitor = Janitor(shelf, tmp_path, 1_000_000, time.time_ns)
    janitor.tidy()
    assert shelf.volume() < 1_000_000
    assert janitor.removed == 60 - shelf.count() > 40
    shelf.close()
