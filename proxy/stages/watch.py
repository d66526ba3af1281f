"""Notice the batches that callers make themselves, so that each of their lines is recorded when they are finished."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Final, cast

import msgspec

from exporters.completion import where
from exporters.files import Throttle

from ..batching.callers.deferring import context_headers, context_of, credential_headers
from ..batching.callers.lot import scope_of
from ..batching.item import encode_context
from ..batching.provider.noting import OwnBatch, note, read_batch
from ..batching.queue import Queue
from ..batching.refusal import QueueUnavailable
from ..chain import Handler
from ..errors import UpstreamFault
from ..exchange import Exchange
from ..metered import Broken, Prefixed
from ..openai.coding import plain
from ..reply import BodyStream, Reply, header
from ..settings import Settings

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from ..batching.sealing import Sealer

_log = logging.getLogger(__name__)

REPLY_BYTES_MAX: Final = 1024 * 1024
"""A batch object has a few kilobytes."""
PATIENCE_S: Final = 1.0
"""For the queue; then the batch goes unnoticed until it is asked for again."""
_KNOWN_MAX: Final = 10_000
_ONE = re.compile(r"/v1/batches/[^/]+").fullmatch
_CANCEL = re.compile(r"/v1/batches/[^/]+/cancel").fullmatch


class Watch:
    """The stage. The reply goes on byte for byte."""

    def __init__(
        self,
        settings: Settings,
        queue: Queue,
        *,
        patience_s: float = PATIENCE_S,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self._settings = settings
        self._queue = queue
        self._patience_s = patience_s
        self._clock = clock
        self._upstreams = {one.name: one for one in settings.upstreams if one.batch == "provider"}
        self._known: OrderedDict[tuple[str, str], bool] = OrderedDict()
        """Batches that were noted by this worker, and whether they were over."""
        self._sealer: Sealer | None = None
        self._throttle = Throttle()
        self.missed = 0
        """Batches that could not be noted."""

    def __call__(self, exchange: Exchange, inner: Handler) -> Awaitable[Reply]:
        return self._watched(exchange, inner) if _shows_a_batch(exchange.method, exchange.path) else inner(exchange)

    async def _watched(self, exchange: Exchange, inner: Handler) -> Reply:
        reply = await inner(exchange)
        kind = header(reply.headers, b"content-type") or b""
        if reply.status != 200 or b"json" not in kind.lower() or exchange.upstream not in self._upstreams:
            return reply
        data = await _read(reply)
        readable = plain(data, header(reply.headers, b"content-encoding"), REPLY_BYTES_MAX) if data else None
        batch = read_batch(readable) if readable else None
        if batch is not None and self._known.get((exchange.upstream, batch.id)) not in (True, batch.is_over):
            await self._note(exchange, batch)
        return reply

    async def _note(self, exchange: Exchange, batch: OwnBatch) -> None:
        """Wait for the queue, but not for long: whoever made a batch may be gone with the next breath."""
        try:
            async with asyncio.timeout(self._patience_s):
                await self._queue.run(partial(self._write, exchange, batch))
        except (QueueUnavailable, TimeoutError) as error:
            self._miss(batch, str(error) or f"the queue took longer than {self._patience_s:.0f} s")
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller's reply does not depend on it
            self._miss(batch, where(error))
        else:
            self._known[exchange.upstream, batch.id] = batch.is_over
            if len(self._known) > _KNOWN_MAX:
                self._known.popitem(last=False)

    def _miss(self, batch: OwnBatch, reason: str) -> None:
        self.missed += 1
        if self._throttle.due("missed"):
            _log.warning(
                "Batch %s is not watched (%s), %d in all: its lines are recorded if it is asked for again.",
                batch.id,
                reason,
                self.missed,
            )

    def _write(self, exchange: Exchange, batch: OwnBatch, connection: Connection) -> None:
        """In the thread of the queue, where what a worker mostly does without may be imported."""
        from ..batching.sealing import Sealer, credential_id, encode_credential

        credential = encode_credential(credential_headers(self._upstreams[exchange.upstream], exchange))
        name = credential_id(credential)
        context = context_of(exchange, context_headers(exchange, with_whose=not credential))
        if not context.tags:
            context = msgspec.structs.replace(context, tags=batch.tags)
        if credential and self._sealer is None:
            self._sealer = Sealer.of(self._settings)
        note(
            connection,
            batch,
            upstream=exchange.upstream,
            scope=scope_of(exchange),
            credential=name,
            sealed={name: self._sealer.seal(credential)} if self._sealer is not None and credential else {},
            context=encode_context(context),
            now_ns=self._clock(),
            poll_s=self._settings.batch.poll_s,
        )


def _shows_a_batch(method: str, path: str) -> bool:
    if not path.startswith("/v1/batches"):
        return False
    if method == "POST":
        return path == "/v1/batches" or _CANCEL(path) is not None
    return method == "GET" and _ONE(path) is not None


async def _read(reply: Reply) -> bytes | None:
    """The whole body, which stays where it was; None when it is too long or breaks off."""
    if isinstance(reply.body, bytes):
        return reply.body if len(reply.body) <= REPLY_BYTES_MAX else None
    body, pieces, size = cast(BodyStream, reply.body), list[bytes](), 0
    try:
        while piece := await body.read():
            pieces.append(piece)
            size += len(piece)
            if size > REPLY_BYTES_MAX:
                reply.body = Prefixed(b"".join(pieces), body)
                return None
    except UpstreamFault as fault:
        reply.body = Prefixed(b"".join(pieces), Broken(fault, body))
        return None
    except BaseException:
        await body.aclose()
        raise
    await body.aclose()
    data = b"".join(pieces)
    reply.body = Prefixed(data, None)
    return data
