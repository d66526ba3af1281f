"""Finds what keeps a provider's prompt cache from reading more, and what it would save to put it right.

Nothing is guessed from shape alone: prompts are rewritten with a fault put right, the cache is simulated over the real
times of the calls, and what the simulated cache reads beyond what was really read is the saving.
"""

from __future__ import annotations

import statistics
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from ..metering.prices import Prices
from .faults import Fault, faults_of, rewrite
from .findings import Advice, Application, Finding, advice_for, confidence
from .grouping import group
from .kinds import Kind
from .layout import Layout, lay_out
from .policies import DAY_S, CachePolicy, policy_of
from .prompts import Call, Pieces
from .simulation import simulate

CALLS_MIN: Final = 10
"""Of an application; fewer show no habit."""
WORTH_SHARE: Final = 0.02
"""Of the input tokens must be saved for a finding to be one."""
WORTH_TOKENS: Final = 32
"""A call, on average."""
UNREAD_SHARE: Final = 0.5
"""Less of what should have been read was: then prompts are not what is wrong."""
NEAR_MINIMUM: Final = 0.6
"""Share of the minimum from which on a prefix is just under it."""

Cached = Sequence[int]


def advise(calls: Sequence[Call], pieces: Pieces, prices: Prices, window_s: float) -> Advice:
    """The advice on `calls`, which were made within `window_s` seconds."""
    skipped = dict.fromkeys(("unknown cache", "no discount", "few"), 0)
    applications = []
    for found in group(calls, pieces):
        policy = policy_of(found[0].provider, found[0].model)
        if policy is None:
            skipped["unknown cache"] += len(found)
        elif len(found) < CALLS_MIN:
            skipped["few"] += len(found)
        elif (money := _Money.of(found, prices)) is None:
            skipped["no discount"] += len(found)
        else:
            applications.append(_Study(found, pieces, policy, money, window_s).application())
    applications.sort(key=lambda one: (-(one.usd_per_day or 0.0), -one.tokens_per_day))
    return Advice(tuple(applications), len(calls), window_s, skipped)


@dataclass(frozen=True, slots=True)
class _Money:
    """USD by call for one token: plain input, read from the cache, written to it. Empty: no price is known."""

    plain: list[float]
    read: list[float]
    write: list[float]

    @classmethod
    def of(cls, calls: Sequence[Call], prices: Prices) -> _Money | None:
        """None when reading from the cache is no cheaper."""
        made = cls([], [], [])
        for call in calls:
            model = call.response_model or call.model
            card = prices.card(call.provider, model, call.tier, int(call.at * 1e9), call.model)
            if card is None:
                return cls([], [], [])
            rates = card.rates(call.input_tokens)
            made.plain.append(rates.input)
            made.read.append(rates.cached)
            made.write.append(rates.cache_write)
        return made if any(read < plain for read, plain in zip(made.read, made.plain, strict=True)) else None

    def saved(self, gains: Sequence[float], calls: Sequence[Call], more: Sequence[float]) -> float | None:
        """Tokens read instead of paid for in full, or written at a surcharge, less those that are sent in addition."""
        if not self.plain:
            return None
        rates = zip(self.plain, self.read, self.write, strict=True)
        total = 0.0
        for gain, call, added, (plain, read, write) in zip(gains, calls, more, rates, strict=True):
            surcharge = min(gain, call.written_tokens) * max(0.0, write - plain)
            total += gain * (plain - read) + surcharge - added * plain
        return total


class _Study:
    """One application."""

    def __init__(
        self, calls: Sequence[Call], pieces: Pieces, policy: CachePolicy, money: _Money, window_s: float
    ) -> None:
        self.calls = calls
        self.pieces = pieces
        self.policy = policy
        self.by_prefix = policy._replace(matching="prefix")
        """As the cache is where a breakpoint stands at the right place."""
        self.money = money
        self.per_day = DAY_S / window_s
        self.layout: Layout = lay_out(calls, pieces)
        self.scale = _scale(calls, pieces)
        self.recorded = [call.cached_tokens for call in calls]
        self.worth = max(WORTH_SHARE * sum(call.input_tokens for call in calls), WORTH_TOKENS * len(calls))
        self.name = _name(self.layout)

    def application(self) -> Application:
        faults, fixed = self._worth_fixing()
        more = self._more_tokens(fixed)
        cached = self._simulate(fixed, self.by_prefix)
        gains = [self._gains(cached, self._read_without(faults, fault)) for fault in faults]
        findings = [
            self._finding(
                fault.kind, gain, fault, joint=len(faults) > 1, more=more if fault.kind == "tool_set" else None
            )
            for fault, gain in zip(faults, gains, strict=True)
        ]
        best = list(cached)
        for kind, certain, reached in self._beyond_text(fixed, cached):
            gain = self._gains(
                reached, self.recorded if kind in ("routing", "spread_keys") else self._before(kind, fixed, cached)
            )
            if sum(gain) >= self.worth:
                findings.append(
                    self._finding(kind, gain, None, certain=certain, joint=bool(faults) and kind == "expiry")
                )
                best = [max(pair) for pair in zip(best, reached, strict=True)]
        if not findings:
            findings = self._too_short(fixed, cached)
        return self._told(findings, best, more)

    def _more_tokens(self, fixed: Sequence[array[int]]) -> list[float]:
        """Tokens that putting things right adds to each call (a full set of tools)."""
        added = (
            self.pieces.tokens_of(prompt) - self.pieces.tokens_of(call.numbers)
            for prompt, call in zip(fixed, self.calls, strict=True)
        )
        return [max(0.0, tokens * self.scale) for tokens in added]

    def _told(self, findings: list[Finding], best: Cached, more: Sequence[float]) -> Application:
        first, sent = self.calls[0], max(1, sum(call.input_tokens for call in self.calls))
        gains = self._gains(best, self.recorded) if findings else [0] * len(self.calls)
        usd = self.money.saved(gains, self.calls, more if findings else [0.0] * len(self.calls))
        return Application(
            name=self.name,
            provider=first.provider,
            upstream=first.upstream,
            model=first.model,
            calls=len(self.calls),
            calls_per_day=len(self.calls) * self.per_day,
            keys=len({call.key for call in self.calls}),
            hit_ratio=sum(self.recorded) / sent,
            achievable_ratio=min(1.0, (sum(self.recorded) + sum(gains)) / sent),
            tokens_per_day=sum(gains) * self.per_day,
            usd_per_day=None if usd is None else usd * self.per_day,
            findings=tuple(findings),
        )

    # Text.

    def _worth_fixing(self) -> tuple[list[Fault], list[array[int]]]:
        """The faults that cost something, with all of them put right; those that do not are taken out again."""
        faults = faults_of(self.layout)
        while faults:
            cached = self._simulate(self._rewritten(faults), self.by_prefix)
            gains = [sum(self._gains(cached, self._read_without(faults, fault))) for fault in faults]
            least = min(range(len(faults)), key=gains.__getitem__)
            if gains[least] >= self.worth:
                break
            faults = faults[:least] + faults[least + 1 :]  # one at a time: either of two may do
        return faults, self._rewritten(faults)

    def _read_without(self, faults: Sequence[Fault], left: Fault) -> Cached:
        """What is read when all faults but one are put right, or was read already."""
        prompts = self._rewritten([fault for fault in faults if fault is not left])
        return [max(pair) for pair in zip(self._simulate(prompts, self.by_prefix), self.recorded, strict=True)]

    def _rewritten(self, faults: Sequence[Fault]) -> list[array[int]]:
        if not faults:
            return [call.numbers for call in self.calls]
        changes = frozenset(change for fault in faults for change in fault.change)
        return [rewrite(self.layout, call, changes) for call in self.calls]

    def _simulate(self, prompts: Sequence[array[int]], policy: CachePolicy) -> list[int]:
        sent = [(call.at, prompt) for call, prompt in zip(self.calls, prompts, strict=True)]
        return simulate(sent, self.pieces, policy, self.scale)

    # What is wrong beside the text.

    def _before(self, kind: Kind, fixed: Sequence[array[int]], cached: Cached) -> Cached:
        before = self._simulate(fixed, self.policy) if kind == "no_breakpoint" else cached
        return [max(pair) for pair in zip(before, self.recorded, strict=True)]

    def _beyond_text(self, fixed: Sequence[array[int]], cached: Cached) -> list[tuple[Kind, float, Cached]]:
        """Kinds, how certain they are, and what would be read."""
        found: list[tuple[Kind, float, Cached]] = []
        if self.policy.matching != "prefix":
            found.append(("no_breakpoint", 0.8, cached))
        if (unread := self._unread()) is not None:
            found.append(unread)
        forgets = self.policy.matching == "prefix" and self.policy.lifetime_s < DAY_S
        if forgets and not (self.policy.extended and all(call.extended for call in self.calls)):
            longer = self._simulate(fixed, self.by_prefix._replace(lifetime_s=DAY_S))
            found.append(("expiry", 0.8 if self.policy.extended else 0.5, longer))
        return found

    def _unread(self) -> tuple[Kind, float, Cached] | None:
        """The provider reads much less from its cache than prompts and times would let it."""
        if not any(call.tells_cached for call in self.calls) or any(call.redacted for call in self.calls):
            return None
        expected = self._simulate([call.numbers for call in self.calls], self.policy)
        if sum(self.recorded) >= UNREAD_SHARE * sum(expected):
            return None
        keys = {call.key for call in self.calls}
        if len(keys) > 1 and sum(self.recorded) >= UNREAD_SHARE * sum(self._of_keys(keys)):
            return "spread_keys", 0.6, expected
        return "routing", 0.6, expected

    def _of_keys(self, keys: set[str]) -> Cached:
        read = []
        for key in keys:
            sent = [(call.at, call.numbers) for call in self.calls if call.key == key]
            read += simulate(sent, self.pieces, self.policy, self.scale)
        return read

    def _too_short(self, fixed: Sequence[array[int]], cached: Cached) -> list[Finding]:
        """The prefix is just under the provider's minimum, and longer it would be cheaper."""
        minimum = self.policy.minimum
        shared = self._simulate(fixed, self.by_prefix._replace(minimum=1, step=1))
        length = round(statistics.median(shared))
        if not NEAR_MINIMUM * minimum <= length < minimum or sum(cached) > UNREAD_SHARE * minimum * len(self.calls):
            return []
        missing = minimum - length
        hits = [tokens >= 0.95 * length for tokens in shared]
        gains = [minimum if hit else 0 for hit in hits]
        usd = 0.0
        for hit, plain, read in zip(hits, self.money.plain, self.money.read, strict=False):
            usd += length * plain - minimum * read if hit else -missing * plain
        if (self.money.plain and usd <= 0) or sum(gains) < self.worth:
            return []
        finding = self._finding("below_minimum", gains, None, certain=0.6, joint=False, missing=missing, token=length)
        per_day = usd * self.per_day if self.money.plain else None
        return [_priced(finding, per_day)]

    # Words.

    def _gains(self, after: Cached, before: Cached) -> list[int]:
        return [max(0, reached - read) for reached, read in zip(after, before, strict=True)]

    def _finding(
        self, kind: Kind, gains: Sequence[int], fault: Fault | None, *,
        joint: bool, certain: float = 0.0, missing: int = 0, token: int = 0, more: Sequence[float] | None = None,
    ) -> Finding:  # fmt: skip
        first, usd = self.calls[0], self.money.saved(gains, self.calls, more or [0.0] * len(self.calls))
        affected = fault.calls if fault else sum(gain > 0 for gain in gains)
        return Finding(
            kind=kind,
            application=self.name,
            provider=first.provider,
            upstream=first.upstream,
            model=first.model,
            token=round(fault.token * self.scale) if fault else token,
            section=fault.section if fault else "",
            section_token=round(fault.section_token * self.scale) if fault else 0,
            calls=affected,
            calls_per_day=affected * self.per_day,
            distinct=fault.distinct if fault else 0,
            tokens_per_day=sum(gains) * self.per_day,
            usd_per_day=None if usd is None else usd * self.per_day,
            joint=joint,
            confidence=confidence(fault.certain if fault else certain, affected),
            advice=advice_for(kind, self.policy, missing, self.policy.lifetime_s / 60),
            examples=fault.examples if fault else (),
            missing_tokens=missing,
        )


def _priced(finding: Finding, usd_per_day: float | None) -> Finding:
    return replace(finding, usd_per_day=usd_per_day)


def _scale(calls: Sequence[Call], pieces: Pieces) -> float:
    """The provider's tokens for one of ours, by the calls that it counted."""
    ratios = [
        call.input_tokens / counted
        for call in calls[-500:]
        if call.measured and (counted := pieces.tokens_of(call.numbers)) > 0
    ]
    return min(2.0, max(0.5, statistics.median(ratios))) if ratios else 1.0


def _name(layout: Layout) -> str:
    """The prompt's name, or how its static text begins."""
    if named := layout.calls[0].prompt:
        return named
    ranked = sorted(
        layout.usual,
        key=lambda mark: (
            layout.pieces.roles[layout.usual[mark]] in ("definition", "schema"),
            layout.rank.get(mark, 0.0),
        ),
    )
    text = " ".join(layout.pieces.texts[layout.usual[ranked[0]]].split()) if ranked else ""
    return text if len(text) <= 60 else text[:59] + "…"
