"""The order of the chain, and bodies that are read once."""

from __future__ import annotations

import pytest

from proxy.chain import Handler, Stage, compose
from proxy.errors import ClientFault, Overload, UpstreamFault
from proxy.exchange import Exchange, RequestBody
from proxy.reply import Reply


async def test_the_first_stage_is_outermost() -> None:
    order: list[str] = []

    def stage(name: str) -> Stage:
        async def run(exchange: Exchange, inner: Handler) -> Reply:
            order.append(f"{name} in")
            reply = await inner(exchange)
            order.append(f"{name} out")
            return reply

        return run

    async def last(exchange: Exchange) -> Reply:
        order.append("last")
        return Reply(200)

    await compose([stage("a"), stage("b")], last)(None)  # type: ignore[arg-type]  # no stage looks at it
    assert order == ["a in", "b in", "last", "b out", "a out"]


class Source:
    def __init__(self, *pieces: bytes) -> None:
        self.pieces = [*pieces, b""]

    async def read(self) -> bytes:
        return self.pieces.pop(0)


async def test_a_body_that_was_read_whole_is_kept() -> None:
    body = RequestBody(Source(b"ab", b"cd"), None, 10)
    assert not body.is_whole
    assert await body.whole() == await body.whole() == b"abcd"
    assert body.is_whole
    assert body.received == 4


async def test_a_body_over_its_limit_stops() -> None:
    with pytest.raises(ClientFault) as refused:
        await RequestBody(Source(b"abcd", b"efgh"), None, 7).whole()
    assert refused.value.http_status == 413
    streamed = RequestBody(Source(b"abcd", b"efgh"), None, 7)
    assert await streamed.read() == b"abcd"
    with pytest.raises(ClientFault):
        await streamed.read()


def test_errors_are_answered_in_openai_s_envelope() -> None:
    reply = Overload("later", code="busy", retry_after_s=0.2).reply()
    assert reply.status == 503
    assert (b"Retry-After", b"1") in reply.headers
    assert reply.body == b'{"error":{"message":"later","type":"overloaded_error","param":null,"code":"busy"}}'
    assert UpstreamFault("x", code="c", status=504).reply().status == 504
