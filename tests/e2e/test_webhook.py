"""A webhook end to end: an async call at a local upstream, and a receiver that believes the official SDK alone."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import openai

from tests.bench.upstream import unary_reply

from .serve import penstock, until

SECRET = "whsec_" + base64.b64encode(b"a key of the tests").decode()
QUESTION = {"model": "small", "messages": [{"role": "user", "content": "Tell me when you are done."}]}


class Receiver:
    """Keeps what it is sent."""

    def __init__(self) -> None:
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.url = ""


@contextmanager
def receiver() -> Iterator[Receiver]:
    made = Receiver()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            made.got.append(({name.lower(): value for name, value in self.headers.items()}, body))
            self.send_response(204)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None: ...

    with _served(Handler) as url:
        made.url = url
        yield made


class Upstream(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.wfile.write(unary_reply())

    def log_message(self, *_: Any) -> None: ...


@contextmanager
def _served(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


def test_an_async_call_is_answered_and_told_to_whom_it_named(tmp_path: Path) -> None:
    sections = {"batch": {"webhook_secret": "env:HOOK", "webhook_hosts": ["127.0.0.1"]}}
    with (
        receiver() as hook,
        _served(Upstream) as upstream,
        penstock(
            tmp_path,
            upstreams={"local": {"base_url": f"{upstream}/v1", "batch": "local"}},
            sections=sections,
            environ={"HOOK": SECRET},
        ) as proxy,
        httpx.Client(headers={"Authorization": "Bearer sk-caller"}, timeout=60) as caller,
    ):
        headers = {"x-penstock-batch": "async", "x-penstock-webhook": f"{hook.url}/told?token=secret"}
        accepted = caller.post(f"{proxy.base_url}/chat/completions", json=QUESTION, headers=headers)
        assert accepted.status_code == 202, accepted.text
        until(lambda: len(hook.got), bool, 60.0)
        ((signature, body),) = hook.got
        event: Any = openai.OpenAI(api_key="x").webhooks.unwrap(body, signature, secret=SECRET)
        assert (event.type, event.data.id) == ("deferred.completed", accepted.json()["id"])
        reply = caller.get(f"{proxy.url}{event.data.location}")
        assert (reply.status_code, reply.json()["object"]) == (200, "chat.completion")
        assert proxy.wait_rows("batch_id = {id:String}", {"id": ""})[0]["status"] == 200
        assert "secret" not in proxy.output()
