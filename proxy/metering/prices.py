"""Which rate card bills a call: the user's overrides first, then the price list bundled with genai-prices.

Nothing here reaches the network, and the same call always gets the same card: it depends on the model, the tier of the
reply, the start of the call and the installed list. What is not known is None, never a guess and never 0:

- A model that the list does not have for this provider, or a provider that is not known (a local server).
- A tier that the list has no rates for at that moment. The list itself would silently answer with the standard rates.
  It knows batch rates from 2026-10-14 and flex and priority rates from 2026-10-12 on, for most models.
- Audio tokens of an OpenAI model whose audio rate is not listed, as audio there costs many times what text does.

Fees for built-in tools (web search and the like) are not tokens and are not in the cost.
"""

from __future__ import annotations

import fnmatch
import functools
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Final

from genai_prices.data import providers as LIST  # noqa: N812 - it is a constant table
from genai_prices.types import ModelInfo, Provider

from ..settings import Price, Upstream
from .rates import RateCard, Rates, card_from_list, card_from_price

CARDS_MAX: Final = 4096
"""Model names come from callers, so what is remembered about them is bounded."""

NAME_MAX: Final = 256
"""Characters of a model's name; no model of the list has a longer one, and none longer is remembered."""

QUARTER_NS: Final = 15 * 60 * 1_000_000_000
"""Rates change at midnight or at hours of the day, always on a quarter of an hour, so a card holds for one."""

STANDARD_TIERS: Final = frozenset({"", "default", "auto", "standard", "on_demand"})
"""Words for the ordinary tier: none in the reply, OpenAI's, a reply cut off before the tier was decided, Anthropic's
and Google's, Groq's."""

SAME_PRICE: Final = frozenset({("groq", "flex")})
"""Tiers that cost what the standard one does. Source: console.groq.com/docs/flex-processing."""

FINE_TUNED: Final = {
    "gpt-4.1-2025-04-14": Price(input=3.0, cached=0.75, output=12.0),
    "gpt-4.1-mini-2025-04-14": Price(input=0.8, cached=0.2, output=3.2),
    "gpt-4.1-nano-2025-04-14": Price(input=0.2, cached=0.05, output=0.8),
    "gpt-4o-2024-08-06": Price(input=3.75, cached=1.875, output=15.0),
    "gpt-4o-mini-2024-07-18": Price(input=0.3, cached=0.15, output=1.2, tiers={"batch": 0.5}),
}
"""OpenAI's rates for its fine-tuned models, USD per million tokens, where the list has none or lacks the cached rate.
By base model: `ft:BASE:organization:suffix:id`. Source: OpenAI's pricing page, fine-tuning."""

_PROVIDERS: Final = {provider.id: provider for provider in LIST}
_WILDCARDS: Final = frozenset("*?[")


def provider_of(base_url: str) -> str:
    """The list's name for whoever serves `base_url`; "" for servers that it does not know, such as local ones."""
    return next((provider.id for provider in LIST if re.match(provider.api_pattern, base_url)), "")


def provider_at(upstream: Upstream) -> str:
    """As it was configured, or else by its URL."""
    return upstream.provider or provider_of(upstream.base_url)


def provider_for(upstreams: Iterable[Upstream], model: str) -> str:
    """Of the upstream that takes `model`; "" when none does."""
    taking = (one for one in upstreams if any(fnmatch.fnmatchcase(model, pattern) for pattern in one.models))
    upstream = next(taking, None)
    return provider_at(upstream) if upstream is not None else ""


def known_providers() -> tuple[str, ...]:
    """The names that `upstreams.provider` can have for a price to be found."""
    return tuple(_PROVIDERS)


class Prices:
    """Looks up rate cards and remembers them. `overrides` is the `[prices]` table of the settings.

    An override is found by exact name, then by pattern in the order of the table; both are tried on the model of the
    reply, the model of the request, and each of them behind the provider's name (`local/*`). It replaces the list for
    that model: a tier that it gives no factor for has no known price, except where everything costs nothing.
    """

    def __init__(self, overrides: Mapping[str, Price] | None = None) -> None:
        self._overrides = dict(overrides or {})
        self._patterns = [(name, price) for name, price in self._overrides.items() if _WILDCARDS & set(name)]
        self._remembered = functools.lru_cache(maxsize=CARDS_MAX)(self._find)

    def card(self, provider: str, model: str, tier: str, at_ns: int, requested: str = "") -> RateCard | None:
        """The card of a call that began at `at_ns`, or None when its price is not known. Does not raise.

        `model` is the reply's and `requested` the request's: a snapshot that is newer than the list costs what the
        alias that was asked for costs. `tier` is the one of the reply, or "batch".
        """
        if len(model) > NAME_MAX or len(requested) > NAME_MAX or len(tier) > NAME_MAX:
            return None
        return self._remembered(provider, model, requested, tier, at_ns // QUARTER_NS)

    def _find(self, provider: str, model: str, requested: str, tier: str, quarter: int) -> RateCard | None:
        names = [name for name in dict.fromkeys((model, requested)) if name]
        tier = tier.lower()
        override = self._override(provider, names)
        if override is not None:
            return _tiered(override, tier)
        listed = _PROVIDERS.get(provider)
        if listed is None:
            return None
        at = datetime.fromtimestamp(quarter * QUARTER_NS // 1_000_000_000, UTC)
        for name in names:
            # Some clients put the provider before the model, and Google its own word for one.
            name = name.removeprefix(f"{provider}/").removeprefix("models/")
            if provider == "openai" and name.startswith("ft:"):
                fine_tuned = FINE_TUNED.get(name.split(":")[1])
                if fine_tuned is not None:
                    return _tiered(fine_tuned, tier)
            entry = listed.find_model(name, all_providers=LIST)
            if entry is not None:
                return _listed(listed, entry, tier, at)
        return None

    def _override(self, provider: str, names: list[str]) -> Price | None:
        if not self._overrides:
            return None
        candidates = names + [f"{provider}/{name}" for name in names if provider]
        for name in candidates:
            if name in self._overrides:
                return self._overrides[name]
        for pattern, price in self._patterns:
            if any(fnmatch.fnmatchcase(name, pattern) for name in candidates):
                return price
        return None


def _tiered(price: Price, tier: str) -> RateCard | None:
    if tier in price.tiers:
        return card_from_price(price, price.tiers[tier])
    card = card_from_price(price)
    if tier in STANDARD_TIERS or not any(card.base):
        return card
    return None


def _listed(provider: Provider, entry: ModelInfo, tier: str, at: datetime) -> RateCard | None:
    audio_is_text = provider.id not in ("openai", "azure")
    if tier in STANDARD_TIERS or (provider.id, tier) in SAME_PRICE:
        return card_from_list(entry.get_prices(at), audio_is_text=audio_is_text)
    context = {"processing": "batch"} if tier == "batch" else {"service_tier": tier}
    # A model found under another provider's name (Azure's OpenAI models) has that provider's standard rates only.
    own = any(entry is model for model in provider.models)
    if own and any(
        variant.when == context and (variant.constraint is None or variant.constraint.active(at))
        for variant in entry.price_variants or ()
    ):
        return card_from_list(entry.get_prices(at, context), audio_is_text=audio_is_text)
    if tier == "batch" and provider.id == "openai" and entry.id.startswith("text-embedding-"):
        return _half(card_from_list(entry.get_prices(at), audio_is_text=audio_is_text))
    return None


def _half(card: RateCard | None) -> RateCard | None:
    """OpenAI's Batch API costs half of the synchronous one for every endpoint that it takes, embeddings included
    (platform.openai.com/docs/guides/batch); the list has no such rates for them."""
    if card is None:
        return None
    return RateCard(Rates._make(None if rate is None else rate / 2 for rate in card.base))
