"""What a call wants of batching: its own headers first, then the first rule that fits it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Deferral:
    """How long a call may wait, and in what way."""

    mode: Literal["flex", "hold", "async"]
    deadline_ns: int
    """Unix time by which there must be an answer. With flex: until when the flex tier is tried."""
    webhook: str = ""
    """Told when an `async` call is answered."""
