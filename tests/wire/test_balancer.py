"""deploy/compose/nginx.conf on a real nginx: it hands bytes on as they come, and asks nobody twice."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import httpx
import pytest

from tests.ports import held_port

from .scripted import SSE_HEAD, Conn, Request, ScriptedUpstream, chunk, event, json_reply

CONFIG = Path(__file__).parents[2] / "deploy" / "compose" / "nginx.conf"
PROGRAM = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")

LOG = "stderr.log"
PATIENCE_S = 60.0


def configured(folder: Path, port: int, replicas: Sequence[str]) -> str:
    """The file as it is, but for the addresses and the folder of what is temporary."""
    text = CONFIG.read_text().replace("/tmp/", f"{folder}/").replace("listen 4100", f"listen 127.0.0.1:{port}")
    for number, address in enumerate(replicas, start=1):
        text = text.replace(f"penstock-{number}:4100", address)
    assert "4100" not in text
    return text


@contextlib.asynccontextmanager
async def balancer(folder: Path, replicas: Sequence[str]) -> AsyncIterator[httpx.AsyncClient]:
    assert PROGRAM is not None, "nginx is needed; make test installs it"
    path = folder / "nginx.conf"
    # One process, in the foreground: what ends is what was started.
    arguments = ("-c", str(path), "-p", str(folder), "-g", "daemon off; master_process off;")
    with held_port() as port:
        path.write_text(configured(folder, port, replicas))
        with (folder / LOG).open("wb") as log:
            process = await asyncio.create_subprocess_exec(PROGRAM, *arguments, stderr=log)
        try:
            await _listening(port, process, folder / LOG)
            url = f"http://127.0.0.1:{port}"
            async with httpx.AsyncClient(base_url=url, timeout=PATIENCE_S, trust_env=False) as client:
                yield client
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            await asyncio.wait_for(process.wait(), PATIENCE_S)


async def _listening(port: int, process: asyncio.subprocess.Process, log: Path) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                return
            if process.returncode is not None:
                raise AssertionError(await asyncio.to_thread(log.read_text))
            await asyncio.sleep(0.02)


def address(upstream: ScriptedUpstream) -> str:
    return upstream.url.removeprefix("http://")


@pytest.fixture
async def answering() -> AsyncIterator[ScriptedUpstream]:
    async with ScriptedUpstream(json_reply({"ok": True})) as upstream:
        yield upstream


async def test_a_request_arrives_as_it_was_sent(tmp_path: Path, answering: ScriptedUpstream) -> None:
    body = bytes(range(256)) * 8192
    headers = [("X-Odd_Name", "kept"), ("x-twice", "1"), ("x-twice", "2"), ("x-long", "v" * 30_000)]
    async with balancer(tmp_path, [address(answering)] * 2) as client:
        reply = await client.post("/v1/files//odd?a=%2F&a=b", content=body, headers=[*headers, ("Host", "api.example")])
    assert reply.json() == {"ok": True}
    (request,) = answering.requests
    assert (request.method, request.target, request.body) == ("POST", "/v1/files//odd?a=%2F&a=b", body)
    assert request.header("host") == "api.example"
    arrived = [(name.decode().lower(), value.decode()) for name, value in request.headers]
    assert [pair for pair in arrived if pair[0].startswith("x-")] == [(name.lower(), value) for name, value in headers]


async def test_a_stream_is_handed_on_piece_by_piece(tmp_path: Path) -> None:
    heard = asyncio.Event()

    async def one_after_the_other(request: Request, conn: Conn) -> None:
        await conn.send(SSE_HEAD + chunk(event("first")))
        await asyncio.wait_for(heard.wait(), PATIENCE_S)
        await conn.send(chunk(event("second")) + chunk(b""))

    async with (
        ScriptedUpstream(one_after_the_other) as upstream,
        balancer(tmp_path, [address(upstream)] * 2) as client,
        client.stream("POST", "/v1/chat/completions", json={"stream": True}) as reply,
    ):
        pieces = reply.aiter_bytes()
        assert await anext(pieces) == b"data: first\n\n"
        heard.set()
        assert b"".join([piece async for piece in pieces]) == b"data: second\n\n"


async def test_a_reply_is_not_kept_for_a_slow_reader(tmp_path: Path) -> None:
    """It would be on the balancer's disk, where private text has no business; the upstream is made to wait instead."""
    sent = asyncio.Event()

    async def much(request: Request, conn: Conn) -> None:
        await conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: 16777216\r\n\r\n" + bytes(16777216))
        sent.set()

    async with (
        ScriptedUpstream(much) as upstream,
        balancer(tmp_path, [address(upstream)] * 2) as client,
        client.stream("GET", "/v1/files/file-1/content") as reply,
    ):
        with contextlib.suppress(TimeoutError):  # time enough to take it all, for one that would
            await asyncio.wait_for(sent.wait(), 0.5)
        assert sum([len(piece) async for piece in reply.aiter_bytes()]) == 16777216
    assert "temporary file" not in (tmp_path / LOG).read_text()


async def test_an_upload_is_not_gathered_first(tmp_path: Path) -> None:
    arrived = asyncio.Event()

    async def reads_a_little(request: Request, conn: Conn) -> None:
        await conn.read_some()
        arrived.set()
        await conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
        while await conn.read_some():
            pass

    async def slowly() -> AsyncIterator[bytes]:
        yield b"x" * 1000
        await asyncio.wait_for(arrived.wait(), PATIENCE_S)
        yield b"y"

    async with (
        ScriptedUpstream(reads_a_little, read_body=False) as upstream,
        balancer(tmp_path, [address(upstream)] * 2) as client,
    ):
        assert (await client.post("/v1/files", content=slowly())).text == "ok"


async def test_one_that_is_away_is_passed_over(tmp_path: Path, answering: ScriptedUpstream) -> None:
    with held_port() as port:  # where nobody listens
        async with balancer(tmp_path, [f"127.0.0.1:{port}", address(answering)]) as client:
            replies = [await client.post("/v1/chat/completions", json={"n": number}) for number in range(6)]
    assert [reply.status_code for reply in replies] == [200] * 6
    assert len(answering.requests) == 6


async def test_a_call_that_was_sent_is_not_sent_again(tmp_path: Path, answering: ScriptedUpstream) -> None:
    """What it did is done, and costs money each time; whether to ask again is the caller's to say."""

    async def dies(request: Request, conn: Conn) -> None:
        await conn.reset()

    async with ScriptedUpstream(dies) as dying, balancer(tmp_path, [address(dying)] * 2) as client:
        reply = await client.post("/v1/batches/batch_1/cancel")
        assert reply.status_code == 502
        assert len(dying.requests) == 1


async def test_it_keeps_its_connections_and_can_be_upgraded(tmp_path: Path, answering: ScriptedUpstream) -> None:
    async with balancer(tmp_path, [address(answering)] * 2) as client:
        for _ in range(3):
            await client.get("/penstock/health")
        await client.get("/v1/realtime", headers={"Connection": "Upgrade", "Upgrade": "websocket"})
    # Two replicas, one connection to each: three calls need no third.
    assert len({request.connection for request in answering.requests[:3]}) <= 2
    assert all(request.header("connection") is None for request in answering.requests[:3])
    assert answering.requests[3].header("upgrade") == "websocket"
    assert (answering.requests[3].header("connection") or "").lower() == "upgrade"
