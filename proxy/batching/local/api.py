"""`/v1/files` and `/v1/batches` as OpenAI answers them, for upstreams that have neither: objects, statuses and limits.

What is stored is in the queue's database, so that every worker of it knows the same files and batches, and the
dispatcher runs them. A caller sees its own alone.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, RowMapping, and_, func, insert, or_, select, update

from ...errors import ClientFault, Overload
from ...exchange import Exchange
from ...openai.coding import plain
from ...reply import Reply, json_reply
from ...settings import Settings
from ..callers.deferring import context_headers, context_of, credential_headers
from ..callers.lot import scope_of
from ..item import encode_context
from ..queue import Queue
from ..refusal import QueueUnavailable
from ..sealing import Sealer, credential_id, encode_credential, keep
from ..tables import batches
from . import files, objects
from .files import Owner
from .receiving import receive
from .sending import Content, content_headers

CREATE_BYTES_MAX: Final = 1024 * 1024
UNFINISHED_MAX: Final = 1000
"""Batches of all callers that are not over."""
_RETRY_S: Final = 5
_CANCELLABLE: Final = ("validating", "in_progress")
_SECOND_NS: Final = 1_000_000_000


class LocalApi:
    """Answers the calls to these paths. Their upstream was chosen before, as `exchange.upstream`."""

    def __init__(
        self,
        settings: Settings,
        queue: Queue,
        *,
        file_bytes_max: int = objects.FILE_BYTES_MAX,
        input_bytes_max: int = objects.INPUT_BYTES_MAX,
    ) -> None:
        self._settings = settings
        self._queue = queue
        self._upstreams = {upstream.name: upstream for upstream in settings.upstreams}
        self._limits = (file_bytes_max, input_bytes_max)
        self._sealer: Sealer | None = None

    async def __call__(self, exchange: Exchange) -> Reply:
        """Raises `ClientFault` and `Overload`."""
        owner = Owner(scope_of(exchange), exchange.upstream)
        try:
            reply = await self._route(exchange, owner)
        except QueueUnavailable as error:
            raise Overload(
                "Files and batches cannot be looked at now: their database does not answer. Retry shortly.",
                code="batch_queue_unavailable",
                retry_after_s=_RETRY_S,
            ) from error
        reply.headers.append((b"x-request-id", exchange.request_id.encode()))
        return reply

    async def _route(self, exchange: Exchange, owner: Owner) -> Reply:
        match exchange.method, exchange.path.removeprefix("/v1/").split("/"):
            case "POST", ["files"]:
                return await self._upload(exchange, owner)
            case "GET", ["files"]:
                return await self._list_files(exchange, owner)
            case "GET", ["files", file_id]:
                return json_reply(200, objects.file_object(await self._file(exchange, owner, file_id)))
            case "DELETE", ["files", file_id]:
                return await self._delete(exchange, owner, file_id)
            case "GET", ["files", file_id, "content"]:
                row = await self._file(exchange, owner, file_id)
                return Reply(200, content_headers(row), Content(self._queue, file_id, row["bytes"]))
            case "POST", ["batches"]:
                return await self._create(exchange, owner)
            case "GET", ["batches"]:
                return await self._list_batches(exchange, owner)
            case "GET", ["batches", batch_id]:
                return json_reply(200, objects.batch_object(await self._batch(owner, batch_id)))
            case "POST", ["batches", batch_id, "cancel"]:
                return await self._cancel(exchange, owner, batch_id)
        raise ClientFault(
            f"Not allowed to {exchange.method} on {exchange.path}.", code="method_not_allowed", status=405
        )

    async def _upload(self, exchange: Exchange, owner: Owner) -> Reply:
        room = self._settings.batch.queue_bytes_max
        row = await receive(self._queue, exchange, owner, *self._limits, room)
        return json_reply(200, objects.file_object(row))

    async def _list_files(self, exchange: Exchange, owner: Owner) -> Reply:
        page = objects.read_page(exchange.query, limit_max=10_000, limit=10_000)
        found = await self._queue.read(lambda connection: files.page(connection, owner, page, exchange.start_ns))
        if found is None:
            raise objects.no_such_file(page.after, "after")
        return json_reply(200, objects.list_object(found[0], objects.file_object, has_more=found[1]))

    async def _file(self, exchange: Exchange, owner: Owner, file_id: str) -> RowMapping:
        if not objects.may_be_id(file_id):
            raise objects.no_such_file(file_id)
        row = await self._queue.read(lambda connection: files.find(connection, owner, file_id, exchange.start_ns))
        if row is None:
            raise objects.no_such_file(file_id)
        return row

    async def _delete(self, exchange: Exchange, owner: Owner, file_id: str) -> Reply:
        await self._file(exchange, owner, file_id)
        try:
            await self._queue.run(lambda connection: files.remove(connection, file_id))
        except files.InUse as error:
            raise ClientFault(
                "The file is the input of a batch that is not over. Wait for its end, or cancel it first.",
                code="file_in_use",
                param="id",
            ) from error
        return json_reply(200, objects.file_deleted(file_id))

    async def _create(self, exchange: Exchange, owner: Owner) -> Reply:
        exchange.body.bytes_max = min(exchange.body.bytes_max, CREATE_BYTES_MAX)
        body = plain(await exchange.body.whole(), exchange.header(b"content-encoding"))
        request = objects.read_batch_request(body or b"")
        credential = encode_credential(credential_headers(self._upstreams[exchange.upstream], exchange))
        sealed = await asyncio.to_thread(self._seal, credential) if credential else b""
        values = {
            "id": f"batch_{exchange.request_id}",
            "kind": "local",
            "state": "validating",
            "status": "validating",
            "scope": owner.scope,
            "upstream": owner.upstream,
            "credential": credential_id(credential),
            "path": request.endpoint,
            "input_file_id": request.input_file_id,
            "metadata": msgspec.json.encode(request.metadata).decode(),
            "output_expires_s": request.output_expires_s,
            "context": encode_context(context_of(exchange, context_headers(exchange, with_whose=not credential))),
        }
        row = await self._queue.run(lambda connection: _insert(connection, owner, values, sealed, exchange.start_ns))
        return json_reply(200, objects.batch_object(row))

    async def _list_batches(self, exchange: Exchange, owner: Owner) -> Reply:
        page = objects.read_page(exchange.query, limit_max=100, limit=20)
        rows, has_more = await self._queue.read(lambda connection: _page(connection, owner, page))
        return json_reply(200, objects.list_object(rows, objects.batch_object, has_more=has_more))

    async def _cancel(self, exchange: Exchange, owner: Owner, batch_id: str) -> Reply:
        await self._batch(owner, batch_id)
        await self._queue.run(lambda connection: cancel(connection, batch_id, exchange.start_ns))
        row = await self._batch(owner, batch_id)
        if row["status"] not in ("cancelling", "cancelled"):
            reply = ClientFault(
                f"Cannot cancel a batch with status {row['status']!r}.", code="batch_not_cancellable", status=409
            ).reply()
            reply.headers.append((b"x-should-retry", b"false"))
            return reply
        return json_reply(200, objects.batch_object(row))

    async def _batch(self, owner: Owner, batch_id: str) -> RowMapping:
        if not objects.may_be_id(batch_id):
            raise objects.no_such_batch(batch_id)
        return _found(await self._queue.read(lambda connection: _find(connection, owner, batch_id)), batch_id)

    def _seal(self, credential: bytes) -> bytes:
        if self._sealer is None:
            self._sealer = Sealer.of(self._settings)
        return self._sealer.seal(credential)


def cancel(connection: Connection, batch_id: str, now_ns: int) -> None:
    """Have a batch cancelled, if it still can be."""
    connection.execute(
        update(batches)
        .where(batches.c.id == batch_id, batches.c.kind == "local", batches.c.status.in_(_CANCELLABLE))
        .values(status="cancelling", cancelling_ns=now_ns)
    )


def _insert(connection: Connection, owner: Owner, values: dict[str, Any], sealed: bytes, now_ns: int) -> RowMapping:
    source = files.find(connection, owner, values["input_file_id"], now_ns)
    if source is None:
        raise objects.no_such_file(values["input_file_id"], "input_file_id", 400)
    if source["purpose"] != "batch":
        raise ClientFault(
            f"The file was uploaded with purpose {source['purpose']!r}. Upload it with purpose 'batch'.",
            code="invalid_purpose",
            param="input_file_id",
        )
    unfinished = select(func.count()).where(batches.c.kind == "local", batches.c.state != "finished")
    if int(connection.scalar(unfinished) or 0) >= UNFINISHED_MAX:
        raise Overload(
            f"{UNFINISHED_MAX} batches are not over yet. Retry later.", code="batch_queue_full", retry_after_s=30
        )
    if sealed:
        keep(connection, {values["credential"]: sealed}, now_ns)
    expires_ns = now_ns + objects.WINDOW_S * _SECOND_NS
    times = {"created_ns": now_ns, "expires_ns": expires_ns, "deadline_ns": expires_ns}
    connection.execute(insert(batches).values(**values, **times))
    return connection.execute(select(batches).where(batches.c.id == values["id"])).mappings().one()


def _find(connection: Connection, owner: Owner, batch_id: str) -> RowMapping | None:
    wanted = select(batches).where(batches.c.id == batch_id, _theirs(owner))
    return connection.execute(wanted).mappings().one_or_none()


def _found(row: RowMapping | None, batch_id: str) -> RowMapping:
    if row is None:
        raise objects.no_such_batch(batch_id)
    return row


def _page(connection: Connection, owner: Owner, page: objects.Page) -> tuple[list[RowMapping], bool]:
    query = select(batches).where(_theirs(owner))
    if page.after:
        mark = _found(_find(connection, owner, page.after), page.after)
        created, at = batches.c.created_ns, mark["created_ns"]
        query = query.where(or_(created < at, and_(created == at, batches.c.id < mark["id"])))
    newest_first = (batches.c.created_ns.desc(), batches.c.id.desc())
    rows = connection.execute(query.order_by(*newest_first).limit(page.limit + 1)).mappings().all()
    return list(rows[: page.limit]), len(rows) > page.limit


def _theirs(owner: Owner) -> Any:
    return and_(batches.c.kind == "local", batches.c.scope == owner.scope, batches.c.upstream == owner.upstream)
