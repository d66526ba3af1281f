"""The simulated cache against one that compares each prompt with every earlier one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.advising.policies import CachePolicy, policy_of
from proxy.advising.prompts import Pieces
from proxy.advising.simulation import simulate

POLICY = CachePolicy(3, 1, 10.0)


def plain(prompts: list[tuple[float, list[int]]], policy: CachePolicy) -> list[int]:
    used: list[list[float]] = []
    reads = []
    for at, prompt in prompts:
        best = 0
        for index, (_, earlier) in enumerate(prompts[: len(used)]):
            same = next((i for i, (a, b) in enumerate(zip(earlier, prompt, strict=False)) if a != b), None)
            same = min(len(earlier), len(prompt)) if same is None else same
            while same and at - used[index][same - 1] > policy.lifetime_s:
                same -= 1
            best = max(best, same)
        for index, (_, earlier) in enumerate(prompts[: len(used)]):
            for place, (a, b) in enumerate(zip(earlier, prompt, strict=False)):
                if a != b:
                    break
                used[index][place] = at
        used.append([at] * len(prompt))
        reads.append(best - best % policy.step if best >= policy.minimum else 0)
    return reads


@given(
    st.lists(st.tuples(st.integers(0, 8), st.lists(st.integers(0, 2), min_size=1, max_size=9)), max_size=12),
    st.sampled_from([POLICY, POLICY._replace(step=2, minimum=2), POLICY._replace(lifetime_s=3.0)]),
)
def test_it_reads_what_comparing_all_prompts_reads(gaps: list[tuple[int, list[int]]], policy: CachePolicy) -> None:
    pieces = Pieces(lambda text: 1)
    for word in "abc":
        pieces.add("system", word)
    at, prompts = 0.0, []
    for gap, prompt in gaps:
        at += gap
        prompts.append((at, prompt))
    assert simulate(prompts, pieces, policy) == plain(prompts, policy)


def test_breakpoints_are_ends_of_earlier_prompts() -> None:
    pieces = Pieces(lambda text: 10)
    for word in "abcde":
        pieces.add("system", word)
    policy = CachePolicy(1, 1, 10.0, "breakpoint")
    assert simulate([(0, [0, 1]), (1, [0, 2]), (2, [0, 1, 3]), (3, [0, 1, 3, 4])], pieces, policy) == [0, 0, 20, 30]
    assert simulate([(0, [0, 1]), (8, [0, 1, 2]), (15, [0, 1, 3])], pieces, policy) == [0, 20, 20]
    assert simulate([(0, [0, 1]), (11, [0, 1, 2]), (12, [0, 1, 3])], pieces, policy) == [0, 0, 0]


@pytest.mark.parametrize(
    ("provider", "model", "expected"),
    [
        ("openai", "gpt-4o-mini", (1024, 128, "prefix", False)),
        ("openai", "ft:gpt-4.1:acme::1", (1024, 128, "prefix", True)),
        ("azure", "gpt-5.6", (1024, 1, "breakpoint", False)),
        ("openrouter", "anthropic/claude-opus-4.5", (4096, 1, "marked", False)),
        ("google", "gemini-2.5-flash", (2048, 1, "prefix", False)),
        ("deepseek", "deepseek-chat", (64, 64, "prefix", False)),
    ],
)
def test_policies(provider: str, model: str, expected: tuple[int, int, str, bool]) -> None:
    policy = policy_of(provider, model)
    assert policy is not None
    assert (policy.minimum, policy.step, policy.matching, policy.extended) == expected


@pytest.mark.parametrize(("provider", "model"), [("openai", "gpt-4-turbo"), ("openai", "gpt-3.5-turbo"), ("", "llama")])
def test_no_cache_is_known(provider: str, model: str) -> None:
    assert policy_of(provider, model) is None
