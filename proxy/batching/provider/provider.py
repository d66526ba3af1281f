"""`Provider`: files and batches of one upstream, asked with one key, through the official SDK.

Nothing here is tried a second time that could do a thing twice: whether an upload or a batch came into being although
its reply was lost is found out by looking, not by doing it again. All else the SDK tries three times.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import msgspec

from ...reply import RawHeaders
from ...settings import Upstream
from ..item import Answer
from .clients import client_of
from .results import LINE_BYTES_MAX, LineSplitter

if TYPE_CHECKING:
    from openai.types import Batch

T = TypeVar("T")

MARK: Final = "penstock_batch"
"""In the metadata of every batch that Penstock makes: the id in its own queue."""
WINDOW: Final = "24h"
_LOOK_MAX: Final = 1000
"""Batches or files that are looked through for ours, newest first."""
_REFUSAL_BYTES_MAX: Final = 64 * 1024
_GOES_AWAY: Final = frozenset({408, 409, 425, 429})
TIMES: Final = ("in_progress", "finalizing", "completed", "failed", "expired", "cancelling", "cancelled", "expires")
_LAG_NS: Final = 600 * 1_000_000_000


class Unavailable(Exception):
    """The provider cannot be reached, or has no time: later it may be different. It may have done what was asked."""


class Refused(Exception):
    """The provider will not do it, now or later. `answer` is what it said."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(f"the provider answers {answer.status}")
        self.answer = answer


class Fault(msgspec.Struct, frozen=True):
    """Why a batch failed; `line` counts from 1, 0: no line in particular."""

    code: str = ""
    message: str = ""
    param: str = ""
    line: int = 0


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """A batch as the provider shows it."""

    id: str
    status: str
    input_file_id: str = ""
    output_file_id: str = ""
    error_file_id: str = ""
    total: int = 0
    completed: int = 0
    failed: int = 0
    times_ns: dict[str, int] = {}
    """Of those in `TIMES` that are known, Unix time."""
    faults: list[Fault] = []
    mark: str = ""

    @property
    def is_over(self) -> bool:
        return self.status in ("completed", "failed", "expired", "cancelled")


class Provider:
    """For one event loop. All methods raise `Unavailable` and `Refused`."""

    def __init__(self, upstream: Upstream, headers: RawHeaders) -> None:
        """`headers`: the caller's, by which the upstream knows who asks; not used when the upstream has a key."""
        self._client = client_of(upstream, headers)
        self._once = self._client.with_options(max_retries=0)

    async def upload(self, path: Path, name: str) -> str:
        """Put the file there and return its id. It is read piece by piece."""
        with path.open("rb") as file:
            made = await _translated(self._once.files.create(file=(name, file), purpose="batch"))
        return _id(made)

    async def create(self, file_id: str, endpoint: str, mark: str) -> Seen:
        made = await _translated(
            self._once.batches.create(
                input_file_id=file_id,
                endpoint=cast(Any, endpoint),  # one of BATCHABLE
                completion_window=WINDOW,
                metadata={MARK: mark},
                extra_headers={"Idempotency-Key": f"{MARK}-{mark}-{file_id}"},
            )
        )
        return _seen(made)

    async def retrieve(self, batch_id: str) -> Seen:
        return _seen(await _translated(self._client.batches.retrieve(batch_id)))

    async def cancel(self, batch_id: str) -> Seen:
        return _seen(await _translated(self._client.batches.cancel(batch_id)))

    async def delete_file(self, file_id: str) -> None:
        """The file is gone, whoever did it."""
        try:
            await _translated(self._client.files.delete(file_id))
        except Refused as refused:
            if refused.answer.status != 404:
                raise

    async def batches_marked(self, mark: str, since_ns: int) -> list[Seen]:
        """Batches made since then with this mark, oldest first."""
        found: list[Seen] = []
        count = 0
        async for batch in _all(self._client.batches.list(limit=100)):
            count += 1
            if count > _LOOK_MAX or _is_before(batch, since_ns):
                break
            if (batch.metadata or {}).get(MARK) == mark:
                found.append(_seen(batch))
        return found[::-1]

    async def files_named(self, name: str, since_ns: int) -> list[str]:
        """Ids of files of this name that were uploaded since then, oldest first."""
        found: list[str] = []
        count = 0
        async for file in _all(self._client.files.list(purpose="batch", order="desc", limit=100)):
            count += 1
            if count > _LOOK_MAX or _is_before(file, since_ns):
                break
            if file.filename == name:
                found.append(file.id)
        return found[::-1]

    @asynccontextmanager
    async def lines(self, file_id: str, bytes_max: int = LINE_BYTES_MAX) -> AsyncIterator[AsyncIterator[bytes]]:
        """The lines of a file as they come; never more than one and a piece in memory.

        A line over `bytes_max` is left out. What breaks off on the way raises `Unavailable`.
        """
        request = self._client.files.with_streaming_response.content(file_id)
        async with AsyncExitStack() as stack:
            response = await _translated(stack.enter_async_context(request))
            async with aclosing(_all(response.iter_bytes())) as pieces:
                yield _lines(pieces, LineSplitter(bytes_max))

    async def aclose(self) -> None:
        await self._client.close()


async def _lines(pieces: AsyncIterator[bytes], splitter: LineSplitter) -> AsyncIterator[bytes]:
    async for piece in pieces:
        for line in splitter.feed(piece):
            yield line
    for line in splitter.end():
        yield line


async def _translated(work: Awaitable[T]) -> T:
    import openai

    try:
        return await work
    except openai.OpenAIError as error:
        raise _meaning(error) from error
    except _network_errors() as error:
        raise Unavailable(f"the connection broke off: {type(error).__name__}") from error


async def _all(many: Any) -> AsyncGenerator[Any, None]:
    """What the SDK gives one after the other."""
    import openai

    try:
        async for one in many:
            yield one
    except openai.OpenAIError as error:
        raise _meaning(error) from error
    except _network_errors() as error:
        raise Unavailable(f"the connection broke off: {type(error).__name__}") from error


def _network_errors() -> tuple[type[Exception], ...]:
    """What the SDK lets through while a body is read, and what it makes of a reply that is not JSON."""
    import httpx2

    return (httpx2.HTTPError, httpx2.StreamError, OSError, ValueError)


def _meaning(error: Exception) -> Exception:
    """Messages of the SDK may quote what was sent, so that none of them is handed on."""
    import openai

    if not isinstance(error, openai.APIStatusError):
        return Unavailable(f"the provider could not be asked: {type(error).__name__}")
    status = error.status_code
    if status in _GOES_AWAY or status >= 500:
        return Unavailable(f"the provider answers {status}")
    if status < 400:
        return Unavailable(f"the provider answers {status}, which makes no sense here")
    body = error.response.content if error.response.is_closed else b""
    if not body or len(body) > _REFUSAL_BYTES_MAX:
        body = msgspec.json.encode({"error": {"message": f"The provider answers {status}.", "type": "upstream_error"}})
    headers: RawHeaders = [(b"content-type", error.response.headers.get("content-type", "application/json").encode())]
    if error.request_id:
        headers.append((b"x-request-id", error.request_id.encode()))
    return Refused(Answer(status=status, headers=headers, body=body))


def _id(made: Any) -> str:
    """Of a file or batch; what came instead of one says nothing about whether there is one."""
    found = getattr(made, "id", None)
    if not isinstance(found, str) or not found:
        raise Unavailable("the provider's reply makes no sense")
    return found


def _is_before(made: Any, since_ns: int) -> bool:
    """With room for clocks that differ."""
    at = getattr(made, "created_at", None)
    return isinstance(at, int | float) and at * 1_000_000_000 < since_ns - _LAG_NS


def _seen(batch: Batch) -> Seen:
    counts = batch.request_counts if _id(batch) else None
    times = {name: getattr(batch, f"{name}_at", None) for name in TIMES}
    errors = (batch.errors.data or []) if batch.errors else []
    return Seen(
        id=batch.id,
        status=batch.status,
        input_file_id=batch.input_file_id or "",
        output_file_id=batch.output_file_id or "",
        error_file_id=batch.error_file_id or "",
        total=counts.total if counts else 0,
        completed=counts.completed if counts else 0,
        failed=counts.failed if counts else 0,
        times_ns={name: int(at * 1_000_000_000) for name, at in times.items() if at},
        faults=[Fault(one.code or "", one.message or "", one.param or "", one.line or 0) for one in errors],
        mark=str((batch.metadata or {}).get(MARK, "")),
    )
