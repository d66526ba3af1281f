"""`/penstock/deferred/{id}`: where a deferred call stands, its reply when it is there, and how to give it up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from .batching.callers.deferring import Deferring
from .batching.callers.lot import scope_of
from .batching.callers.told import as_answered, gone, ticket
from .batching.item import Found
from .errors import ClientFault
from .exchange import Exchange
from .reply import Reply

_ID_CHARS_MAX = 64


@dataclass(frozen=True, slots=True)
class DeferredEndpoints:
    """For the caller whose call it is: the one with the same proxy key, or the same key of its own."""

    deferring: Deferring
    delivered: Callable[[str], None]
    """Told of each reply that was handed over."""
    retry_after_s: float

    async def __call__(self, exchange: Exchange, item_id: str) -> Reply:
        """`item_id` is what follows /penstock/deferred/. Raises `ClientFault`, `Overload`."""
        if exchange.method not in ("GET", "HEAD", "DELETE"):
            raise ClientFault("/penstock/deferred/ID takes GET or DELETE.", code="method_not_allowed", status=405)
        known = 0 < len(item_id) <= _ID_CHARS_MAX and item_id.isascii()
        look = self.deferring.cancel if exchange.method == "DELETE" else self.deferring.find
        found = await look(item_id, scope_of(exchange)) if known else None
        if found is None:
            raise ClientFault(
                "There is no such deferred call of yours. Replies are kept for batch.keep_s; ask with the key that the "
                "call was made with.",
                code="deferred_not_found",
                status=404,
            )
        return self._cancelled(found) if exchange.method == "DELETE" else self._shown(found, exchange.method)

    def _cancelled(self, found: Found) -> Reply:
        if found.state != "cancelled":
            raise ClientFault(
                "The deferred call is answered already: GET gives the reply.", code="deferred_completed", status=409
            )
        return self._ticket(found, status=200, retry_after_s=0)

    def _shown(self, found: Found, method: str) -> Reply:
        if found.state == "cancelled":
            raise gone(found.id)
        if found.answer is None:
            return self._ticket(found, status=202, retry_after_s=self.retry_after_s)
        reply = as_answered(found, found.mode)
        if method == "GET":
            reply.sent = partial(self.delivered, found.id)
        return reply

    def _ticket(self, found: Found, *, status: int, retry_after_s: float) -> Reply:
        times = {"created_ns": found.created_ns, "deadline_ns": found.deadline_ns}
        return ticket(found.id, found.state, **times, status=status, retry_after_s=retry_after_s)
