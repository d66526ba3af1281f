"""`POST /penstock/feedback`: what somebody thought of a reply, or what an evaluation made of many.

One item, or a list of them. With an `Idempotency-Key` the same request may be sent again, whatever became of it: each
item is kept once.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

import msgspec

from exporters.record import Feedback

from .entry import Journal
from .errors import ClientFault, Overload
from .exchange import Exchange
from .reply import Reply, json_reply

BYTES_MAX: Final = 1024 * 1024
ITEMS_MAX: Final = 1000
_KEY_CHARS_MAX: Final = 255


class Item(msgspec.Struct, forbid_unknown_fields=True):
    """What is said of one reply."""

    request_id: str = ""
    response_id: str = ""
    name: str = "score"
    score: float | None = None
    label: str = ""
    comment: str = ""
    correction: Any = None
    user: str = ""
    kind: Literal["feedback", "evaluation"] = "feedback"
    run: str = ""


_Items = Annotated[list[Item], msgspec.Meta(min_length=1, max_length=ITEMS_MAX)]
_decoder: Final = msgspec.json.Decoder(Item | _Items)


@dataclass(frozen=True, slots=True)
class FeedbackEndpoint:
    """`journal` keeps what is said; `new_id` names it where the caller does not."""

    journal: Journal
    new_id: Callable[[], str]

    async def __call__(self, exchange: Exchange) -> Reply:
        """202 with `id`, or `ids` for a list, once all of it is in the spool.

        Raises `ClientFault` before any of it is; `Overload` when the spool cannot be written: some may be then.
        """
        exchange.body.bytes_max = BYTES_MAX
        try:
            said = _decoder.decode(await exchange.body.whole())
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ClientFault(f"The feedback cannot be read: {error}.", code="invalid_feedback") from error
        items = [said] if isinstance(said, Item) else said
        for place, item in enumerate(items):
            _check(item, "" if said is item else f"[{place}].")
        ids = self._ids(exchange, len(items))
        at_ns = time.time_ns()
        for name, item in zip(ids, items, strict=True):
            if not self.journal.spool.feedback(_feedback(item, name, at_ns, exchange.key_id)):
                raise Overload("The feedback cannot be written to disk now.", code="spool_unwritable", retry_after_s=5)
        return json_reply(202, {"id": ids[0]} if isinstance(said, Item) else {"ids": ids})

    def _ids(self, exchange: Exchange, count: int) -> Sequence[str]:
        """New ones, or those that the same caller's Idempotency-Key had before: the store keeps one row of each id."""
        key = exchange.header(b"idempotency-key")
        if key is None:
            return [self.new_id() for _ in range(count)]
        if not 0 < len(key) <= _KEY_CHARS_MAX:
            raise ClientFault(
                f"Idempotency-Key takes 1 to {_KEY_CHARS_MAX} characters.",
                code="invalid_idempotency_key",
                param="idempotency-key",
            )
        whose = b"%d:%b%b" % (len(exchange.key_id), exchange.key_id.encode(), key)
        return [hashlib.blake2b(b"%b:%d" % (whose, place), digest_size=16).hexdigest() for place in range(count)]


def _check(item: Item, place: str) -> None:
    """`place` is where it stands in a list."""
    where = f"Item {place[1:-2]}: " if place else ""
    if not (item.request_id or item.response_id):
        raise ClientFault(
            f"{where}Name the call: request_id (the x-penstock-request-id header) or response_id (chatcmpl-…, resp_…).",
            code="missing_id",
            param=f"{place}request_id",
        )
    if item.score is None and not item.label and not item.comment and item.correction is None:
        raise ClientFault(
            f"{where}Say something: score, label, comment or correction.",
            code="empty_feedback",
            param=f"{place}score",
        )


def _feedback(item: Item, name: str, at_ns: int, key_id: str) -> Feedback:
    return Feedback(
        id=name,
        at_ns=at_ns,
        request_id=item.request_id,
        response_id=item.response_id,
        name=item.name,
        score=item.score,
        label=item.label,
        comment=item.comment,
        correction=msgspec.json.encode(item.correction).decode() if item.correction is not None else None,
        key_id=key_id,
        user=item.user,
        kind=item.kind,
        run=item.run,
    )
