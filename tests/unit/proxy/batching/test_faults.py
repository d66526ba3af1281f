"""Rules that could never be obeyed stop Penstock before it serves anybody."""

from __future__ import annotations

import pytest

from proxy.batching.faults import faults
from proxy.settings import Batch, BatchRule


@pytest.mark.parametrize("deadline", ["soon", "0s", "31d", "2026-11-23T00:53:21Z", "90"])
def test_a_deadline_that_cannot_be_read(deadline: str) -> None:
    (fault,) = faults(Batch(rules=(BatchRule(), BatchRule(deadline=deadline))))
    assert fault.startswith("batch.rules[1].deadline: ")


@pytest.mark.parametrize("deadline", ["", "90s", "30m", "2h", "30d"])
def test_a_deadline_that_can(deadline: str) -> None:
    assert list(faults(Batch(rules=(BatchRule(deadline=deadline),)))) == []
