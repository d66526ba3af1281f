"""The advisor on made-up traffic: each planted fault is found, placed and priced, and clean traffic is left alone."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from proxy.advising.findings import Advice
from proxy.advising.prompt_cache import advise
from proxy.advising.prompts import Pieces, call_of
from proxy.metering.prices import Prices
from tests.traffic import Sent, provider_reads, rows, tokens_of, traffic
from tests.unit.proxy.advising.scenarios import FAULTS

CALLS = 80
DAY_S = 86_400.0
INPUT_USD, CACHED_USD = 2.5e-6, 1.25e-6
"""A token of gpt-4o."""


def advice_on(calls: Sequence[Sent], reads: Sequence[int]) -> Advice:
    pieces = Pieces(lambda text: len(tokens_of(text)))
    found = [call for row in rows(calls, reads) if (call := call_of(row, pieces)) is not None]
    return advise(found, pieces, Prices(), DAY_S)


def cost(calls: Sequence[Sent], reads: Sequence[int]) -> float:
    sent = sum(len(call.tokens) for call in calls)
    return (sent - sum(reads)) * INPUT_USD + sum(reads) * CACHED_USD


@pytest.mark.parametrize("kind", FAULTS)
def test_a_planted_fault_is_found_placed_and_priced(kind: str) -> None:
    def made(mended: bool) -> list[Sent]:
        return traffic(CALLS, lambda index, dice: FAULTS[kind](index, dice, mended))

    broken, mended = made(False), made(True)
    reads = provider_reads(broken)
    (finding,) = advice_on(broken, reads).findings
    assert finding.kind == kind
    better = provider_reads(mended)
    assert finding.tokens_per_day == pytest.approx(sum(better) - sum(reads), rel=0.1)
    assert finding.usd_per_day == pytest.approx(cost(broken, reads) - cost(mended, better), rel=0.1)
