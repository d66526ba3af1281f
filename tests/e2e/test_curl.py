"""curl: what HTTP itself has to offer, beyond what SDKs use."""

from __future__ import annotations

import gzip
import json
import subprocess
from pathlib import Path

from tests.wire.scripted import json_reply, reply

from .model import NAME
from .serve import Penstock
from .stage import Stage, chat_reply

CHAT = {"model": NAME, "messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 4}


class Curled:
    """What curl saw: the head (of the final reply), the body, and what `-v` said."""

    def __init__(self, output: bytes, talk: str) -> None:
        *_, head, self.body = output.split(b"\r\n\r\n", output.count(b"HTTP/1.1 "))
        status, *lines = head.decode("latin-1").split("\r\n")
        self.status = int(status.split()[1])
        self.headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        self.talk = talk

    @property
    def request_id(self) -> str:
        return self.headers["x-penstock-request-id"]


def curl(*arguments: str, body: bytes | None = None) -> Curled:
    options = [
        "--http1.1",
        "--silent",
        "--show-error",
        "--include",
        "--verbose",
        "--max-time",
        "60",
        "--expect100-timeout",
        "60",
        "--noproxy",
        "*",
    ]
    data = ["--data-binary", "@-"] if body is not None else []
    done = subprocess.run(
        ["curl", *options, *data, *arguments], input=body, capture_output=True, timeout=70, check=False
    )
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    return Curled(done.stdout, done.stderr.decode(errors="replace"))


JSON = ("-H", "Content-Type: application/json")


def test_a_chat_call(proxy: Penstock) -> None:
    seen = curl(*JSON, f"{proxy.base_url}/chat/completions", body=json.dumps(CHAT).encode())
    assert seen.status == 200
    row = proxy.row(seen.request_id)
    assert row["output_tokens"] == json.loads(seen.body)["usage"]["completion_tokens"]
    assert (row["request_bytes"], row["response_bytes"]) == (len(json.dumps(CHAT)), len(seen.body))


def test_a_compressed_request_travels_as_it_is_and_is_understood(proxy: Penstock, stage: Stage) -> None:
    stage.play(json_reply(chat_reply()))
    packed = gzip.compress(json.dumps({**CHAT, "model": "gpt-4o-mini"}).encode())
    seen = curl(*JSON, "-H", "Content-Encoding: gzip", f"{proxy.base_url}/chat/completions", body=packed)
    assert seen.status == 200
    (request,) = stage.requests
    assert (request.body, request.header("content-encoding")) == (packed, "gzip")
    row = proxy.row(seen.request_id)
    assert row["model"] == "gpt-4o-mini"
    assert "Say hello." in row["input_messages"]


def test_a_compressed_reply_travels_as_it_is_and_is_metered(proxy: Penstock, stage: Stage) -> None:
    packed = gzip.compress(json.dumps(chat_reply()).encode())
    stage.play(reply(200, {"Content-Type": "application/json", "Content-Encoding": "gzip"}, packed))
    body = json.dumps({**CHAT, "model": "gpt-4o-mini"}).encode()
    seen = curl(*JSON, "-H", "Accept-Encoding: gzip", f"{proxy.base_url}/chat/completions", body=body)
    assert (seen.body, seen.headers["content-encoding"]) == (packed, "gzip")
    row = proxy.row(seen.request_id)
    assert (row["input_tokens"], row["output_tokens"]) == (19, 10)
    assert "The gate is open." in row["output_messages"]


def test_a_big_upload_is_asked_for_with_100_continue(proxy: Penstock, stage: Stage, tmp_path: Path) -> None:
    stage.play(json_reply({"id": "file-1"}))
    file = tmp_path / "big.bin"
    file.write_bytes(bytes(range(256)) * 40_000)
    seen = curl(
        *("-H", "Expect: 100-continue", "-H", "x-penstock-upstream: stage", "-F", f"file=@{file}"),
        f"{proxy.base_url}/files",
    )
    assert "100 Continue" in seen.talk
    assert seen.status == 200
    (request,) = stage.requests
    assert file.read_bytes() in request.body
    assert proxy.row(seen.request_id)["request_bytes"] == len(request.body)


def test_head_has_the_head_alone(proxy: Penstock, stage: Stage) -> None:
    stage.play(reply(200, {"Content-Type": "application/json", "x-kept": "yes"}, b"x" * 42))
    seen = curl("--head", "-H", "x-penstock-upstream: stage", f"{proxy.base_url}/models")
    assert (seen.status, seen.headers["content-length"], seen.headers["x-kept"]) == (200, "42", "yes")
    row = proxy.row(seen.request_id)
    assert (row["method"], row["outcome"], row["response_bytes"]) == ("HEAD", "answered", 0)


def test_options_passes_through(proxy: Penstock, stage: Stage) -> None:
    stage.play(reply(204, {"Allow": "GET, POST", "Access-Control-Allow-Origin": "*"}))
    seen = curl("-X", "OPTIONS", "-H", "x-penstock-upstream: stage", f"{proxy.base_url}/chat/completions")
    assert (seen.status, seen.headers["allow"], seen.body) == (204, "GET, POST", b"")
    row = proxy.row(seen.request_id)
    assert (row["method"], row["status"], row["endpoint"]) == ("OPTIONS", 204, "other")


def test_http_1_0_gets_a_whole_reply_and_a_close(proxy: Penstock) -> None:
    seen = curl("--http1.0", *JSON, f"{proxy.base_url}/chat/completions", body=json.dumps(CHAT).encode())
    assert seen.status == 200
    assert json.loads(seen.body)["usage"]["completion_tokens"] > 0
    assert "transfer-encoding" not in seen.headers


def test_the_health_endpoints_are_no_calls(proxy: Penstock) -> None:
    for name in ("health", "ready"):
        assert curl(f"{proxy.url}/penstock/{name}").status == 200
    assert proxy.rows("path LIKE '/penstock/%'") == []
