"""The advisor on made-up traffic: each planted fault is found, placed and priced, and clean traffic is left alone."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import cache

import pytest

from proxy.advising.findings import Advice
from proxy.advising.prompt_cache import advise
from proxy.advising.prompts import Pieces, call_of
from proxy.metering.prices import Prices
from proxy.settings import Price
from tests.traffic import Sent, provider_reads, question, rows, sentences, tokens_of, traffic
from tests.unit.proxy.advising.clean import CLEAN, user_behind
from tests.unit.proxy.advising.scenarios import FAULTS, RULES

CALLS = 60
DAY_S = 86_400.0
INPUT_USD, CACHED_USD = 2.5e-6, 1.25e-6
"""A token of gpt-4o."""
SHOP = "You serve customers of a shop."
PLACES = {
    "timestamp": ("system", f"{SHOP}\nThe time is "),
    "random_id": ("system", "Request "),
    "counter": ("system", "This is conversation number "),
    "user_text": ("system", "You speak with "),
    "whitespace": ("system", SHOP),
    "tool_order": ("tools", ""),
    "tool_keys": ("tools", ""),
    "tool_changes": ("tools", '{"type":"function","name":"find_order","description":"Finds orders. Data as of minute '),
    "tool_set": ("tools", ""),
    "schema_changes": ("schema", '{"type":"json_schema","json_schema":{"name":"answer_'),
    "example_order": ("system", f"{SHOP}\n"),
    "documents": ("system", "You answer by what follows.\n"),
    "variable_text": ("user", "Customer wrote: "),
}
"""Section, and its text before the place."""


def advice_on(calls: Sequence[Sent], reads: Sequence[int], prices: Prices | None = None) -> Advice:
    pieces = Pieces(lambda text: len(tokens_of(text)))
    found = [call for row in rows(calls, reads) if (call := call_of(row, pieces)) is not None]
    return advise(found, pieces, prices or Prices(), DAY_S)


def cost(calls: Sequence[Sent], reads: Sequence[int]) -> float:
    sent = sum(len(call.tokens) for call in calls)
    return (sent - sum(reads)) * INPUT_USD + sum(reads) * CACHED_USD


@cache
def planted(kind: str) -> tuple[list[Sent], list[int]]:
    calls = traffic(CALLS, lambda index, dice: FAULTS[kind](index, dice, False))
    return calls, provider_reads(calls)


@pytest.mark.parametrize("kind", FAULTS)
def test_a_planted_fault_is_found_placed_and_priced(kind: str) -> None:
    broken, reads = planted(kind)
    (finding,) = advice_on(broken, reads).findings
    assert (finding.kind, finding.section) == (kind, PLACES[kind][0])
    assert finding.section_token == pytest.approx(len(tokens_of(PLACES[kind][1])), abs=3)
    mended = traffic(CALLS, lambda index, dice: FAULTS[kind](index, dice, True))
    better = provider_reads(mended)
    assert finding.tokens_per_day == pytest.approx(sum(better) - sum(reads), rel=0.1)
    assert finding.usd_per_day == pytest.approx(cost(broken, reads) - cost(mended, better), rel=0.1)


@pytest.mark.parametrize("kind", ["timestamp", "tool_order", "documents"])
def test_a_fault_among_other_applications_is_found_and_nothing_else(kind: str) -> None:
    broken, reads = planted(kind)
    for name, spell in (("conversations", str.upper), ("user_behind", str.title)):
        others = traffic(CALLS, CLEAN[name])
        for call in others:
            call.messages = [(role, spell(text)) for role, text in call.messages]
        broken, reads = broken + others, reads + provider_reads(others)
    (finding,) = advice_on(broken, reads).findings
    assert (finding.kind, finding.calls_per_day <= CALLS) == (kind, True)


@pytest.mark.parametrize("name", CLEAN)
def test_clean_traffic_is_left_alone(name: str) -> None:
    calls = traffic(CALLS, CLEAN[name])
    advice = advice_on(calls, provider_reads(calls))
    assert advice.findings == []
    assert sum(one.calls for one in advice.applications) == CALLS


def test_applications_are_told_apart() -> None:
    calls = traffic(CALLS, CLEAN["tenants"])
    assert [one.calls for one in advice_on(calls, provider_reads(calls)).applications] == [CALLS // 4] * 4


def below(count: int) -> list[Sent]:
    text = sentences(count, "short rules")
    return traffic(CALLS, lambda index, dice: Sent(0, [("system", text), question(dice)]))


def test_just_under_the_minimum() -> None:
    calls = below(85)
    static = len(tokens_of(calls[0].messages[0][1])) + 8
    reads = provider_reads(calls)
    (finding,) = advice_on(calls, reads).findings
    assert finding.kind == "below_minimum"
    assert finding.missing_tokens == pytest.approx(1024 - static, abs=12)
    assert f"{finding.missing_tokens} more static tokens" in finding.advice
    longer = (static * INPUT_USD - 1024 * CACHED_USD) * (CALLS - 1) - finding.missing_tokens * INPUT_USD
    assert finding.usd_per_day == pytest.approx(longer, rel=0.1)


def test_far_under_the_minimum_is_no_finding() -> None:
    calls = below(40)
    for call in calls:
        call.model = "gpt-5"
    assert advice_on(calls, provider_reads(calls)).findings == []


@pytest.mark.parametrize(("model", "word"), [("gpt-5", "prompt_cache_retention"), ("gpt-4o", "bursts")])
def test_calls_too_far_apart(model: str, word: str) -> None:
    calls = traffic(CALLS, user_behind, gap_s=1200)
    for call in calls:
        call.model = model
    (finding,) = advice_on(calls, provider_reads(calls)).findings
    assert finding.kind == "expiry"
    assert word in finding.advice
    assert finding.tokens_per_day == pytest.approx(sum(provider_reads(calls, lifetime_s=DAY_S)), rel=0.1)


def test_who_asked_for_the_long_retention_is_left_alone() -> None:
    calls = traffic(CALLS, user_behind, gap_s=1200)
    for call in calls:
        call.model, call.retention = "gpt-5", "24h"
    assert advice_on(calls, provider_reads(calls)).findings == []


def test_a_cache_that_is_not_read_though_it_could_be() -> None:
    calls = traffic(CALLS, user_behind)
    (finding,) = advice_on(calls, [0] * CALLS).findings
    assert finding.kind == "routing"
    assert "prompt_cache_key" in finding.advice
    assert finding.tokens_per_day == pytest.approx(sum(provider_reads(calls)), rel=0.1)


def test_one_prompt_under_many_keys() -> None:
    def of_a_key(index: int, dice: random.Random) -> Sent:
        call = user_behind(index, dice)
        call.key = f"key {index % 20}"
        return call

    calls = traffic(CALLS, of_a_key, gap_s=40)
    reads = provider_reads(calls, by_key=True)
    (finding,) = advice_on(calls, reads).findings
    assert finding.kind == "spread_keys"
    assert finding.tokens_per_day == pytest.approx(sum(provider_reads(calls)) - sum(reads), rel=0.1)


def test_a_model_that_reads_only_up_to_breakpoints() -> None:
    calls = traffic(CALLS, lambda index, dice: Sent(0, [("system", RULES), question(dice)], model="gpt-5.6"))
    (finding,) = advice_on(calls, [0] * CALLS).findings
    assert finding.kind == "no_breakpoint"
    assert "prompt_cache_breakpoint" in finding.advice
    assert finding.tokens_per_day == pytest.approx(sum(provider_reads(calls, lifetime_s=1800, step=1)), rel=0.1)


def test_conversations_need_no_breakpoint_of_their_own() -> None:
    """Each turn ends where the next begins; only the first of a conversation misses what others have."""
    calls = traffic(90, CLEAN["conversations"])[20:]
    for call in calls:
        call.model = "gpt-5.6"
    reads = provider_reads(calls, lifetime_s=1800, step=1)
    assert advice_on(calls, reads).findings == []


def test_two_faults_save_only_together() -> None:
    def both(index: int, dice: random.Random) -> Sent:
        text = (
            f"It is {index % 24}:{index % 60:02}.\n{sentences(8, 'between')}Ticket {dice.getrandbits(64):016x}\n{RULES}"
        )
        return Sent(0, [("system", text), question(dice)])

    calls = traffic(CALLS, both)
    advice = advice_on(calls, provider_reads(calls))
    assert {finding.kind for finding in advice.findings} == {"timestamp", "random_id"}
    assert all(finding.joint for finding in advice.findings)
    (application,) = advice.applications
    assert application.usd_per_day == pytest.approx(max(f.usd_per_day or 0 for f in advice.findings), rel=0.05)


def test_what_was_read_already_is_not_saved_again() -> None:
    broken, reads = planted("timestamp")
    half = [read if index % 2 else 1408 for index, read in enumerate(reads)]
    whole = advice_on(broken, reads).findings[0].tokens_per_day
    assert advice_on(broken, half).findings[0].tokens_per_day == pytest.approx(whole / 2, rel=0.1)


def test_without_a_price_there_are_tokens_alone() -> None:
    broken, reads = planted("counter")
    for call in broken:
        call.model = "o9-unheard-of"
    (finding,) = advice_on(broken, reads).findings
    assert (finding.usd_per_day, finding.tokens_per_day > 0) == (None, True)
    priced = advice_on(broken, reads, Prices({"o9*": Price(input=10, cached=1, output=1)}))
    assert priced.findings[0].usd_per_day == pytest.approx(finding.tokens_per_day * 9e-6)
    free = advice_on(broken, reads, Prices({"o9*": Price(input=10, output=1)}))
    assert (free.findings, free.skipped["no discount"]) == ([], CALLS)
    for call in broken:
        call.model = "gpt-4o"


def test_examples_are_two_real_calls() -> None:
    broken, reads = planted("timestamp")
    (finding,) = advice_on(broken, reads).findings
    one, other = finding.examples
    assert one.varies != other.varies
    assert one.before.endswith("The time is ")
    for example in finding.examples:
        text = broken[int(example.request_id, 16)].messages[0][1]
        assert example.before + example.varies + example.behind in text


def test_redacted_content_is_shown_by_its_form() -> None:
    broken, reads = planted("user_text")
    for call in broken:
        call.content = "redacted"
    (finding,) = advice_on(broken, reads).findings
    assert {one.varies.strip("x ,") for one in finding.examples} == {""}
    assert not any(name.split()[0] in str(finding.examples) for name in ("Ann", "Bob"))
    for call in broken:
        call.content = "full"


def test_unknown_providers_and_rare_applications_are_counted() -> None:
    calls = traffic(CALLS, user_behind)
    for call in calls:
        call.provider = ""
    few = traffic(5, CLEAN["few_shot"])
    advice = advice_on([*calls, *few], [0] * (CALLS + 5))
    assert advice.skipped == {"unknown cache": CALLS, "no discount": 0, "few": 5}
