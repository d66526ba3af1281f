"""A stored file on its way back to its caller."""

from __future__ import annotations

from urllib.parse import quote

from ...errors import UpstreamFault
from ...reply import RawHeaders
from ..queue import Queue
from ..refusal import QueueUnavailable
from . import files
from .objects import Row


def content_headers(row: Row) -> RawHeaders:
    """Of a reply with the content of the file."""
    name: str = row["filename"]
    plain = "".join(letter if letter.isascii() and letter not in '"\\' else "_" for letter in name)
    disposition = f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
    return [
        (b"Content-Type", b"application/octet-stream"),
        (b"Content-Length", str(row["bytes"]).encode()),
        (b"Content-Disposition", disposition.encode()),
    ]


class Content:
    """A `BodyStream`, read from the database one piece at a time."""

    def __init__(self, queue: Queue, id: str, size: int) -> None:  # noqa: A002
        self._queue = queue
        self._id = id
        self._left = size
        self._number = -1

    async def read(self) -> bytes:
        if not self._left:
            return b""
        try:
            found = await self._queue.read(lambda connection: files.piece(connection, self._id, self._number))
        except QueueUnavailable as error:
            raise UpstreamFault("The file cannot be read further now.", code="batch_queue_unavailable") from error
        if found is None:
            raise UpstreamFault("The file was deleted while it was read.", code="file_deleted")
        self._number, data = found
        self._left -= len(data)
        return data

    async def aclose(self) -> None:
        """Nothing is held."""
        self._left = 0
