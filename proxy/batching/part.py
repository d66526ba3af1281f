"""`Part`: one of the things that a dispatcher does, as its list in `proxy/dispatching.py` has them."""

from __future__ import annotations

from typing import Protocol

from .lease import Lease


class Part(Protocol):
    """Keeps nothing in memory that a kill may not take: what there is to do is read from the queue."""

    @property
    def name(self) -> str: ...

    async def step(self, lease: Lease) -> float:
        """Do what is due; returns after how many seconds it wants to be called again.

        Raises `LeaseLost` when another dispatcher has taken over, and whatever else goes wrong: that is logged, and the
        step is tried again later.
        """

    async def aclose(self) -> None: ...
