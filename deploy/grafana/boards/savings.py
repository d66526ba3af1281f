"""What was saved, by which strategy, and what all would have cost without."""

from __future__ import annotations

from typing import Final

from . import filters, palette
from .meters import bargauge
from .panels import Panel, stat, steps, timeseries

ROLLUP: Final = f"FROM generations_by_minute AS t WHERE $__timeFilter(minute) AND {filters.SHARED}"
LEDGER: Final = f"FROM savings_by_minute AS t WHERE $__timeFilter(minute) AND {filters.SHARED}"
STRATEGIES: Final = (
    "response_cache: answered from Penstock's cache. coalescing: one call of the upstream for several that were the "
    "same. provider_cache: input that the provider had read before. batch, flex: the cheaper tiers. "
    "smaller_model: variants of an alias against its baseline. pruning: prompt text that a variant is not asked."
)


def panels() -> list[Panel]:
    """Four numbers, then how they came about."""
    return [*_sums(), _by_strategy(), _over_time(), _paid_and_saved(), _share()]


def _sums() -> list[Panel]:
    return [
        stat(
            "Paid",
            f"SELECT sum(t.cost) AS usd {ROLLUP}",
            about="US dollars in the time range, as far as prices are known.",
            unit="currencyUSD",
            colors=steps(palette.MONEY["paid"]),
            width=6,
        ),
        stat(
            "Saved",
            f"SELECT sum(t.saved) AS usd {ROLLUP}",
            about="US dollars in the time range, by all strategies together.",
            unit="currencyUSD",
            colors=steps(palette.MONEY["saved"]),
            width=6,
        ),
        stat(
            "Would have cost",
            f"SELECT sum(t.cost) + sum(t.saved) AS usd {ROLLUP}",
            about="Paid and saved together: at least so much would the same requests have cost without any saving.",
            unit="currencyUSD",
            width=6,
        ),
        stat(
            "Saved share",
            f"SELECT sum(t.saved) / nullIf(sum(t.cost) + sum(t.saved), 0) AS share {ROLLUP}",
            about="Of what it would have cost.",
            unit="percentunit",
            decimals=1,
            colors=steps(palette.MONEY["saved"]),
            width=6,
        ),
    ]


def _by_strategy() -> Panel:
    known = ", ".join(f"sumIf(t.usd, strategy = '{name}') AS {name}" for name in palette.STRATEGIES)
    named = ", ".join(f"'{name}'" for name in palette.STRATEGIES)
    return bargauge(
        "Saved by strategy",
        f"SELECT {known}, sumIf(t.usd, strategy NOT IN ({named})) AS other {LEDGER}",
        unit="currencyUSD",
        about=f"US dollars in the time range. {STRATEGIES}",
        colors=palette.STRATEGIES,
        width=8,
    )


def _over_time() -> Panel:
    return timeseries(
        "Savings over time",
        f"""SELECT $__timeInterval(minute) AS time, strategy, sum(t.usd) AS usd
{LEDGER} GROUP BY time, strategy ORDER BY time, strategy""",
        about=f"US dollars. {STRATEGIES}",
        unit="currencyUSD",
        stacked=True,
        bars=True,
        colors=palette.STRATEGIES,
        totals=True,
        width=16,
    )


def _paid_and_saved() -> Panel:
    return timeseries(
        "Paid, and what it would have cost",
        f"""SELECT $__timeInterval(minute) AS time, sum(t.cost) AS paid, sum(t.saved) AS saved
{ROLLUP} GROUP BY time ORDER BY time""",
        about="US dollars. The height of a bar is what it would have cost at least.",
        unit="currencyUSD",
        stacked=True,
        bars=True,
        colors=palette.MONEY,
        totals=True,
    )


def _share() -> Panel:
    return timeseries(
        "Share that was saved, by strategy",
        f"""WITH would AS (
    SELECT $__timeInterval(minute) AS time, sum(t.cost) + sum(t.saved) AS usd {ROLLUP} GROUP BY time
)
SELECT saved.time AS time, strategy, saved.usd / nullIf(would.usd, 0) AS share
FROM (SELECT $__timeInterval(minute) AS time, strategy, sum(t.usd) AS usd {LEDGER} GROUP BY time, strategy) AS saved
JOIN would ON would.time = saved.time ORDER BY time, strategy""",
        about="Of what it would have cost.",
        unit="percentunit",
        stacked=True,
        bars=True,
        colors=palette.STRATEGIES,
    )
