"""One item asked live: what is tried again, when the tier changes, and what it is answered with when nothing comes."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from proxy.batching.item import Context, encode_context
from proxy.batching.live.asking import Asked, ask
from proxy.errors import ClientFault, UpstreamFault
from proxy.exchange import Exchange
from proxy.reply import RawHeaders, Reply

SECOND = 1_000_000_000
NOW_NS = 1_000_000 * SECOND
BODY = b'{"model":"gpt-5","messages":[]}'
NO_ROOM = b'{"error":{"message":"Resource unavailable","code":"resource_unavailable"}}'


def row(tier: str = "", left_s: float = 3600.0, headers: RawHeaders | None = None) -> Any:
    context = Context(request_id="r", trace_id="t", span_id="s", start_ns=NOW_NS, key_id="k", headers=headers or [])
    return SimpleNamespace(
        id="item", path="/v1/chat/completions", body=BODY, tier=tier, upstream="main", context=encode_context(context),
        created_ns=NOW_NS, deadline_ns=NOW_NS + int(left_s * SECOND),
    )  # fmt: skip


class Upstream:
    """Answers in turn, the last answer again and again. Its clock only moves while somebody sleeps."""

    def __init__(self, *answers: Callable[[], Reply] | Exception) -> None:
        self.answers = list(answers)
        self.exchanges: list[Exchange] = []
        self.bodies: list[bytes] = []
        self.slept: list[float] = []
        self.now_ns = NOW_NS

    async def __call__(self, exchange: Exchange) -> Reply:
        self.exchanges.append(exchange)
        self.bodies.append(exchange.sent or exchange.body.data or b"")
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer()

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now_ns += int(seconds * SECOND)

    async def ask(self, item: Any, credential: RawHeaders | None = None) -> Asked:
        return await ask(item, credential or [], self, clock=lambda: self.now_ns, sleep=self.sleep)


def reply(status: int = 200, body: bytes = b"{}", *headers: tuple[bytes, bytes]) -> Callable[[], Reply]:
    return lambda: Reply(status, [(b"Content-Type", b"application/json"), *headers], body)


def code(asked: Asked) -> str:
    return str(json.loads(asked.answer.body)["error"]["code"])


async def test_the_reply_is_the_answer() -> None:
    upstream = Upstream(
        reply(200, b'{"id":1}', (b"X-Request-Id", b"q"), (b"openai-version", b"v"), (b"Set-Cookie", b"c"))
    )
    asked = await upstream.ask(row())
    assert (asked.answer.status, asked.answer.body, asked.outcome) == (200, b'{"id":1}', "answered")
    assert [name.lower() for name, _ in asked.answer.headers] == [b"content-type", b"x-request-id", b"openai-version"]
    assert upstream.bodies == [BODY]


async def test_the_call_goes_out_as_the_callers() -> None:
    upstream = Upstream(reply())
    headers = [(b"OpenAI-Beta", b"x"), (b"Accept-Encoding", b"br"), (b"Content-Encoding", b"gzip")]
    await upstream.ask(row(headers=headers), [(b"authorization", b"Bearer sk-1")])
    (exchange,) = upstream.exchanges
    assert exchange.header(b"authorization") == b"Bearer sk-1"
    assert exchange.header(b"openai-beta") == b"x"
    assert exchange.header(b"accept-encoding") == b"identity"
    assert exchange.header(b"content-encoding") is None
    assert (exchange.upstream, exchange.path, exchange.endpoint) == ("main", "/v1/chat/completions", "chat")
    assert (exchange.key_id, exchange.call is not None) == ("k", True)


@pytest.mark.parametrize(
    "passing",
    [
        reply(429, b'{"error":{"code":"rate_limit_exceeded"}}'),
        reply(408, b"{}"),
        reply(503, b"busy"),
        UpstreamFault("no connection", code="connect_failed", replayable=True),
    ],
)
@pytest.mark.parametrize("tier", ["", "standard", "flex"])
async def test_what_passes_is_tried_again_with_growing_pauses(
    passing: Callable[[], Reply] | Exception, tier: str
) -> None:
    upstream = Upstream(passing, passing, passing, passing, reply())
    asked = await upstream.ask(row(tier))
    assert (asked.answer.status, asked.outcome, len(upstream.bodies)) == (200, "answered", 5)
    assert 2 <= upstream.slept[0] <= 4
    assert upstream.slept[0] < upstream.slept[2] <= 60


async def test_after_five_tries_the_refusal_is_the_answer() -> None:
    upstream = Upstream(reply(503, b"busy"))
    asked = await upstream.ask(row())
    assert (asked.answer.status, asked.answer.body, asked.outcome) == (503, b"busy", "answered")
    assert len(upstream.bodies) == 5


async def test_after_five_tries_the_fault_is_the_answer() -> None:
    asked = await Upstream(UpstreamFault("no reply", code="first_byte_timeout", status=504)).ask(row())
    assert (asked.answer.status, code(asked), asked.outcome) == (504, "first_byte_timeout", "failed")
    assert asked.error_type == "first_byte_timeout"


async def test_a_pause_is_never_shorter_than_retry_after() -> None:
    upstream = Upstream(reply(429, b"{}", (b"Retry-After", b"90")), reply())
    await upstream.ask(row())
    assert upstream.slept[0] >= 90


async def test_no_pause_outlasts_the_deadline() -> None:
    upstream = Upstream(reply(429, b"{}", (b"Retry-After", b"90")))
    asked = await upstream.ask(row(left_s=80))
    assert (asked.answer.status, upstream.slept) == (429, [])


@pytest.mark.parametrize("status", [400, 401, 404, 413, 422])
async def test_other_refusals_are_the_answer_at_once(status: int) -> None:
    upstream = Upstream(reply(status, b'{"error":{}}'))
    assert (await upstream.ask(row())).answer.status == status
    assert len(upstream.bodies) == 1


async def test_a_fault_of_the_call_is_the_answer() -> None:
    asked = await Upstream(ClientFault("bad", code="invalid_path")).ask(row())
    assert (asked.answer.status, code(asked), asked.outcome) == (400, "invalid_path", "rejected")


async def test_it_is_asked_at_the_flex_tier_then_at_the_standard_one() -> None:
    flex, standard = (b'{"service_tier":"%s",' % tier + BODY[1:] for tier in (b"flex", b"default"))
    upstream = Upstream(*[reply(429, NO_ROOM)] * 500, reply())

    async def inner(exchange: Exchange) -> Reply:
        if exchange.sent == standard:
            upstream.answers = upstream.answers[-1:]
            assert upstream.now_ns == NOW_NS + 780 * SECOND
        return await upstream(exchange)

    asked = await ask(row("flex", 900), [], inner, clock=lambda: upstream.now_ns, sleep=upstream.sleep)
    assert asked.answer.status == 200
    assert set(upstream.bodies[:-1]) == {flex}
    assert upstream.bodies[-1] == standard


@pytest.mark.parametrize(("tier", "sent"), [("standard", b'{"service_tier":"default",'), ("", b'{"model"')])
async def test_the_standard_tier_is_named_and_a_local_upstream_has_none(tier: str, sent: bytes) -> None:
    upstream = Upstream(reply())
    await upstream.ask(row(tier))
    assert upstream.bodies[0].startswith(sent)


async def test_nothing_is_asked_after_the_deadline() -> None:
    upstream = Upstream(reply())
    asked = await upstream.ask(row(left_s=0))
    assert (asked.answer.status, code(asked), asked.outcome) == (504, "batch_deadline_exceeded", "failed")
    assert upstream.bodies == []


async def test_what_is_being_asked_ends_at_the_deadline() -> None:
    async def silent(exchange: Exchange) -> Reply:
        await asyncio.Event().wait()
        raise AssertionError

    asked = await ask(row(left_s=0.02), [], silent, clock=lambda: NOW_NS)
    assert (code(asked), asked.outcome) == ("batch_deadline_exceeded", "failed")


class Body:
    def __init__(self, *pieces: bytes | Exception) -> None:
        self.pieces = list(pieces)
        self.closed = 0

    async def read(self) -> bytes:
        piece = self.pieces.pop(0) if self.pieces else b""
        if isinstance(piece, Exception):
            raise piece
        return piece

    async def aclose(self) -> None:
        self.closed += 1


async def test_a_reply_that_breaks_off_is_asked_for_again() -> None:
    broken, whole = Body(b'{"id"', UpstreamFault("broke off", code="upstream_closed")), Body(b'{"id"', b":2}")
    upstream = Upstream(lambda: Reply(200, [], broken), lambda: Reply(200, [], whole))
    asked = await upstream.ask(row())
    assert (asked.answer.body, broken.closed, whole.closed) == (b'{"id":2}', 1, 1)


async def test_a_compressed_reply_is_kept_plain() -> None:
    upstream = Upstream(reply(200, gzip.compress(b'{"id":3}'), (b"Content-Encoding", b"gzip")))
    asked = await upstream.ask(row())
    assert asked.answer.body == b'{"id":3}'
    assert not any(name.lower() == b"content-encoding" for name, _ in asked.answer.headers)
