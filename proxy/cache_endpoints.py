"""`/penstock/cache`: what the tiers of the cache hold, one reply of it by its key, and how to be rid of some."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any, Final
from urllib.parse import parse_qs

import msgspec

from cache.entry import Entry
from cache.purge import Selection
from cache.tiers import Tiers

from .errors import ClientFault, Overload
from .exchange import Exchange
from .reply import Reply, json_reply
from .stages.authenticate import KeyId, check

_SELECTS: Final = ("namespace", "model", "older_than_s", "all")


@dataclass(frozen=True, slots=True)
class CacheEndpoints:
    """For those who run Penstock: what one caller was told is not for the others to see or to throw away."""

    tiers: Tiers
    key_id: KeyId | None
    """Accepts the keys of `cache.keys`; None where there are none."""
    is_open: bool
    """Nobody needs a key here, so there is nobody to keep apart."""

    async def __call__(self, exchange: Exchange, path: str) -> Reply:
        """`path` is what follows /penstock/cache. Raises `ClientFault`, `Unauthorized`, `Overload`."""
        self._authorize(exchange)
        key = path.removeprefix("/")
        if exchange.method == "DELETE":
            return await self._purge(self._selection(exchange.query, key))
        if exchange.method not in ("GET", "HEAD"):
            raise ClientFault("/penstock/cache takes GET or DELETE.", code="method_not_allowed", status=405)
        return await self._inspect(key) if key else await self._stats()

    def _authorize(self, exchange: Exchange) -> None:
        if self.key_id is not None:
            check(exchange, self.key_id)
        elif not self.is_open:
            raise ClientFault(
                "No key may do this. Name those that may in cache.keys.", code="cache_keys_missing", status=403
            )

    async def _stats(self) -> Reply:
        return json_reply(200, {"tiers": [{"tier": name, **asdict(one)} for name, one in await self.tiers.stats()]})

    async def _inspect(self, key: str) -> Reply:
        entry = self.tiers.peek(key) or await self.tiers.get(key)
        if entry is None:
            raise ClientFault("No kept reply has this key.", code="not_in_cache", status=404)
        return json_reply(200, {"key": key, **_told(entry)})

    async def _purge(self, selection: Selection) -> Reply:
        try:
            gone = await self.tiers.purge(selection)
        except OSError as error:
            raise Overload(
                f"The other workers cannot be told: {error.strerror}.", code="cache_unwritable", retry_after_s=5
            ) from error
        return json_reply(200, {"removed": gone})

    def _selection(self, query: str, key: str) -> Selection:
        """Raises `ClientFault` rather than removing more than was meant."""
        try:
            asked = parse_qs(query, keep_blank_values=True, strict_parsing=bool(query), max_num_fields=20)
        except ValueError as error:
            raise _wrong("The query cannot be read.") from error
        if unknown := asked.keys() - set(_SELECTS):
            raise _wrong(f"There is no {sorted(unknown)[0]!r}; say {', '.join(_SELECTS)}.")
        if not key and not asked:
            raise _wrong(f"Say what to remove, in the path or as {', '.join(_SELECTS[:-1])}; ?all=true for everything.")
        if "all" in asked and (key or len(asked) > 1 or asked["all"] != ["true"]):
            raise _wrong("?all=true stands alone.")
        return Selection(
            key=key,
            namespace=asked["namespace"][-1] if "namespace" in asked else None,
            model=asked["model"][-1] if "model" in asked else "",
            until_ns=_until_ns(asked["older_than_s"][-1]) if "older_than_s" in asked else 0,
        )


def _until_ns(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 10):
        raise _wrong("older_than_s takes whole seconds.")
    return time.time_ns() - int(text) * 1_000_000_000


def _told(entry: Entry) -> dict[str, Any]:
    whole = msgspec.structs.asdict(entry)
    whole["headers"] = [[name.decode("latin-1"), value.decode("latin-1")] for name, value in entry.headers]
    return {**whole, "body": entry.body.decode("utf-8", "replace")}


def _wrong(message: str) -> ClientFault:
    return ClientFault(message, code="invalid_purge")
