"""Completes a record: understand its bodies, estimate what usage is missing, price it, hide what is private."""

from __future__ import annotations

import functools
import logging
from pathlib import Path
from typing import Final, NamedTuple

from exporters.completion import where
from exporters.files import Throttle
from exporters.record import CallRecord, Complete
from exporters.redact import Redactor

from ..openai.understand import understand
from ..settings import Settings
from .baselines import NO_BASELINES, Baselines, baselines
from .prices import NAME_MAX, Prices
from .rates import Cost, RateCard
from .savings import CHEAPER_TIERS, not_bought, reused_by, savings
from .tokenizer import ByLength, Counter, Tokenizer
from .tokens import estimate

logger = logging.getLogger(__name__)

_PRUNED_TEXTS_MAX: Final = 64


def completer(settings: Settings, *, exact: bool = True) -> Complete:
    """All that the recorder fills. The tokenizer's files are kept in the data directory and loaded at first need.

    `exact=False` is for a worker, whose loop must not wait for the tokenizer (up to 0.4 s to load, 65 ms for a million
    characters) nor hold its 60 MB: it estimates by length where nobody will see the text again (content off), and
    leaves redacted records to the recorder.
    """
    tokenizer = Tokenizer(Path(settings.server.data_dir, "tokenizer")) if exact else ByLength()
    return Completer(pricer(settings), tokenizer, Redactor(settings.record.redact), leave_redacted=not exact)


def pricer(settings: Settings) -> Complete:
    """Cost and savings alone, of a record whose usage is known: for the reply headers, in microseconds."""
    return Pricer(Prices(settings.prices), baselines(settings))


class Pricer:
    """A `Complete` that fills the cost and never raises. What fails stays empty and is logged once a minute at most."""

    def __init__(self, prices: Prices, baselines: Baselines) -> None:
        self._prices = prices
        self._baselines = baselines
        self._throttle = Throttle()

    def __call__(self, record: CallRecord) -> CallRecord:
        try:
            return price(record, self._prices, self._baselines)
        except Exception as error:  # noqa: BLE001 - a record without a price is still a record
            if self._throttle.due("price"):
                logger.error("A record could not be priced: %s.", where(error))
            return record


class Completer:
    """A `Complete`: the same record always becomes the same, completing twice changes nothing, and it never raises.

    A step that fails leaves its fields empty and is logged at most once a minute; when hiding fails, the text goes. The
    record given is changed; one with redacted content is copied.
    """

    def __init__(
        self, price: Complete, tokenizer: Counter, redactor: Redactor, *, leave_redacted: bool = False
    ) -> None:
        self._price = price
        self._tokenizer = tokenizer
        self._redactor = redactor
        self._leave_redacted = leave_redacted
        """Redacted records are not estimated here: somebody completes them again."""
        self._throttle = Throttle()
        # Variants are pruned of the same few texts with every call.
        self._count = functools.lru_cache(_PRUNED_TEXTS_MAX)(tokenizer.count)

    def __call__(self, record: CallRecord) -> CallRecord:
        record = understand(record)
        try:
            if record.content != "redacted" or not self._leave_redacted:
                estimate(record, self._tokenizer)
                self._count_pruned(record)
        except Exception as error:  # noqa: BLE001 - messages are a caller's: a record without an estimate is still one
            self._report("The tokens of a record could not be estimated", error)
        self._price(record)
        if record.content == "full":
            return record
        if record.content == "off":
            return _without_text(record)
        try:
            return self._redactor.redact_record(record)
        except Exception as error:  # noqa: BLE001 - what cannot be looked through must not be kept
            self._report("A record could not be redacted and is kept without its text", error)
            record.parameters = {}
            record.error_message = ""
            return _without_text(record)

    def _count_pruned(self, record: CallRecord) -> None:
        if record.pruned:
            record.pruned_tokens = self._count(record.request_model[:NAME_MAX], record.pruned)
            record.pruned = ""

    def _report(self, what: str, error: Exception) -> None:
        if self._throttle.due(what):
            logger.error("%s: %s.", what, where(error))


def _without_text(record: CallRecord) -> CallRecord:
    record.request_body = record.response_body = None
    record.input_messages = record.output_messages = None
    record.system_instructions = record.tool_definitions = None
    return record


def price(record: CallRecord, prices: Prices, baselines: Baselines = NO_BASELINES) -> CallRecord:
    """Fill cost and savings from the usage; the record itself is changed. An unknown price leaves them empty.

    The tier that is billed is "batch" for a line of a provider's batch, else that of the reply: a line with attempts
    was asked live, like any call. Where a stream broke off before the reply could say, it is the one that was asked
    for. What was answered without the upstream costs nothing, even where the price is not known: it was not bought.
    """
    bill = _bill(record, prices)
    strategy = reused_by(record)
    if strategy:
        record.cost = record.cost_input = record.cost_cached = record.cost_cache_write = record.cost_output = 0.0
        record.savings = not_bought(strategy, record.savings, bill.cost if bill is not None else None)
        return record
    if bill is None:
        return record
    record.cost, record.cost_input, record.cost_cached, record.cost_cache_write, record.cost_output = bill.cost
    baseline = baselines.get(record.alias) if record.alias else None
    if record.cached_tokens or bill.tier in CHEAPER_TIERS or baseline is not None or record.pruned_tokens:
        standard = _card(record, prices, "") if bill.tier in CHEAPER_TIERS else None
        there = None
        if baseline is not None and record.variant != baseline.variant:
            there = prices.card(baseline.provider, baseline.model, "", record.start_ns)
        found = savings(record, bill.card, bill.cost, bill.tier, standard, there, record.pruned_tokens)
        record.savings = {**record.savings, **found}
    return record


class _Bill(NamedTuple):
    cost: Cost
    card: RateCard
    tier: str


def _bill(record: CallRecord, prices: Prices) -> _Bill | None:
    """What the usage costs when it is bought; None when that is not known."""
    if record.input_tokens is None:
        return None
    tier = record.service_tier
    if record.batch_id and not record.attempts:
        tier = "batch"
    elif not tier and record.usage_source == "estimated":
        tier = record.service_tier_requested
    card = _card(record, prices, tier)
    cost = card.cost(record) if card is not None else None
    return None if card is None or cost is None else _Bill(cost, card, tier)


def _card(record: CallRecord, prices: Prices, tier: str) -> RateCard | None:
    model = record.response_model or record.request_model
    return prices.card(record.provider, model, tier, record.start_ns, record.request_model)
