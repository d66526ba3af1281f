"""TLS and forward proxies on the way upstream."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from proxy.errors import UpstreamFault
from proxy.http.message import Origin, Timeouts

from .authority import Authority
from .scripted import (
    Conn,
    Request,
    Script,
    ScriptedUpstream,
    head,
    json_reply,
    raw,
    reset_at,
    sse,
    stall_before_headers,
)
from .upstream_caller import PATIENCE_S, PATIENT, calling, origin_of, until


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


async def test_a_trusted_upstream(authority: Authority) -> None:
    protocols = []

    async def script(request: Request, conn: Conn) -> None:
        protocols.append(conn.writer.get_extra_info("ssl_object").selected_alpn_protocol())
        await sse(["one", "two"], 0.001)(request, conn)

    async with ScriptedUpstream(script, tls=authority.serving("localhost")) as upstream, calling() as caller:
        to = origin_of(upstream, "localhost", authority.file)
        for _ in range(3):
            assert await caller.call(to) == b"data: one\n\ndata: two\n\ndata: [DONE]\n\n"
        assert [request.connection for request in upstream.requests] == [0, 0, 0]
        assert protocols == ["http/1.1"] * 3
        assert upstream.requests[0].header("host") == f"localhost:{upstream.port}"


async def test_20_megabytes_through_tls(authority: Authority) -> None:
    async def echo(request: Request, conn: Conn) -> None:
        await conn.send(head(200, {"Content-Length": str(len(request.body))}) + request.body)

    body = bytes(range(256)) * 4 * 20_480
    async with ScriptedUpstream(echo, tls=authority.serving("127.0.0.1")) as upstream, calling() as caller:
        assert await caller.call(origin_of(upstream, ca_file=authority.file), body) == body
        assert caller.pool.open == caller.pool.idle == 1


async def test_the_systems_authorities_may_be_given_by_the_environment(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", authority.file)
    async with ScriptedUpstream(json_reply(1), tls=authority.serving("localhost")) as upstream, calling() as caller:
        assert await caller.call(origin_of(upstream, "localhost")) == b"1"


async def test_an_upstream_that_is_not_trusted(authority: Authority, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = Authority(tmp_path / "other")
    async with ScriptedUpstream(json_reply(1), tls=authority.serving("localhost")) as upstream, calling() as caller:
        for ca_file in (other.file, None):
            with pytest.raises(UpstreamFault, match="not trusted") as caught:
                await caller.call(origin_of(upstream, "localhost", ca_file))
            assert (caught.value.code, caught.value.http_status) == ("tls_failure", 502)
            assert caller.pool.open == 0
    assert upstream.requests == []


async def test_a_certificate_for_another_name(authority: Authority) -> None:
    async with ScriptedUpstream(json_reply(1), tls=authority.serving("api.test")) as upstream, calling() as caller:
        for host in ("localhost", "127.0.0.1"):
            with pytest.raises(UpstreamFault) as caught:
                await caller.call(origin_of(upstream, host, authority.file))
            assert caught.value.code == "tls_failure"
    assert upstream.requests == []


async def test_an_upstream_that_does_not_speak_tls(authority: Authority) -> None:
    async def answer_at_once(conn: Conn) -> None:
        await conn.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await conn.close()

    async with ScriptedUpstream(json_reply(1), on_connect=answer_at_once) as upstream, calling() as caller:
        with pytest.raises(UpstreamFault) as caught:
            await caller.call(Origin("https", "127.0.0.1", upstream.port, authority.file))
        assert caught.value.code == "tls_failure"
        await until(lambda: upstream.open_connections == 0)


async def test_an_upstream_that_resets_the_handshake(authority: Authority) -> None:
    async with ScriptedUpstream(json_reply(1), on_connect=Conn.reset) as upstream, calling() as caller:
        with pytest.raises(UpstreamFault) as caught:
            await caller.call(Origin("https", "127.0.0.1", upstream.port, authority.file))
        assert caught.value.code == "tls_failure"


async def test_a_handshake_that_stalls(authority: Authority) -> None:
    async with ScriptedUpstream(json_reply(1), on_connect=Conn.wait_closed_by_peer) as upstream, calling() as caller:
        with pytest.raises(UpstreamFault) as caught:
            await caller.call(
                Origin("https", "127.0.0.1", upstream.port, authority.file), timeouts=Timeouts(connect_s=0.1)
            )
        assert caught.value.code == "connect_timeout"
        await until(lambda: upstream.open_connections == 0)


@pytest.mark.parametrize("name", ["missing.pem", "empty.pem"])
async def test_authorities_that_cannot_be_read(name: str, tmp_path: Path) -> None:
    (tmp_path / "empty.pem").touch()
    async with calling() as caller:
        with pytest.raises(UpstreamFault, match="Correct ca_file") as caught:
            await caller.call(Origin("https", "127.0.0.1", 1, str(tmp_path / name)))
        assert caught.value.code == "tls_failure"
        assert caller.pool.open == 0


@pytest.mark.parametrize(("stage", "code"), [("request", "connection_reset"), ("chunk", "upstream_cut")])
async def test_breaks_under_tls(stage: str, code: str, authority: Authority) -> None:
    async with ScriptedUpstream(reset_at(stage), tls=authority.serving("127.0.0.1")) as upstream, calling() as caller:
        with pytest.raises(UpstreamFault) as caught:
            await caller.call(origin_of(upstream, ca_file=authority.file))
        assert caught.value.code == code
        assert caller.pool.open == 0


async def test_a_stalled_reply_under_tls_is_let_go_of(authority: Authority) -> None:
    limits = Timeouts(connect_s=PATIENCE_S, first_byte_s=0.1, idle_s=PATIENCE_S)
    stalling = ScriptedUpstream(stall_before_headers, tls=authority.serving("127.0.0.1"))
    async with stalling as upstream, calling() as caller:
        with pytest.raises(UpstreamFault) as caught:
            await caller.call(origin_of(upstream, ca_file=authority.file), timeouts=limits)
        assert caught.value.code == "first_byte_timeout"
        await until(lambda: upstream.open_connections == 0)


class TunnellingProxy:
    """CONNECT answered with 200, then bytes both ways to `port`, whatever name was asked for."""

    def __init__(self, port: int) -> None:
        self.port = port

    async def __call__(self, request: Request, conn: Conn) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        await conn.send(b"HTTP/1.1 200 Connection established\r\nVia: proxy\r\n\r\n")

        async def back() -> None:
            while data := await reader.read(65536):
                await conn.send(data)

        returning = asyncio.create_task(back())
        try:
            while data := await conn.read_some():
                writer.write(data)
        finally:
            returning.cancel()
            writer.close()
            await conn.close()


async def test_https_through_a_proxy(authority: Authority) -> None:
    behind = ScriptedUpstream(json_reply("through"), tls=authority.serving("api.test"))
    async with behind as upstream, ScriptedUpstream(TunnellingProxy(upstream.port)) as proxy:
        async with calling(proxies={"https": f"http://user:word@127.0.0.1:{proxy.port}"}) as caller:
            for _ in range(2):
                assert await caller.call(Origin("https", "api.test", 443, authority.file)) == b'"through"'
        (asked,) = proxy.requests
        assert (asked.method, asked.target) == ("CONNECT", "api.test:443")
        assert asked.headers == [(b"Host", b"api.test:443"), (b"Proxy-Authorization", b"Basic dXNlcjp3b3Jk")]
        assert [request.connection for request in upstream.requests] == [0, 0]
        assert upstream.requests[0].header("proxy-authorization") is None


async def test_http_through_a_proxy() -> None:
    async with ScriptedUpstream(json_reply(1)) as proxy:
        async with calling(proxies={"http": f"http://user:word@127.0.0.1:{proxy.port}"}) as caller:
            assert await caller.call(Origin("http", "models.test", 8080)) == b"1"
        (asked,) = proxy.requests
        assert asked.target == "http://models.test:8080/v1/chat/completions"
        assert asked.header("host") == "models.test:8080"
        assert asked.header("proxy-authorization") == "Basic dXNlcjp3b3Jk"
        assert caller.attempts[0].address == "models.test"


@pytest.mark.parametrize(
    "script",
    [
        json_reply({}, 407),
        raw(b"HTTP/1.1 502 Bad Gateway\r\nConnection: close\r\n\r\nno", close=True),
        raw(b"not http\r\n\r\n"),
        raw(b"", close=True),
    ],
    ids=["407", "502", "not http", "closed"],
)
async def test_a_proxy_that_refuses(script: Script, authority: Authority) -> None:
    async with ScriptedUpstream(script) as proxy:
        async with calling(proxies={"https": f"http://user:word@127.0.0.1:{proxy.port}"}) as caller:
            with pytest.raises(UpstreamFault) as caught:
                await caller.call(Origin("https", "api.test", 443, authority.file), timeouts=PATIENT)
            assert caught.value.code == "connect_failed"
            assert "word" not in caught.value.message
            assert caller.pool.open == 0
        await until(lambda: proxy.open_connections == 0)


async def test_a_proxy_that_is_not_there(authority: Authority) -> None:
    async with calling(proxies={"all": "http://127.0.0.1:1"}) as caller:
        with pytest.raises(UpstreamFault) as caught:
            await caller.call(Origin("https", "api.test", 443, authority.file))
        assert caught.value.code == "connection_refused"
