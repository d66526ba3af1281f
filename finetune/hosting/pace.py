"""How long things may take, and what somebody sees meanwhile."""

from __future__ import annotations

from typing import Protocol

import msgspec


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """Every wait and its limit."""

    poll_s: float = 1.0
    """Between two looks at a job where something happens."""
    poll_max_s: float = 30.0
    """Where nothing does, and between two tries of what failed."""
    timeout_s: float = 60.0
    """Without a byte from the provider."""
    start_patience_s: float = 30.0
    """For which the first question of a command is tried again where nobody answers."""
    patience_s: float = 900.0
    """For which everything later is."""
    settle_s: float = 20.0
    """Since an answer was lost, or since it was asked for by a process that died, until what it made is surely in the
    provider's lists."""
    watch_max_s: float = 14 * 86_400.0
    """Of one job."""


class Shown(Protocol):
    """Where progress goes."""

    def say(self, line: str) -> None:
        """Something happened."""

    def progress(self, what: str, done: float, total: float | None, note: str = "") -> None:
        """How far `what` is; `total` None: nobody knows of how much."""


class Silent:
    """A `Shown` for nobody."""

    def say(self, line: str) -> None:
        """Nothing."""

    def progress(self, what: str, done: float, total: float | None, note: str = "") -> None:
        """Nothing."""
