"""`prompt_cache_key`, filled in by rule: what the upstream sees, and what is recorded of the caller."""

from __future__ import annotations

import gzip
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from proxy.openai.prompt_cache import caller_key, prefix_key, session_key
from tests.wire.proxied import Caller, post, proxied
from tests.wire.scripted import Request, ScriptedUpstream, json_reply, sse
from tests.wire.test_transparency import ANSWER

CHAT = (
    b'{ "model":"gpt-5", "messages" : [{"role":"system","content":"Be \\u00e9"}, {"role":"user","content":"x"}],'
    b'"tools":[{"type":"function","function":{"name":"f"}}],"temperature":1.0e0 , "metadata":{"session_id":"talk"}}'
)
RESPONSE = b'{"model":"gpt-5","instructions":"Be brief","input":"x","conversation":"talk"}'
KEYS = {"session": session_key("talk"), "key": caller_key("", b"Bearer sk-caller")}


async def sent(
    tmp_path: Path,
    rule: str,
    body: bytes,
    *headers: tuple[str, str],
    path: str = "/v1/chat/completions",
    answer: Any = json_reply(ANSWER),  # noqa: B008 - a script keeps nothing
    **options: Any,
) -> tuple[Request, Any]:
    """What the upstream got of one call, and its completed record."""
    async with (
        ScriptedUpstream(answer) as upstream,
        proxied(tmp_path, upstream.url, upstream={"prompt_cache_key": rule}, **options) as proxy,
    ):
        caller = await Caller.connect(proxy)
        await caller.send(post(path, body, ("Authorization", "Bearer sk-caller"), *headers))
        await caller.reply()
        record = await proxy.record()
        caller.close()
    (request,) = upstream.requests
    return request, record


def with_key(body: bytes, key: str) -> bytes:
    return b'{"prompt_cache_key":"' + key.encode() + b'",' + body[1:]


@pytest.mark.parametrize(("path", "body"), [("/v1/chat/completions", CHAT), ("/v1/responses", RESPONSE)])
@pytest.mark.parametrize("rule", ["off", "session", "key", "prefix"])
async def test_the_upstream_sees_the_key_and_the_record_what_the_caller_sent(
    tmp_path: Path, rule: str, path: str, body: bytes
) -> None:
    request, record = await sent(tmp_path, rule, body, path=path)
    key = KEYS.get(rule) or prefix_key(body)
    assert request.body == (body if rule == "off" else with_key(body, key))
    assert record.request_body == body
    assert record.request_bytes == len(body)


@pytest.mark.parametrize("rule", ["session", "key", "prefix"])
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", CHAT[:-1] + b',"prompt_cache_key":"own"}'),
        ("/v1/completions", b'{"model":"gpt-3.5","prompt":"x","user":"talk"}'),
        ("/v1/embeddings", b'{"model":"e","input":"x","user":"talk"}'),
        ("/v1/responses/input_tokens", b'{"model":"gpt-5","instructions":"x","input":"x"}'),
    ],
)
async def test_other_calls_travel_untouched(tmp_path: Path, rule: str, path: str, body: bytes) -> None:
    request, _ = await sent(tmp_path, rule, body, path=path)
    assert request.body == body


@pytest.mark.parametrize("rule", ["session", "prefix"])
async def test_a_call_without_anything_to_go_by_travels_untouched(tmp_path: Path, rule: str) -> None:
    body = b'{"model":"gpt-5", "messages":[{"role":"user","content":"x"}]}'
    request, _ = await sent(tmp_path, rule, body)
    assert request.body == body


async def test_a_null_is_no_key_of_its_own(tmp_path: Path) -> None:
    request, _ = await sent(tmp_path, "key", b'{"model":"gpt-5","prompt_cache_key": null,"messages":[]}')
    assert request.body == b'{"model":"gpt-5","prompt_cache_key": "%s","messages":[]}' % KEYS["key"].encode()


async def test_a_penstock_key_is_known_by_its_id(tmp_path: Path) -> None:
    hashed = hashlib.sha256(b"sk-caller").hexdigest()
    request, record = await sent(tmp_path, "key", CHAT, server={"keys": (f"sha256:{hashed}",)})
    assert record.key_id
    assert json.loads(request.body)["prompt_cache_key"] == caller_key(record.key_id, b"")


async def test_a_body_with_a_coding_is_sent_plain(tmp_path: Path) -> None:
    coded = [("Content-Encoding", "gzip"), ("Accept-Encoding", "br")]
    request, record = await sent(tmp_path, "session", gzip.compress(CHAT), *coded)
    assert request.body == with_key(CHAT, KEYS["session"])
    names = {name.lower(): value for name, value in request.headers}
    assert b"content-encoding" not in names
    assert names[b"accept-encoding"] == b"br"
    assert gzip.decompress(record.request_body) == CHAT


async def test_usage_is_asked_for_in_the_same_body(tmp_path: Path) -> None:
    body = CHAT[:-1] + b',"stream":true}'
    chunk = {"id": "c", "object": "chat.completion.chunk", "choices": [], "usage": ANSWER["usage"]}
    request, record = await sent(tmp_path, "prefix", body, answer=sse([chunk]))
    added = {"stream_options": {"include_usage": True}, "prompt_cache_key": prefix_key(CHAT)}
    assert json.loads(request.body) == json.loads(body) | added
    assert request.body.endswith(body[1:])
    assert record.input_tokens == 19
