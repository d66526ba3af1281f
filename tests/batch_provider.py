"""An OpenAI server with a Batch API, for tests: it judges files as the real one does, and its model only counts.

    with BatchProvider(tmp_path) as provider:           # in a thread
        client = OpenAI(base_url=provider.base_url, api_key="sk-a")
        provider.set(fail_next=1)                        # see `batch_provider_batches.Knobs`
        provider.state()                                 # what was made and asked, and what is still there

`python -m tests.batch_provider --port 0 --dir D` is the same as a process: it prints its URL, and ends with its
standard input. `Remote(url)` has `set` and `state` for it. Files are on disk, so that memory is bounded.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import threading
import urllib.request
from pathlib import Path
from typing import Any, Final, Self

from aiohttp import web

from .batch_provider_replies import Json
from .batch_provider_server import Server, serve

WAIT_S: Final = 30.0


class Remote:
    """`set` and `state` of a provider elsewhere."""

    def __init__(self, url: str) -> None:
        self.url = url

    @property
    def base_url(self) -> str:
        return f"{self.url}/v1"

    def set(self, **knobs: Any) -> None:
        self._open("/_test/knobs", json.dumps(knobs).encode())

    def state(self) -> Json:
        found: Json = json.loads(self._open("/_test/state"))
        return found

    def _open(self, path: str, data: bytes | None = None) -> bytes:
        with urllib.request.urlopen(urllib.request.Request(self.url + path, data), timeout=WAIT_S) as answer:
            body: bytes = answer.read()
            return body


class BatchProvider(Remote):
    """In a thread with a loop of its own, on a free port of 127.0.0.1."""

    def __init__(self, directory: Path) -> None:
        super().__init__("")
        self._server = Server(directory)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="batch-provider", daemon=True)
        self._runner: web.AppRunner | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        self._runner, self.url = asyncio.run_coroutine_threadsafe(serve(self._server, 0), self._loop).result(WAIT_S)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._runner is not None
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(WAIT_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(WAIT_S)
        self._loop.close()

    async def _end(self) -> None:
        assert self._runner is not None
        await self._server.aclose()
        await self._runner.cleanup()


async def _main(port: int, directory: Path) -> None:
    _, url = await serve(Server(directory), port)
    print(url, flush=True)  # noqa: T201
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--dir", type=Path, required=True)
    given = parser.parse_args()
    asyncio.run(_main(given.port, given.dir))
