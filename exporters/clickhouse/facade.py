"""ClickHouse's HTTP interface over an embedded engine, as far as its official clients use it.

Two users: the writer may change the store's own database, the reader may read. Every request is a session of its own
(`session_id` is accepted and has no effect). Not supported, and said so: native compression (`compress`, `decompress`),
external tables, more than one statement. Source: the ClickHouse manual, "HTTP interface", and the statuses that its
HTTP handler gives to error codes.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
import uuid
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

import msgspec
from aiohttp import hdrs, web

from .credentials import Credentials
from .encodings import Compressor, Plain, chosen_encoding, compressor
from .engine import EngineError, Question, Result, StatementEngine, answer, changes
from .request import AUTHENTICATION_FAILED, BODY_BYTES_MAX, REQUIRED_PASSWORD, authenticate, fault, read_question

logger = logging.getLogger(__name__)

HOST: Final = "127.0.0.1"
READERS: Final = 8
"""Statements that run at once; further ones wait."""
OPEN_MAX: Final = 100
CLOSE_WAIT_S: Final = 10.0
T = TypeVar("T")

_BAD_REQUEST: Final = frozenset(
    (6, 25, 26, 27, 36, 38, 41, 42, 43, 44, 53, 62, 69, 72, 117, 130, 131, 164, 190, 321, 386, 427, 452, 456, 457)
)
_NOT_FOUND: Final = frozenset((16, 46, 47, 50, 56, 60, 63, 73, 81, 115, 336, 392))
_STATUSES: Final = {REQUIRED_PASSWORD: 401, AUTHENTICATION_FAILED: 403, 497: 403, 48: 501, 202: 503, 552: 413}


def status_of(code: int) -> int:
    """The HTTP status of an engine's error code."""
    if code in _STATUSES:
        return _STATUSES[code]
    if code in _BAD_REQUEST:
        return 400
    return 404 if code in _NOT_FOUND else 500


class Facade:
    """Handlers of the interface. Statements run in threads: readers side by side, changes one after the other."""

    def __init__(self, engine: StatementEngine, credentials: Credentials) -> None:
        self._engine = engine
        self._credentials = credentials
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="read")
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="write")
        self._open = 0

    def application(self) -> web.Application:
        application = web.Application(client_max_size=BODY_BYTES_MAX)
        application.router.add_get("/ping", self._ok)
        application.router.add_get("/replicas_status", self._ok)
        application.router.add_route("*", "/", self._handle)
        return application

    def close(self) -> None:
        """Waits for the statements that are running."""
        self._writer.shutdown()
        self._readers.shutdown()

    async def _ok(self, request: web.Request) -> web.Response:
        return web.Response(text="Ok.\n")

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        headers = {
            "X-ClickHouse-Query-Id": request.query.get("query_id") or str(uuid.uuid4()),
            "X-ClickHouse-Server-Display-Name": "penstock",
            "X-ClickHouse-Timezone": self._engine.timezone,
        }
        try:
            role = authenticate(request, self._credentials)
            if self._open >= OPEN_MAX:
                raise fault(202, "TOO_MANY_SIMULTANEOUS_QUERIES", f"More than {OPEN_MAX} statements are open")
            question = await read_question(request, role)
            if not question.sql.strip():
                return web.Response(text="Ok.\n", headers=headers)
        except EngineError as error:
            return self._failed(error, headers)
        except web.HTTPRequestEntityTooLarge:
            return self._failed(fault(552, "QUERY_IS_TOO_LARGE", "The request body is too large"), headers)
        self._open += 1
        try:
            return await self._answer(request, question, headers)
        finally:
            self._open -= 1

    async def _answer(self, request: web.Request, question: Question, headers: dict[str, str]) -> web.StreamResponse:
        pool = self._writer if changes(question) else self._readers
        pieces = _Pieces(answer(self._engine, question), pool)
        try:
            result = await pieces.result()
            headers["X-ClickHouse-Summary"] = _summary(result)
            if result.format:
                headers["X-ClickHouse-Format"] = result.format
                headers[hdrs.CONTENT_TYPE] = _content_type(result.format)
            return await self._send(request, pieces, headers)
        except EngineError as error:
            return self._failed(error, headers)
        finally:
            await asyncio.shield(pieces.aclose())

    async def _send(self, request: web.Request, pieces: _Pieces, headers: dict[str, str]) -> web.StreamResponse:
        """Raises `EngineError` as long as nothing was sent; later the connection is broken off."""
        encoding = _encoding(request)
        if encoding:
            headers[hdrs.CONTENT_ENCODING] = encoding
        pack: Compressor = compressor(encoding) if encoding else Plain()
        first = await pieces.next()
        upcoming = await pieces.next() if first else b""
        if not upcoming:
            return web.Response(body=pack.compress(first) + pack.flush(), headers=headers)
        response = web.StreamResponse(headers=headers)
        await response.prepare(request)
        piece = first
        try:
            while piece:
                if packed := await pieces.within(pack.compress, piece):
                    await response.write(packed)
                piece, upcoming = upcoming, (await pieces.next() if upcoming else b"")
        except EngineError as error:
            logger.warning("a statement failed while its result was being sent (code %d)", error.code)
            if request.transport is not None:
                request.transport.abort()
            return response
        if last := pack.flush():
            await response.write(last)
        await response.write_eof()
        return response

    def _failed(self, error: EngineError, headers: dict[str, str]) -> web.Response:
        text = f"{error} (version {self._engine.version})\n"
        headers = {**headers, "X-ClickHouse-Exception-Code": str(error.code)}
        headers.pop(hdrs.CONTENT_TYPE, None)
        if error.code == REQUIRED_PASSWORD:
            headers[hdrs.WWW_AUTHENTICATE] = 'Basic realm="ClickHouse"'
        return web.Response(text=text, status=status_of(error.code), headers=headers)


class _Pieces:
    """An answer, made in the threads of `pool`, never by two at once."""

    def __init__(self, source: Generator[Result | bytes], pool: ThreadPoolExecutor) -> None:
        self._source = source
        self._pool = pool
        self._lock = threading.Lock()

    async def result(self) -> Result:
        result = await self.within(self._next)
        assert isinstance(result, Result)
        return result

    async def next(self) -> bytes:
        """b"" at the end. Raises `EngineError`."""
        piece = await self.within(self._next)
        assert isinstance(piece, bytes)
        return piece

    async def aclose(self) -> None:
        """Give the session up, as soon as the engine is done with what it does for it."""
        await self.within(self._close)

    async def within(self, function: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, function, *arguments)

    def _next(self) -> Result | bytes:
        with self._lock:
            return next(self._source, b"")

    def _close(self) -> None:
        with self._lock:
            self._source.close()


def _encoding(request: web.Request) -> str | None:
    if request.query.get("enable_http_compression") not in ("1", "true"):
        return None
    return chosen_encoding(request.headers.get(hdrs.ACCEPT_ENCODING, ""))


def _content_type(fmt: str) -> str:
    if fmt.startswith("JSON") and "EachRow" not in fmt:
        return "application/json; charset=UTF-8"
    if "EachRow" in fmt:
        return "application/x-ndjson; charset=UTF-8"
    if fmt.startswith(("CSV",)):
        return "text/csv; charset=UTF-8"
    if fmt.startswith(("TSV", "TabSeparated")):
        return "text/tab-separated-values; charset=UTF-8"
    return "application/octet-stream" if fmt in ("Native", "RowBinary", "Parquet") else "text/plain; charset=UTF-8"


def _summary(result: Result) -> str:
    numbers = {
        "read_rows": result.read_rows,
        "read_bytes": result.read_bytes,
        "written_rows": result.written_rows,
        "written_bytes": result.written_bytes,
        "total_rows_to_read": 0,
        "result_rows": 0,
        "result_bytes": 0,
        "elapsed_ns": 0,
    }
    return msgspec.json.encode({name: str(number) for name, number in numbers.items()}).decode()


async def serve(engine: StatementEngine, credentials: Credentials, port: int) -> None:
    """Serve on loopback until SIGTERM or SIGINT; running statements are finished. Raises `OSError` (port taken)."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    facade = Facade(engine, credentials)
    runner = web.AppRunner(facade.application(), access_log=None, shutdown_timeout=CLOSE_WAIT_S)
    await runner.setup()
    try:
        site = web.TCPSite(runner, HOST, port)
        await site.start()
        logger.info("the ClickHouse interface listens on http://%s:%d", *runner.addresses[0][:2])
        await stop.wait()
    finally:
        await runner.cleanup()
        facade.close()
