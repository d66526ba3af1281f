"""The advisor's closing words: a saving, nothing to do, or too little to judge by."""

from __future__ import annotations

import io

from rich.console import Console

from proxy.advising.findings import Advice
from proxy.commands.advice_view import print_advice
from tests.traffic import provider_reads, traffic
from tests.unit.proxy.advising.clean import user_behind
from tests.unit.proxy.advising.scenarios import FAULTS
from tests.unit.proxy.advising.test_prompt_cache import advice_on


def shown(advice: Advice, width: int = 80) -> str:
    out = io.StringIO()
    print_advice(Console(file=out, width=width, force_terminal=True, color_system=None, highlight=False), advice)
    return out.getvalue().replace("\N{NO-BREAK SPACE}", " ")


def test_too_little_is_not_called_fine() -> None:
    text = shown(advice_on([], []))
    assert "Too little to judge by. 0 calls" in text
    assert "Nothing breaks" not in text
    assert "application" not in text


def test_clean_traffic_is_called_fine() -> None:
    calls = traffic(20, user_behind)
    text = shown(advice_on(calls, provider_reads(calls)))
    assert "Nothing breaks the prompt cache. 20 calls" in text
    assert "nothing to do" in text


def test_a_finding_says_where_what_and_how_much_and_fits() -> None:
    calls = traffic(30, lambda index, dice: FAULTS["timestamp"](index, dice, False))
    advice = advice_on(calls, provider_reads(calls))
    for width in (80, 120):
        text = shown(advice, width)
        assert "1  A time or date stands before text that stays the same" in text
        assert "about token 10 of the system message" in text
        assert "/day" in text
        assert "→ Move it behind the static text" in text
        assert max(len(line) for line in text.splitlines()) <= width
