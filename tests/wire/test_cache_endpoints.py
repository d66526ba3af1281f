"""`/penstock/cache`: what is kept, one reply of it, and how to be rid of some; only for those who may."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import httpx
import pytest

from proxy.settings import Cache
from tests.wire.proxied import Proxied, proxied
from tests.wire.scripted import ScriptedUpstream, json_reply
from tests.wire.test_cache import ON, answer, ask, serving


def hashed(*keys: str) -> tuple[str, ...]:
    return tuple("sha256:" + hashlib.sha256(key.encode()).hexdigest() for key in keys)


async def cache(proxy: Proxied, method: str = "GET", path: str = "", key: str = "") -> httpx.Response:
    headers = {"authorization": f"Bearer {key}"} if key else {}
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{proxy.port}", timeout=60) as client:
        return await client.request(method, f"/penstock/cache{path}", headers=headers)


async def keys_of(proxy: Proxied) -> list[str]:
    stage = proxy.app.cache
    assert stage is not None
    assert await stage._tiers.drain(60)
    return [key async for _, key, _ in stage._tiers.scan()]


async def test_what_is_kept_can_be_counted_seen_and_removed(tmp_path: Path) -> None:
    async with serving(tmp_path, json_reply(answer("Kept."))) as (upstream, proxy, client):
        first = await ask(client)
        await ask(client)
        (key,) = await keys_of(proxy)
        tiers = {one["tier"]: one for one in (await cache(proxy)).json()["tiers"]}
        assert (tiers["memory"]["entries"], tiers["memory"]["hits"], tiers["disk"]["entries"]) == (1, 1, 1)
        seen = (await cache(proxy, path=f"/{key}")).json()
        assert seen["request_id"] == first.headers["x-penstock-request-id"]
        assert (seen["key"], seen["model"], seen["body"]) == (key, "gpt-5-mini", first.text)
        gone = await cache(proxy, "DELETE", f"/{key}")
        assert gone.json()["removed"]["disk"] == 1
        assert (await cache(proxy, path=f"/{key}")).status_code == 404
        assert (await ask(client)).headers["x-penstock-cache"] == "miss"
    assert len(upstream.requests) == 2


@pytest.mark.parametrize(
    ("query", "left"),
    [
        ("?all=true", 0),
        ("?namespace=a", 1),
        ("?namespace=", 1),
        ("?model=gpt-5*", 0),
        ("?model=gpt-4*", 2),
        ("?older_than_s=0", 0),
        ("?older_than_s=3600", 2),
        ("?namespace=a&model=gpt-4", 2),
    ],
)
async def test_what_fits_is_removed(tmp_path: Path, query: str, left: int) -> None:
    async with serving(tmp_path, json_reply(answer())) as (_, proxy, client):
        await ask(client)
        await ask(client, ON | {"x-penstock-cache-namespace": "a"})
        assert len(await keys_of(proxy)) == 2
        reply = await cache(proxy, "DELETE", query)
        assert (reply.status_code, len(await keys_of(proxy))) == (200, left)


@pytest.mark.parametrize(
    "query",
    [
        "",
        "?",
        "?al=true",
        "?all",
        "?all=yes",
        "?all=true&model=x",
        "/k?all=true",
        "?older_than_s=-1",
        "?older_than_s=1d",
        "?x",
    ],
)
async def test_a_purge_that_cannot_be_meant_removes_nothing(tmp_path: Path, query: str) -> None:
    async with serving(tmp_path, json_reply(answer())) as (_, proxy, client):
        await ask(client)
        reply = await cache(proxy, "DELETE", query)
        assert (reply.status_code, reply.json()["error"]["code"]) == (400, "invalid_purge")
        assert len(await keys_of(proxy)) == 1


async def test_only_keys_that_are_named_for_it_may(tmp_path: Path) -> None:
    async with (
        ScriptedUpstream(json_reply(answer())) as upstream,
        proxied(
            tmp_path, upstream.url, server={"keys": hashed("pk-user")}, cache=Cache(keys=hashed("pk-admin"))
        ) as proxy,
    ):
        for method, path in (("GET", ""), ("GET", "/k"), ("DELETE", "?all=true")):
            assert (await cache(proxy, method, path)).status_code == 401
            assert (await cache(proxy, method, path, "pk-user")).status_code == 401
            assert (await cache(proxy, method, path, "pk-admin")).status_code != 401


async def test_where_keys_are_needed_and_none_is_named_nobody_may(tmp_path: Path) -> None:
    async with (
        ScriptedUpstream(json_reply(answer())) as upstream,
        proxied(tmp_path, upstream.url, server={"keys": hashed("pk-user")}) as proxy,
    ):
        replies: list[Any] = [await cache(proxy, key=key) for key in ("", "pk-user")]
    assert [(one.status_code, one.json()["error"]["code"]) for one in replies] == [(403, "cache_keys_missing")] * 2


async def test_it_takes_get_and_delete_and_is_gone_with_the_cache(tmp_path: Path) -> None:
    async with serving(tmp_path, json_reply(answer())) as (_, proxy, _):
        assert (await cache(proxy, "POST")).status_code == 405
    async with serving(tmp_path, json_reply(answer()), Cache(enabled=False)) as (_, proxy, _):
        assert (await cache(proxy)).status_code == 404


async def test_a_purge_in_one_worker_reaches_the_memory_of_another(tmp_path: Path) -> None:
    async with (
        serving(tmp_path, json_reply(answer())) as (_, one, client),
        serving(tmp_path, json_reply(answer())) as (_, other, client_of_other),
    ):
        await ask(client)
        await keys_of(one)
        assert (await ask(client_of_other)).headers["x-penstock-cache"] == "hit"
        await cache(one, "DELETE", "?all=true")
        assert (await ask(client_of_other, ON | {"cache-control": "only-if-cached"})).status_code == 200
        other.app.tick()
        assert (await ask(client_of_other, ON | {"cache-control": "only-if-cached"})).status_code == 504
