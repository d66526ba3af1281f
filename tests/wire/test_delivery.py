"""Where deliveries may go: judged when they are connected, on real sockets."""

from __future__ import annotations

import socket
import ssl
from typing import Any

import pytest
import trustme
from aiohttp.abc import AbstractResolver, ResolveResult

from proxy.http.delivery import Deliverer, Forbidden, Undelivered, _Judge
from tests.ports import held_port
from tests.wire.scripted import ScriptedUpstream, chunk, head, in_turn, raw, reply, reset_at, stall_before_headers


class Resolver(AbstractResolver):
    """Leads every name to one address after the other."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = list(addresses)
        self.asked: list[str] = []

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        self.asked.append(host)
        address = self.addresses.pop(0) if len(self.addresses) > 1 else self.addresses[0]
        kind = socket.AF_INET6 if ":" in address else socket.AF_INET
        return [ResolveResult(hostname=host, host=address, port=port, family=kind, proto=0, flags=0)]

    async def close(self) -> None: ...


async def post(url: str, **options: Any) -> int:
    deliverer = Deliverer(**{"timeout_s": 60.0} | options)
    try:
        return await deliverer.post(url, {"webhook-id": "msg_1"}, b'{"a":1}')
    finally:
        await deliverer.aclose()


async def test_a_host_of_the_settings_may_be_private_and_without_tls() -> None:
    async with ScriptedUpstream(reply(204)) as hook:
        assert await post(f"{hook.url}/hook?x=1", hosts=["127.0.0.1"]) == 204
    (request,) = hook.requests
    assert (request.method, request.target, request.body) == ("POST", "/hook?x=1", b'{"a":1}')
    assert request.header("webhook-id") == "msg_1"


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:1/",
        "https://127.0.0.1:1/",
        "https://127.1:1/",
        "https://0x7f000001:1/",
        "https://localhost:1/",
        "https://[::1]:1/",
        "https://[::ffff:10.0.0.1]:1/",
        "https://10.0.0.1:1/",
        "https://169.254.169.254/latest",
        "http://hooks.example:1/",
        "https://user:pass@hooks.example/",
        "ftp://hooks.example/",
    ],
)
async def test_all_other_hosts_are_public_and_have_tls(url: str) -> None:
    with pytest.raises(Forbidden):
        await post(url, hosts=["elsewhere"], resolver=Resolver("127.0.0.1"))


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.1.2.3", "192.168.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "::1", "fe80::1", "fd00::1",
     "::ffff:127.0.0.1", "224.0.0.1"],
)  # fmt: skip
async def test_a_name_that_leads_into_the_network_is_forbidden(address: str) -> None:
    async with ScriptedUpstream(reply(204)) as hook:
        resolver = Resolver(address)
        with pytest.raises(Forbidden, match="private"):
            await post(f"https://hooks.example:{hook.port}/", resolver=resolver)
    assert resolver.asked == ["hooks.example"]
    assert hook.connections == []


async def test_a_name_is_judged_by_where_it_leads_when_it_is_connected_to() -> None:
    authority = trustme.CA()
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("hooks.example").configure_cert(server)
    authority.configure_trust(client)
    async with ScriptedUpstream(reply(200), tls=server) as hook:
        url = f"https://hooks.example:{hook.port}/"
        resolver = Resolver("127.0.0.1")
        assert await post(url, hosts=["Hooks.Example"], resolver=resolver, tls=client) == 200
        deliverer = Deliverer(["other.example"], resolver=resolver, tls=client)
        with pytest.raises(Forbidden):
            await deliverer.post(url, {}, b"")
        await deliverer.aclose()
        with pytest.raises(Undelivered):  # an authority that nobody trusts
            await post(url, hosts=["hooks.example"], resolver=resolver)
    assert len(hook.requests) == 1


async def test_a_second_delivery_is_judged_anew() -> None:
    async with ScriptedUpstream(reply(204)) as hook:
        resolver = Resolver("10.0.0.1", "127.0.0.1")
        deliverer = Deliverer(resolver=resolver)
        with pytest.raises(Forbidden):
            await deliverer.post(f"https://hooks.example:{hook.port}/", {}, b"")
        with pytest.raises(Forbidden):
            await deliverer.post(f"https://hooks.example:{hook.port}/", {}, b"")
        await deliverer.aclose()
    assert (resolver.asked, hook.connections) == (["hooks.example"] * 2, [])


async def test_a_name_is_looked_up_for_each_delivery() -> None:
    async with ScriptedUpstream(reply(204)) as hook:
        resolver = Resolver("127.0.0.1")
        deliverer = Deliverer(["hooks.example"], resolver=resolver)
        for _ in range(2):
            assert await deliverer.post(f"http://hooks.example:{hook.port}/", {}, b"") == 204
        await deliverer.aclose()
    assert (resolver.asked, len(hook.connections)) == (["hooks.example"] * 2, 2)


async def test_of_several_addresses_only_the_public_ones_are_tried() -> None:
    judge = _Judge(_Both(), [])
    assert [one["host"] for one in await judge.resolve("hooks.example")] == ["1.1.1.1"]


class _Both(Resolver):
    """A name with an address within the network and one outside."""

    def __init__(self) -> None:
        super().__init__("10.0.0.1", "1.1.1.1")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [*await super().resolve(host, port, family), *await super().resolve(host, port, family)]


async def test_no_redirect_is_followed() -> None:
    async with (
        ScriptedUpstream(reply(200)) as inner,
        ScriptedUpstream(reply(307, [("Location", inner.url)])) as hook,
    ):
        assert await post(hook.url, hosts=["127.0.0.1"]) == 307
    assert inner.requests == []


async def test_a_reply_without_end_is_not_waited_for() -> None:
    endless = head(200, [("Transfer-Encoding", "chunked")]) + chunk(b"x" * 100_000)
    async with ScriptedUpstream(raw(endless)) as hook:
        assert await post(hook.url, hosts=["127.0.0.1"]) == 200


async def test_what_is_silent_is_not_waited_for() -> None:
    async with ScriptedUpstream(stall_before_headers) as hook:
        with pytest.raises(Undelivered, match=r"no reply within 0.2 s"):
            await post(hook.url, hosts=["127.0.0.1"], timeout_s=0.2)


@pytest.mark.parametrize("script", [reset_at("status"), raw(b"no HTTP\r\n\r\n", close=True)])
async def test_what_breaks_off_or_is_nonsense_is_undelivered(script: Any) -> None:
    async with ScriptedUpstream(script) as hook:
        with pytest.raises(Undelivered) as caught:
            await post(f"{hook.url}/secret", hosts=["127.0.0.1"])
    assert "secret" not in str(caught.value)


async def test_one_deliverer_delivers_many() -> None:
    async with ScriptedUpstream(in_turn(reply(500), reply(200))) as hook:
        deliverer = Deliverer(["127.0.0.1"])
        assert [await deliverer.post(hook.url, {}, b"") for _ in range(2)] == [500, 200]
        await deliverer.aclose()


async def test_no_connection_is_undelivered() -> None:
    with held_port() as port, pytest.raises(Undelivered):
        await post(f"http://127.0.0.1:{port}/", hosts=["127.0.0.1"])
