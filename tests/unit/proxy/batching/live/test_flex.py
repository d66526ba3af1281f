"""Asking at the flex tier: what is tried again, for how long, and what is left alone."""

from __future__ import annotations

import asyncio
import gzip
import json
import zlib
from collections.abc import Callable
from typing import Any

import pytest

from proxy.batching.live.flex import ask_flex
from proxy.errors import UpstreamFault
from proxy.exchange import Exchange, RequestBody
from proxy.openai.call import Endpoint
from proxy.reply import RawHeaders, Reply

BODY = b'{ "model":"gpt-5", "messages":[] }'
FLEX = b'{"service_tier":"flex", "model":"gpt-5", "messages":[] }'
STANDARD = b'{"service_tier":"default", "model":"gpt-5", "messages":[] }'
NO_ROOM = {"message": "Resource unavailable", "type": "requests", "param": None, "code": "resource_unavailable"}
RATE = {"message": "Rate limit reached for gpt-5", "type": "tokens", "param": None, "code": "rate_limit_exceeded"}
OK = {"service_tier": "flex"}


class Body:
    """A reply that comes in two pieces."""

    def __init__(self, data: bytes) -> None:
        self.pieces = [data[:5], data[5:], b""]
        self.closed = 0

    async def read(self) -> bytes:
        return self.pieces.pop(0)

    async def aclose(self) -> None:
        self.closed += 1


class Upstream:
    """Answers in turn, the last answer again and again. Its clock only moves while somebody sleeps."""

    def __init__(self, *answers: Reply | Exception | Callable[[], Reply]) -> None:
        self.answers = list(answers)
        self.got: list[bytes] = []
        self.slept: list[float] = []
        self.now_ns = 1_000_000_000_000

    async def __call__(self, exchange: Exchange) -> Reply:
        self.got.append(exchange.sent if exchange.sent is not None else exchange.body.data or b"")
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, Reply) else answer()

    def clock(self) -> int:
        return self.now_ns

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now_ns += int(seconds * 1e9)

    async def ask(
        self, wait_s: float = 60.0, body: bytes = BODY, endpoint: Endpoint = "chat", coding: str = ""
    ) -> Reply:
        exchange = exchange_of(body, endpoint, coding)
        return await ask_flex(exchange, self, self.now_ns + int(wait_s * 1e9), clock=self.clock, sleep=self.sleep)


def exchange_of(body: bytes, endpoint: Endpoint = "chat", coding: str = "") -> Exchange:
    fields = {b"content-encoding": coding.encode()} if coding else {}
    whole = RequestBody(None, 0, 1 << 20)
    whole.data = body
    return Exchange(
        "r", "t", "s", "", "", 0, 0.0, "POST", "/v1/chat/completions", "", list(fields.items()), list(fields), fields,
        whole, endpoint,
    )  # fmt: skip


def answer(status: int, document: Any, *headers: tuple[bytes, bytes]) -> Reply:
    return Reply(status, list(headers), json.dumps(document).encode())


def refusal(error: Any, *headers: tuple[bytes, bytes], status: int = 429) -> Callable[[], Reply]:
    return lambda: answer(status, {"error": error}, *headers)


def marks(reply: Reply) -> RawHeaders:
    return [field for field in reply.headers if field[0] == b"x-penstock-batch"]


async def test_the_flex_tier_answers() -> None:
    upstream = Upstream(answer(200, OK))
    reply = await upstream.ask()
    assert (reply.status, json.loads(reply.body), marks(reply)) == (200, OK, [(b"x-penstock-batch", b"flex")])  # type: ignore[arg-type]
    assert upstream.got == [FLEX]


@pytest.mark.parametrize("body", [b'{"service_tier":"priority","a":1}', b'{"service_tier":null,"a":1}'])
async def test_the_tier_of_the_body_gives_way(body: bytes) -> None:
    upstream = Upstream(answer(200, OK))
    await upstream.ask(body=body)
    assert upstream.got == [b'{"service_tier":"flex","a":1}']


async def test_no_room_is_tried_again_with_growing_pauses_then_at_the_standard_tier() -> None:
    upstream = Upstream(*[refusal(NO_ROOM)] * 400, answer(200, OK))

    async def inner(exchange: Exchange) -> Reply:
        standard = exchange.sent is not None and b'"default"' in exchange.sent
        upstream.answers = upstream.answers[-1:] if standard else upstream.answers
        return await upstream(exchange)

    until_ns = upstream.now_ns + 3600 * 10**9
    reply = await ask_flex(exchange_of(BODY), inner, until_ns, clock=upstream.clock, sleep=upstream.sleep)
    assert reply.status == 200
    assert upstream.now_ns == until_ns
    assert upstream.got[-1] == STANDARD
    assert set(upstream.got[:-1]) == {FLEX}
    assert 64 <= len(upstream.slept) <= 300
    assert max(upstream.slept[:3]) <= 0.5 * 2**2
    assert max(upstream.slept) <= 3600 / 64


async def test_after_the_last_pause_the_flex_tier_is_asked_once_more() -> None:
    upstream = Upstream(*[refusal(NO_ROOM)] * 1, answer(200, OK))
    await upstream.ask(wait_s=0.001)
    assert upstream.got == [FLEX, FLEX]


async def test_a_pause_is_never_shorter_than_retry_after() -> None:
    upstream = Upstream(
        refusal(NO_ROOM, (b"Retry-After", b"7")), refusal(NO_ROOM, (b"retry-after-ms", b"8500")), answer(200, OK)
    )
    await upstream.ask()
    assert upstream.slept[0] >= 7
    assert upstream.slept[1] >= 8.5


async def test_a_date_may_say_when_to_come_again() -> None:
    upstream = Upstream(refusal(NO_ROOM, (b"Retry-After", b"Thu, 01 Jan 1970 00:16:55 GMT")), answer(200, OK))
    await upstream.ask()
    assert upstream.slept[0] >= 15


@pytest.mark.parametrize("value", [b"soon", b"nan", b"-5", b""])
async def test_what_says_no_time_is_passed_over(value: bytes) -> None:
    upstream = Upstream(refusal(NO_ROOM, (b"retry-after-ms", value)), answer(200, OK))
    assert (await upstream.ask()).status == 200
    assert len(upstream.got) == 2


@pytest.mark.parametrize("value", [b"61", b"inf"])
async def test_it_is_not_waited_for_what_comes_too_late(value: bytes) -> None:
    upstream = Upstream(refusal(NO_ROOM, (b"retry-after-ms", value + b"000" * (value != b"inf"))), answer(200, OK))
    await upstream.ask()
    assert (upstream.slept, upstream.got) == ([], [FLEX, STANDARD])


@pytest.mark.parametrize(
    "error",
    [
        NO_ROOM,
        {"message": "429 Resource Unavailable: no capacity", "type": "requests", "code": None},
        {"message": "Try again", "type": "resource_unavailable", "code": None},
    ],
)
async def test_no_room_is_known_by_any_of_its_fields(error: dict[str, Any]) -> None:
    upstream = Upstream(refusal(error), answer(200, OK))
    await upstream.ask()
    assert upstream.got == [FLEX, FLEX]


@pytest.mark.parametrize(("coding", "pack"), [(b"gzip", gzip.compress), (b"deflate", zlib.compress)])
async def test_a_refusal_may_be_compressed_and_come_in_pieces(coding: bytes, pack: Callable[[bytes], bytes]) -> None:
    body = Body(pack(json.dumps({"error": NO_ROOM}).encode()))
    upstream = Upstream(Reply(429, [(b"Content-Encoding", coding)], body), answer(200, OK))
    await upstream.ask()
    assert upstream.got == [FLEX, FLEX]
    assert body.closed == 1


async def test_other_429s_are_the_reply() -> None:
    body = Body(json.dumps({"error": RATE}).encode())
    upstream = Upstream(Reply(429, [], body))
    reply = await upstream.ask()
    assert json.loads(reply.body) == {"error": RATE}  # type: ignore[arg-type]
    assert (upstream.got, body.closed) == ([FLEX], 1)


async def test_a_refusal_that_is_too_long_to_be_one_goes_on_as_it_comes() -> None:
    body = Body(b'{"error":{"code":"resource_unavailable","message":"' + b"x" * 70_000)
    upstream = Upstream(Reply(429, [], body))
    reply = await upstream.ask()
    pieces = b""
    while piece := await reply.body.read():  # type: ignore[union-attr]
        pieces += piece
    assert len(pieces) > 70_000
    assert body.closed == 0
    await reply.body.aclose()  # type: ignore[union-attr]
    assert body.closed == 1


@pytest.mark.parametrize(
    ("status", "document"),
    [
        (400, {"error": {"message": "Invalid service_tier argument", "param": "service_tier", "code": None}}),
        (400, {"error": {"message": "Unsupported service_tier: flex", "type": "invalid_request_error"}}),
        (400, {"error": {"message": "Unrecognized request argument supplied: service_tier"}}),
        (400, {"detail": "Unsupported service_tier: flex"}),
        (422, {"error": {"message": "x", "param": "service_tier"}}),
    ],
)
async def test_an_upstream_without_the_tier_is_asked_at_once_as_the_caller_did(
    status: int, document: dict[str, Any]
) -> None:
    upstream = Upstream(answer(status, document), answer(200, OK))
    reply = await upstream.ask()
    assert (reply.status, upstream.slept, upstream.got) == (200, [], [FLEX, BODY])
    assert marks(reply)


async def test_a_tier_that_the_body_named_is_not_fallen_back_to() -> None:
    upstream = Upstream(answer(400, {"error": {"param": "service_tier"}}), answer(200, OK))
    await upstream.ask(body=b'{"service_tier":"flex"}')
    assert upstream.got[-1] == b'{"service_tier":"default"}'


async def test_other_400s_are_the_reply() -> None:
    upstream = Upstream(answer(400, {"error": {"message": "bad", "param": "messages"}}))
    assert (await upstream.ask()).status == 400
    assert upstream.got == [FLEX]


async def test_a_deadline_that_is_over_leaves_the_standard_tier() -> None:
    upstream = Upstream(answer(200, OK))
    await upstream.ask(wait_s=0)
    assert upstream.got == [STANDARD]


@pytest.mark.parametrize(("body", "endpoint"), [(b'{"service_tier":7}', "chat"), (b"[]", "chat"), (BODY, "embeddings")])
async def test_what_cannot_have_a_tier_goes_as_it_came(body: bytes, endpoint: Endpoint) -> None:
    upstream = Upstream(answer(200, OK))
    reply = await upstream.ask(body=body, endpoint=endpoint)
    assert (upstream.got, marks(reply)) == ([body], [])


async def test_a_compressed_body_is_rewritten_plain() -> None:
    upstream = Upstream(answer(200, OK))
    await upstream.ask(body=gzip.compress(BODY), coding="gzip")
    assert upstream.got == [FLEX]


async def test_a_fault_of_the_upstream_is_not_tried_again() -> None:
    upstream = Upstream(UpstreamFault("no reply", code="first_byte_timeout", status=504))
    with pytest.raises(UpstreamFault):
        await upstream.ask()
    assert upstream.got == [FLEX]


async def test_a_caller_that_leaves_ends_the_waiting() -> None:
    upstream = Upstream(refusal(NO_ROOM, (b"Retry-After", b"50")))
    waiting = asyncio.Event()

    async def sleep(seconds: float) -> None:
        waiting.set()
        await asyncio.Event().wait()

    asked = asyncio.ensure_future(
        ask_flex(exchange_of(BODY), upstream, upstream.now_ns + 10**12, clock=upstream.clock, sleep=sleep)
    )
    await waiting.wait()
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    assert upstream.got == [FLEX]
