"""The state and the handlers behind `batch_provider.py`."""

from __future__ import annotations

import asyncio
import dataclasses
import re
import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

from aiohttp import BodyPartReader, web

from .batch_provider_batches import OVER, Batch, File, Knobs, Run, new_batch
from .batch_provider_replies import ENDPOINTS, Json, error, reply, stream

FILE_BYTES_MAX: Final = 512 * 1024 * 1024
_PIECE_BYTES: Final = 256 * 1024
_ID: Final = re.compile(r"/(?:batch_|file-)[^/]+")
Handle = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Refused(Exception):
    def __init__(self, status: int, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.body = error(message, param=param, code=code)


class Server:
    """All of the state, and the handlers."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.knobs = Knobs()
        self.files: dict[str, File] = {}
        self.batches: dict[str, Batch] = {}
        self.asked: Counter[str] = Counter()
        """How often each line was run, by its custom_id."""
        self.live: Counter[str] = Counter()
        """How often the model was asked without a batch, by tier."""
        self.requests: Counter[str] = Counter()
        self.files_made = 0
        self.batches_made = 0
        self._runs: set[asyncio.Task[None]] = set()

    def app(self) -> web.Application:
        app = web.Application(client_max_size=FILE_BYTES_MAX, middlewares=[self._meddle])
        app.router.add_routes(
            [
                web.post("/v1/files", self._upload),
                web.get("/v1/files", self._list_files),
                web.get("/v1/files/{id}", self._file),
                web.delete("/v1/files/{id}", self._delete),
                web.get("/v1/files/{id}/content", self._content),
                web.post("/v1/batches", self._create),
                web.get("/v1/batches", self._list_batches),
                web.get("/v1/batches/{id}", self._batch),
                web.post("/v1/batches/{id}/cancel", self._cancel),
                *(web.post(path, self._ask) for path in ENDPOINTS),
                web.post("/_test/knobs", self._set_knobs),
                web.get("/_test/state", self._show_state),
            ]
        )
        return app

    def state(self) -> Json:
        return {
            "files_made": self.files_made,
            "files": [file.shown() for file in self.files.values()],
            "batches_made": self.batches_made,
            "batches": [batch.shown for batch in self.batches.values()],
            "running": [batch.id for batch in self.batches.values() if batch.shown["status"] not in OVER],
            "asked": dict(self.asked),
            "live": dict(self.live),
            "requests": dict(self.requests),
        }

    def set(self, **knobs: Any) -> None:
        for name, value in knobs.items():
            assert hasattr(self.knobs, name), name
            setattr(self.knobs, name, value)

    @web.middleware
    async def _meddle(self, request: web.Request, handler: Handle) -> web.StreamResponse:
        if request.path.startswith("/_test/"):
            return await handler(request)
        name = f"{request.method} {_ID.sub('/*', request.path)}"
        self.requests[name] += 1
        await asyncio.sleep(self.knobs.latency_s)
        if _count_down(self.knobs.cut_before, name):
            return _cut(request)
        try:
            if refusals := self.knobs.refuse.get(name):
                status = refusals.pop(0)
                raise Refused(status, "The test wants this.", code="refused")
            response = await handler(request)
        except Refused as refused:
            response = web.json_response(refused.body, status=refused.status)
        except ConnectionError:  # the peer is gone, and what it was sending with it
            return web.Response()
        return _cut(request) if _count_down(self.knobs.cut_after, name) else response

    def _owner(self, request: web.Request) -> str:
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not key or (self.knobs.keys and key not in self.knobs.keys):
            raise Refused(401, "Incorrect API key provided.", code="invalid_api_key")
        return key

    # Files.

    async def _upload(self, request: web.Request) -> web.Response:
        owner = self._owner(request)
        fields: dict[str, str] = {}
        made: File | None = None
        async for part in await request.multipart():
            assert isinstance(part, BodyPartReader)
            if part.name == "file":
                made = self._new_file(owner, part.filename or "upload")
                with made.path.open("wb") as file:
                    while piece := await part.read_chunk(_PIECE_BYTES):
                        made.bytes += file.write(piece)
            else:
                fields[part.name or ""] = await part.text()
        if made is None:
            raise Refused(400, "Missing required parameter: 'file'.", param="file")
        if fields.get("purpose") not in ("batch", "assistants", "fine-tune", "vision", "user_data", "evals"):
            raise Refused(400, f"'{fields.get('purpose')}' is not one of the purposes.", param="purpose")
        made.purpose = fields["purpose"]
        if seconds := fields.get("expires_after[seconds]"):
            made.expires_at = int(made.created) + int(seconds)
        self.files[made.id] = made
        self.files_made += 1
        return web.json_response(made.shown())

    def _new_file(self, owner: str, name: str) -> File:
        file_id = f"file-{uuid.uuid4().hex[:24]}"
        return File(file_id, owner, name, "batch_output", self.directory / file_id, 0, time.time())

    def _find_file(self, request: web.Request) -> File:
        owner, file_id = self._owner(request), request.match_info["id"]
        file = self.files.get(file_id)
        if file is None or file.owner != owner:
            raise Refused(404, f"No such File object: {file_id}", param="id")
        return file

    async def _list_files(self, request: web.Request) -> web.Response:
        owner, wanted = self._owner(request), request.query.get("purpose")
        found = [file for file in self.files.values() if file.owner == owner and wanted in (None, file.purpose)]
        found = [file for file in found if time.time() - file.created >= self.knobs.list_lag_s]
        return _page(request, [file.shown() for file in found], 10_000)

    async def _file(self, request: web.Request) -> web.Response:
        return web.json_response(self._find_file(request).shown())

    async def _delete(self, request: web.Request) -> web.Response:
        file = self._find_file(request)
        del self.files[file.id]
        file.path.unlink()
        return web.json_response({"id": file.id, "object": "file", "deleted": True})

    async def _content(self, request: web.Request) -> web.StreamResponse:
        return web.FileResponse(self._find_file(request).path, headers={"Content-Type": "application/octet-stream"})

    # Batches.

    async def _create(self, request: web.Request) -> web.Response:
        owner, asked = self._owner(request), await request.json()
        for name in ("input_file_id", "endpoint", "completion_window"):
            if not isinstance(asked.get(name), str):
                raise Refused(400, f"Missing required parameter: '{name}'.", param=name)
        if asked["completion_window"] != "24h":
            raise Refused(400, "Invalid value: the completion window can only be '24h'.", param="completion_window")
        if asked["endpoint"] not in ENDPOINTS:
            raise Refused(400, f"Invalid value: '{asked['endpoint']}'.", param="endpoint", code="invalid_value")
        metadata = asked.get("metadata")
        if metadata is not None and not _fits(metadata):
            raise Refused(400, "Invalid 'metadata': too many properties, or too long ones.", param="metadata")
        file = self.files.get(asked["input_file_id"])
        if file is None or file.owner != owner:
            raise Refused(400, f"No such File object: {asked['input_file_id']}", param="input_file_id")
        if file.purpose != "batch":
            raise Refused(400, "The file's purpose is not 'batch'.", param="input_file_id")
        batch = new_batch(owner, asked["endpoint"], file.id, metadata)
        self.batches[batch.id] = batch
        self.batches_made += 1
        self._start(batch, file)
        return web.json_response(batch.shown)

    def _start(self, batch: Batch, source: File) -> None:
        kept = self.directory / f"{batch.id}.input"
        kept.hardlink_to(source.path)  # a batch goes on although its file is deleted

        async def run() -> None:
            await Run(batch, kept, self.knobs, self.asked, self._new_file, self._appear)()
            kept.unlink()

        task = asyncio.get_running_loop().create_task(run())
        self._runs.add(task)
        task.add_done_callback(self._ran)

    def _appear(self, file: File) -> None:
        self.files[file.id] = file

    async def aclose(self) -> None:
        """Break off what runs."""
        runs = [*self._runs]
        for run in runs:
            run.cancel()
        await asyncio.gather(*runs, return_exceptions=True)

    def _ran(self, task: asyncio.Task[None]) -> None:
        self._runs.discard(task)
        if not task.cancelled() and (fault := task.exception()) is not None:
            raise fault

    def _find_batch(self, request: web.Request) -> Batch:
        owner, batch_id = self._owner(request), request.match_info["id"]
        batch = self.batches.get(batch_id)
        if batch is None or batch.owner != owner:
            raise Refused(404, f"No batch found with id '{batch_id}'.")
        return batch

    async def _list_batches(self, request: web.Request) -> web.Response:
        owner, lag_s = self._owner(request), self.knobs.list_lag_s
        found = [one for one in self.batches.values() if one.owner == owner and time.time() - one.created >= lag_s]
        return _page(request, [batch.shown for batch in found], 100)

    async def _batch(self, request: web.Request) -> web.Response:
        return web.json_response(self._find_batch(request).shown)

    async def _cancel(self, request: web.Request) -> web.Response:
        batch = self._find_batch(request)
        if batch.shown["status"] not in ("validating", "in_progress", "cancelling"):
            raise Refused(409, f"Cannot cancel a batch with status '{batch.shown['status']}'.")
        batch.enter("cancelling")
        return web.json_response(batch.shown)

    # The model.

    async def _ask(self, request: web.Request) -> web.StreamResponse:
        self._owner(request)
        try:
            body = await request.json()
        except ValueError as fault:
            raise Refused(400, "We could not parse the JSON body of your request.") from fault
        tier = str(body.get("service_tier", "default"))
        self.live[tier] += 1
        if tier == "flex" and self.knobs.flex_refusals > 0:
            self.knobs.flex_refusals -= 1
            message = "Resource Unavailable: no room at the flex tier."
            return web.json_response(error(message, "resource_unavailable", code="resource_unavailable"), status=429)
        status, whole = reply(request.path, body)
        headers = {"x-request-id": f"req_{uuid.uuid4().hex}", "openai-version": "2020-10-01"}
        if status != 200 or not body.get("stream"):
            return web.json_response(whole, status=status, headers=headers)
        response = web.StreamResponse(headers={**headers, "Content-Type": "text/event-stream; charset=utf-8"})
        await response.prepare(request)
        for event in stream(request.path, body, whole):
            await response.write(event)
        return response

    # The test's own.

    async def _set_knobs(self, request: web.Request) -> web.Response:
        self.set(**await request.json())
        return web.json_response(dataclasses.asdict(self.knobs))

    async def _show_state(self, request: web.Request) -> web.Response:
        return web.json_response(self.state())


def _count_down(counts: dict[str, int], name: str) -> bool:
    if counts.get(name, 0) <= 0:
        return False
    counts[name] -= 1
    return True


def _cut(request: web.Request) -> web.Response:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


def _fits(metadata: Json) -> bool:
    return len(metadata) <= 16 and all(
        isinstance(value, str) and len(name) <= 64 and len(value) <= 512 for name, value in metadata.items()
    )


def _page(request: web.Request, found: list[Json], limit_max: int) -> web.Response:
    """Newest first, like the lists of the API."""
    if request.query.get("order", "desc") == "desc":
        found = found[::-1]
    if after := request.query.get("after"):
        ids = [one["id"] for one in found]
        found = found[ids.index(after) + 1 :] if after in ids else []
    limit = min(limit_max, int(request.query.get("limit", 20 if limit_max == 100 else limit_max)))
    page = found[:limit]
    ends = {"first_id": page[0]["id"] if page else None, "last_id": page[-1]["id"] if page else None}
    return web.json_response({"object": "list", "data": page, **ends, "has_more": len(found) > limit})


async def serve(server: Server, port: int) -> tuple[web.AppRunner, str]:
    """Returns what is to be cleaned up, and the address."""
    runner = web.AppRunner(server.app(), shutdown_timeout=0.1, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    return runner, f"http://127.0.0.1:{runner.addresses[0][1]}"
