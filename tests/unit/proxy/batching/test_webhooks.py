"""Webhooks: who is told what, how often it is tried, and that a restart forgets none."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
import openai
import pytest

from proxy.batching.database import Database
from proxy.batching.finishing import cancel
from proxy.batching.lease import LeaseHolder
from proxy.batching.signing import BadSecret, signed, signing_key
from proxy.batching.webhooks import PAUSES_S, Webhooks
from proxy.http.delivery import Forbidden, Undelivered
from proxy.settings import Settings
from tests.unit.proxy.batching.an_item import KEEP_S, LASTING_S, NOW_NS, answer, finished, item, put, rows

URL = "https://hooks.example/deferred?token=secret"
SECRET = "whsec_" + base64.b64encode(b"a key of the tests").decode()
SECOND = 1_000_000_000


class Posts:
    """Takes deliveries, and answers what it is told to."""

    def __init__(self) -> None:
        self.got: list[tuple[str, dict[str, str], bytes]] = []
        self.says: Callable[[str], int] = lambda _: 200
        self.gate = asyncio.Event()
        self.gate.set()
        self.open = 0
        self.most = 0

    async def post(self, url: str, headers: dict[str, str], body: bytes) -> int:
        self.got.append((url, headers, body))
        self.open += 1
        self.most = max(self.most, self.open)
        try:
            await self.gate.wait()
            return self.says(url)
        finally:
            self.open -= 1

    async def aclose(self) -> None: ...


class Scene:
    def __init__(self, settings: Settings, database: Database) -> None:
        batch = msgspec.structs.replace(settings.batch, webhook_secret=SECRET)
        self.settings = msgspec.structs.replace(settings, batch=batch)
        self.database = database
        self.posts = Posts()
        self.now_ns = NOW_NS
        self.holder = LeaseHolder(database, expiry_s=LASTING_S)
        self.lease: Any = None
        self.webhooks = self.make()

    def make(self) -> Webhooks:
        return Webhooks(self.settings, self.database, posts=self.posts, clock=lambda: self.now_ns, dice=lambda: 0.5)

    def end(self, number: int, status: int = 200, url: str = URL) -> None:
        put(self.database, item(number, webhook=url))
        with self.database.transaction() as connection:
            answer(connection, finished(number, status=status))

    async def step(self) -> float:
        self.lease = self.lease or await self.holder.acquire()
        return await self.webhooks.step(self.lease)

    async def settle(self) -> None:
        """Until nothing is due."""
        async with asyncio.timeout(60):
            while not await self.step():
                pass

    @property
    def state(self) -> tuple[str, int, int]:
        """Of the first item: its webhook's state, tries, and the seconds until the next."""
        state, attempts, at_ns = rows(self.database, "webhook_state", "webhook_attempts", "webhook_at_ns")["item-1"]
        return state, attempts, (at_ns - self.now_ns) // SECOND if at_ns else 0


@pytest.fixture
async def there(settings: Settings, database: Database) -> AsyncIterator[Scene]:
    made = Scene(settings, database)
    yield made
    await made.webhooks.aclose()
    await made.holder.release()


@pytest.mark.parametrize(("status", "kind"), [(200, "completed"), (400, "failed"), (503, "failed")])
async def test_an_answer_is_told_once_and_the_official_sdk_believes_it(there: Scene, status: int, kind: str) -> None:
    there.end(1, status)
    await there.settle()
    await there.settle()
    ((url, headers, body),) = there.posts.got
    assert url == URL
    told = json.loads(body)
    assert (told["type"], told["created_at"]) == (f"deferred.{kind}", NOW_NS // SECOND)
    assert told["data"] == {"id": "item-1", "status": kind, "location": "/penstock/deferred/item-1"}
    assert headers["webhook-id"] == "msg_item-1"
    assert there.state == ("delivered", 1, 0)


async def test_the_signature_is_what_the_official_sdk_expects() -> None:
    body = b'{"type":"deferred.completed"}'
    client = openai.OpenAI(api_key="x", webhook_secret=SECRET)
    now_s = time.time_ns() // SECOND
    headers = signed(signing_key(SECRET), "msg_1", now_s, body)
    assert client.webhooks.unwrap(body, headers).type == "deferred.completed"
    with pytest.raises(openai.InvalidWebhookSignatureError):
        client.webhooks.unwrap(body + b" ", headers)
    plain = openai.OpenAI(api_key="x", webhook_secret="a plain secret")
    assert plain.webhooks.unwrap(body, signed(signing_key("a plain secret"), "msg_1", now_s, body))


def test_without_a_secret_nothing_is_signed() -> None:
    assert set(signed(signing_key(""), "msg_1", 1, b"")) == {"webhook-id", "webhook-timestamp"}


@pytest.mark.parametrize("secret", ["whsec_", "whsec_???", "whsec_abc"])
def test_a_secret_that_is_none_is_refused(secret: str) -> None:
    with pytest.raises(BadSecret):
        signing_key(secret)


async def test_a_call_that_was_cancelled_is_told_so(there: Scene) -> None:
    put(there.database, item(1, webhook=URL))
    with there.database.transaction() as connection:
        cancel(connection, ["item-1"], now_ns=NOW_NS, keep_s=KEEP_S)
    await there.settle()
    ((_, _, body),) = there.posts.got
    assert json.loads(body)["type"] == "deferred.cancelled"


async def test_a_call_without_a_webhook_tells_nobody(there: Scene) -> None:
    there.end(1, url="")
    await there.settle()
    assert there.posts.got == []


def _lost(_: str) -> int:
    raise Undelivered("no reply within 10 s")


@pytest.mark.parametrize("says", [lambda _: 500, lambda _: 301, lambda _: 404, _lost])
async def test_it_is_tried_again_at_growing_intervals_then_given_up(
    there: Scene, says: Callable[[str], int], caplog: pytest.LogCaptureFixture
) -> None:
    there.posts.says = says
    there.end(1)
    for tries, pause_s in enumerate(PAUSES_S, 1):
        await there.settle()
        assert there.state == ("waiting", tries, int(pause_s * 1.1))
        there.now_ns += int(pause_s * 1.1) * SECOND - 1
        await there.settle()
        assert len(there.posts.got) == tries
        there.now_ns += 2 * SECOND
    await there.settle()
    assert there.state == ("given_up", len(PAUSES_S) + 1, 0)
    assert "item-1 is given up after 8 tries" in caplog.text
    assert "secret" not in caplog.text
    assert len({body for _, _, body in there.posts.got}) == 1
    assert len({headers["webhook-signature"] for _, headers, _ in there.posts.got}) == 8


async def test_a_receiver_that_is_gone_is_not_told_again(there: Scene) -> None:
    there.posts.says = lambda _: 410
    there.end(1)
    await there.settle()
    assert there.state == ("given_up", 1, 0)


async def test_what_may_never_be_sent_is_given_up_at_once(there: Scene) -> None:
    def says(_: str) -> int:
        raise Forbidden("leads to a private address")

    there.posts.says = says
    there.end(1)
    await there.settle()
    assert there.state == ("given_up", 1, 0)


async def test_a_restart_neither_forgets_nor_hurries(there: Scene) -> None:
    there.posts.says = lambda _: 500
    there.end(1)
    await there.settle()
    await there.webhooks.aclose()
    there.webhooks = there.make()
    await there.settle()
    assert len(there.posts.got) == 1
    there.now_ns += 6 * SECOND
    there.posts.says = lambda _: 204
    await there.settle()
    assert there.state == ("delivered", 2, 0)


async def test_what_was_being_told_when_it_ended_is_told_again(there: Scene) -> None:
    there.posts.gate.clear()
    there.end(1)
    await there.step()
    await there.webhooks.aclose()
    assert there.state[:2] == ("waiting", 0)
    there.webhooks = there.make()
    there.posts.gate.set()
    await there.settle()
    assert (there.state[0], len(there.posts.got)) == ("delivered", 2)


async def test_a_slow_host_does_not_keep_the_others_waiting(there: Scene) -> None:
    for number in range(1, 31):
        there.end(number)
    there.end(40, url="https://other.example/")
    there.posts.gate.clear()
    await there.step()
    await there.step()
    hosts = [url.split("/")[2] for url, _, _ in there.posts.got]
    assert (hosts.count("hooks.example"), hosts.count("other.example")) == (8, 1)
    there.posts.gate.set()
    await there.settle()
    assert set(rows(there.database, "webhook_state").values()) == {"delivered"}
    assert (len(there.posts.got), there.posts.most) == (31, 9)


async def test_a_defect_holds_up_no_other(there: Scene, caplog: pytest.LogCaptureFixture) -> None:
    def says(url: str) -> int:
        if url == URL:
            raise RuntimeError("a defect")
        return 200

    there.posts.says = says
    there.end(1)
    there.end(2, url="https://other.example/")
    await there.settle()
    assert there.state[:2] == ("waiting", 1)
    assert rows(there.database, "webhook_state")["item-2"] == "delivered"
