"""Which colour stands for what, the same on every dashboard: red is wrong, green is what was not paid for again.

Names are those of Grafana's own palette, so that they suit the light theme and the dark one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from .panels import steps

OUTCOMES: Final[Mapping[str, str]] = {
    "answered": "blue",
    "cached": "green",
    "answered with an error": "semi-dark-red",
    "failed": "red",
    "cut": "dark-red",
    "rejected": "orange",
    "abandoned": "purple",
    "interrupted": "dark-purple",
}
"""`exporters.record.Outcome`, and `answered` apart by what the upstream's status was."""

TOKENS: Final[Mapping[str, str]] = {
    "input": "blue",
    "cached input": "green",
    "cache write": "yellow",
    "output": "purple",
    "reasoning": "light-purple",
}

STRATEGIES: Final[Mapping[str, str]] = {
    "response_cache": "green",
    "coalescing": "light-green",
    "provider_cache": "blue",
    "batch": "orange",
    "flex": "yellow",
    "smaller_model": "purple",
    "pruning": "light-purple",
}

QUANTILES: Final[Mapping[str, str]] = {"p50": "light-blue", "p95": "orange", "p99": "red"}

MONEY: Final[Mapping[str, str]] = {"paid": "yellow", "saved": "green"}

ERRORS: Final = steps("green", (0.01, "orange"), (0.05, "red"))
"""Of a share of errors."""
