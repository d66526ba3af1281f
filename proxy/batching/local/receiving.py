"""A file from its caller into the database, piece by piece: a worker has one piece of it in memory at a time."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

from sqlalchemy import RowMapping

from ...errors import ClientFault, Overload
from ...exchange import Exchange
from ..queue import Queue
from ..refusal import QueueUnavailable
from . import files, objects
from .files import PIECE_BYTES, UPLOADING, Owner
from .uploads import Form

_SECOND_NS: Final = 1_000_000_000
_FORM_BYTES: Final = 64 * 1024
"""What a form may have around its file."""
_FULL_RETRY_S: Final = 60


async def receive(
    queue: Queue, exchange: Exchange, owner: Owner, file_bytes_max: int, input_bytes_max: int, stored_bytes_max: int
) -> RowMapping:
    """Store the file of an upload; its row. `input_bytes_max`: of one with purpose batch; `stored_bytes_max`: of all.

    Nothing of it stays when it fails. Raises `ClientFault`, `ClientGone`, `Overload` and `QueueUnavailable`.
    """
    if exchange.header(b"content-encoding"):
        raise ClientFault("Send the form without Content-Encoding.", code="unsupported_encoding", status=415)
    length = exchange.body.length
    if length is not None and length > file_bytes_max + _FORM_BYTES:
        raise too_large(file_bytes_max)
    form = Form(exchange.header(b"content-type") or b"")
    upload = _Upload(queue, exchange, form, f"file-{exchange.request_id}", (file_bytes_max, input_bytes_max))
    await queue.run(lambda connection: files.begin(connection, owner, upload.id, UPLOADING, exchange.start_ns))
    try:
        await upload.store(stored_bytes_max)
        return await upload.complete()
    except BaseException:
        # What cannot be taken away now is swept up later.
        with contextlib.suppress(QueueUnavailable):
            await asyncio.shield(queue.run(lambda connection: files.discard(connection, upload.id)))
        raise


def too_large(bytes_max: int) -> ClientFault:
    return ClientFault(
        f"The file is larger than {bytes_max} bytes. Send its content in several files.",
        code="file_too_large",
        param="file",
        status=413,
    )


class _Upload:
    def __init__(self, queue: Queue, exchange: Exchange, form: Form, id: str, limits: tuple[int, int]) -> None:  # noqa: A002
        self.id = id
        self._queue = queue
        self._exchange = exchange
        self._form = form
        self._limits = limits
        self._size = 0

    async def store(self, stored_bytes_max: int) -> None:
        rest, number = bytearray(), 0
        while data := await self._exchange.body.read():
            content = self._form.feed(data)
            self._size += len(content)
            self._check_size()
            rest += content
            while len(rest) >= PIECE_BYTES:
                await self._append(number, bytes(rest[:PIECE_BYTES]), stored_bytes_max)
                del rest[:PIECE_BYTES]
                number += 1
        self._form.finish()
        if rest:
            await self._append(number, bytes(rest), stored_bytes_max)

    async def complete(self) -> RowMapping:
        fields, filename = self._form.fields, self._form.filename or ""
        purpose = objects.read_purpose(fields)
        expires_ns = self._expires_ns(purpose)
        if not self._size:
            raise ClientFault("The file is empty.", code="empty_file", param="file")
        if purpose == "batch" and not filename.endswith(".jsonl"):
            raise ClientFault(
                "Invalid file format for Batch API. Must be .jsonl", code="invalid_file_format", param="file"
            )
        return await self._queue.run(
            lambda connection: files.complete(
                connection, self.id, filename=filename, purpose=purpose, expires_ns=expires_ns
            )
        )

    def _check_size(self) -> None:
        file_bytes_max, input_bytes_max = self._limits
        bytes_max = (
            min(file_bytes_max, input_bytes_max) if self._form.fields.get("purpose") == "batch" else file_bytes_max
        )
        if self._size > bytes_max:
            raise too_large(bytes_max)

    def _expires_ns(self, purpose: str) -> int:
        fields = self._form.fields
        anchor, seconds = fields.get("expires_after[anchor]"), fields.get("expires_after[seconds]")
        if anchor is None and seconds is None:
            kept_s = objects.KEPT_S if purpose == "batch" else 0
        else:
            kept_s = objects.expires_after("expires_after", anchor, seconds)
        return self._exchange.start_ns + kept_s * _SECOND_NS if kept_s else 0

    async def _append(self, number: int, data: bytes, stored_bytes_max: int) -> None:
        try:
            await self._queue.run(
                lambda connection: files.append(connection, self.id, number, data, bytes_max=stored_bytes_max)
            )
        except files.NoRoom as error:
            raise Overload(
                f"All files together may have {stored_bytes_max} bytes. Delete some, or raise batch.queue_bytes_max.",
                code="batch_files_full",
                retry_after_s=_FULL_RETRY_S,
            ) from error
