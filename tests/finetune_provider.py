"""An OpenAI server with files and fine-tuning jobs, for tests. Its jobs go on whenever somebody looks at them.

    with FinetuneProvider() as provider:                 # in a thread, on a free port of 127.0.0.1
        client = OpenAI(base_url=provider.base_url, api_key="sk-a")
        provider.knobs.fail_with = "..."                 # see `finetune_provider_jobs.Knobs`
        provider.files, provider.jobs, provider.asked    # what was made, what is there, every request in order

`hold_at(3, "after")` lets the fourth request do its work and keeps its answer until `release()`: whoever asked can be
killed meanwhile, and `held` is set as soon as that is so.
"""

from __future__ import annotations

import asyncio
import io
import re
import threading
from collections.abc import Awaitable, Callable
from typing import Any, Final, Literal, Self

from aiohttp import web
from python_multipart import parse_form

from .batch_provider_replies import error
from .finetune_provider_jobs import File, Job, Knobs, Refused, judged_body, new_file, new_job, page

WAIT_S: Final = 30.0
_ID: Final = re.compile(r"/(?:ftjob-|file-)[^/]+")
Handle = Callable[[web.Request], Awaitable[web.StreamResponse]]
When = Literal["before", "after"]


class FinetuneProvider:
    """All of the state, and the handlers."""

    def __init__(self) -> None:
        self.knobs = Knobs()
        self.models: dict[str, dict[str, Any]] = {"trainable-1": {}}
        """By name: what more is said of each than OpenAI always says."""
        self.files: dict[str, File] = {}
        self.jobs: dict[str, Job] = {}
        self.deleted: list[str] = []
        self.asked: list[str] = []
        """Such as `POST /v1/fine_tuning/jobs/*/cancel`."""
        self.bodies: list[dict[str, Any]] = []
        """Of the requests for a job, also those that were refused."""
        self.at_work = 0
        """Requests that are not done yet, whoever still waits for them."""
        self.held = threading.Event()
        self.url = ""
        self._hold: tuple[int, When] | None = None
        self._released = asyncio.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="finetune-provider", daemon=True)
        self._runner: web.AppRunner | None = None

    @property
    def base_url(self) -> str:
        return f"{self.url}/v1"

    def made(self, purpose: str = "fine-tune") -> list[File]:
        """Files of a purpose that are there."""
        return [file for file in self.files.values() if file.purpose == purpose]

    def hold_at(self, number: int, when: When) -> None:
        """Hold the request of this number, from 0 for the next one."""
        self.held.clear()
        self._hold = (len(self.asked) + number, when)

    def release(self) -> None:
        self._hold = None
        self._loop.call_soon_threadsafe(self._released.set)

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._serve(), self._loop).result(WAIT_S)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._runner is not None
        self.release()
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(WAIT_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(WAIT_S)
        self._loop.close()

    async def _serve(self) -> None:
        jobs = "/v1/fine_tuning/jobs"
        app = web.Application(client_max_size=2**30, middlewares=[self._meddle])
        app.router.add_routes(
            [
                web.get("/v1/models", self._list_models),
                web.post("/v1/files", self._upload),
                web.get("/v1/files", self._list_files),
                web.get("/v1/files/{id}", self._file),
                web.get("/v1/files/{id}/content", self._content),
                web.delete("/v1/files/{id}", self._delete),
                web.post(jobs, self._create),
                web.get(jobs, self._list_jobs),
                web.get(f"{jobs}/{{id}}", self._job),
                web.get(f"{jobs}/{{id}}/events", self._events),
                web.get(f"{jobs}/{{id}}/checkpoints", self._checkpoints),
                *(web.post(f"{jobs}/{{id}}/{what}", self._change) for what in ("cancel", "pause", "resume")),
            ]
        )
        self._runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    # What goes wrong.

    @web.middleware
    async def _meddle(self, request: web.Request, handler: Handle) -> web.StreamResponse:
        number, name = len(self.asked), f"{request.method} {_ID.sub('/*', request.path)}"
        self.asked.append(name)
        fault = (self.knobs.faults.get(name) or [""]).pop(0)
        self.at_work += 1
        try:
            await request.read()  # What was received whole is done, even if whoever asked dies.
            await self._maybe_hold(number, "before")
            if fault == "cut before":
                return _cut(request)
            if fault == "given up":
                _cut(request)
                await self._held_back()
            if fault.isdigit():
                return web.json_response(error("The test wants this.", code="wanted"), status=int(fault))
            if not self._knows(request):
                raise Refused(401, "Incorrect API key provided: sk-secret.", code="invalid_api_key")
            response = await handler(request)
            await self._maybe_hold(number, "after")
        except Refused as refused:
            return web.json_response(refused.body, status=refused.status)
        except ConnectionError:  # the peer is gone, and what it was sending with it
            return web.Response()
        finally:
            self.at_work -= 1
        if fault == "cut after":
            return _cut(request)
        if fault == "500 after":
            return web.json_response(error("Too late.", code="server_error"), status=500)
        if fault == "late":
            await asyncio.sleep(self.knobs.late_s)
        if fault == "page":
            return web.Response(text="<html>Sign in</html>", content_type="text/html")
        return response

    def _knows(self, request: web.Request) -> bool:
        key = request.headers.get("authorization", "").removeprefix("Bearer ")
        return not self.knobs.keys or key in self.knobs.keys

    async def _maybe_hold(self, number: int, when: When) -> None:
        if self._hold == (number, when):
            await self._held_back()

    async def _held_back(self) -> None:
        self._released.clear()
        self.held.set()
        await self._released.wait()

    # Models and files.

    async def _list_models(self, request: web.Request) -> web.Response:
        if not self.knobs.has_models:
            raise Refused(404, "Unknown request URL.")
        said = {"object": "model", "created": 1, "owned_by": "tests"}
        return web.json_response(
            {"object": "list", "data": [{"id": name, **said, **self.models[name]} for name in self.models]}
        )

    async def _upload(self, request: web.Request) -> web.Response:
        fields: dict[str, Any] = {}

        def take_file(file: Any) -> None:
            file.file_object.seek(0)
            fields["name"], fields["file"] = file.file_name.decode(), file.file_object.read()
            file.close()

        headers = {"Content-Type": request.headers["Content-Type"].encode()}
        body = io.BytesIO(await request.read())
        parse_form(headers, body, lambda field: fields.update({field.field_name.decode(): field.value}), take_file)
        if fields.get("purpose") != b"fine-tune":
            raise Refused(400, "That is no purpose.", param="purpose")
        file = new_file(fields["name"], fields["file"], "fine-tune")
        self.files[file.id] = file
        return web.json_response(file.shown())

    def _find_file(self, request: web.Request) -> File:
        file = self.files.get(request.match_info["id"])
        if file is None:
            raise Refused(404, f"No such File object: {request.match_info['id']}", param="id")
        return file

    async def _list_files(self, request: web.Request) -> web.Response:
        purpose = request.query.get("purpose")
        found = [
            one.shown() for one in self.files.values() if purpose in (None, one.purpose) and one.is_listed(self.knobs)
        ]
        return page(request, found, 10_000, self.knobs)

    async def _file(self, request: web.Request) -> web.Response:
        return web.json_response(self._find_file(request).shown())

    async def _content(self, request: web.Request) -> web.Response:
        return web.Response(body=self._find_file(request).content, content_type="application/octet-stream")

    async def _delete(self, request: web.Request) -> web.Response:
        file = self._find_file(request)
        del self.files[file.id]
        self.deleted.append(file.id)
        return web.json_response({"id": file.id, "object": "file", "deleted": True})

    # Jobs.

    async def _create(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.bodies.append(body)
        if self.knobs.no_quota:
            raise Refused(429, "You exceeded your current quota.", code="insufficient_quota", kind="insufficient_quota")
        judged_body(body, self.knobs, self.models, self.files)
        job = new_job(body, self.files, self.knobs)
        self.jobs[job.id] = job
        return web.json_response(job.shown)

    def _find_job(self, request: web.Request) -> Job:
        job = self.jobs.get(request.match_info["id"])
        if job is None:
            raise Refused(404, f"Could not find fine tune: {request.match_info['id']}", code="fine_tune_not_found")
        return job

    async def _list_jobs(self, request: web.Request) -> web.Response:
        return page(request, [job.shown for job in self.jobs.values()], 100, self.knobs)

    async def _job(self, request: web.Request) -> web.Response:
        job = self._find_job(request)
        job.look(self.files)
        return web.json_response(job.shown)

    async def _events(self, request: web.Request) -> web.Response:
        return page(request, self._find_job(request).events, 100, self.knobs)

    async def _checkpoints(self, request: web.Request) -> web.Response:
        return page(request, self._find_job(request).checkpoints, 100, self.knobs)

    async def _change(self, request: web.Request) -> web.Response:
        job, what = self._find_job(request), request.path.rpartition("/")[2]
        wanted = {"cancel": "cancelled", "pause": "paused", "resume": "running"}[what]
        if job.shown["status"] in ("succeeded", "failed", "cancelled", wanted):
            raise Refused(400, f"The job is {job.shown['status']} already.", code="invalid_status")
        job.enter(wanted)
        return web.json_response(job.shown)


def _cut(request: web.Request) -> web.Response:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()
