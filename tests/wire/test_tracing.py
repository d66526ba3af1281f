"""A caller's trace goes on through Penstock; a caller without one gets none sent upstream."""

from __future__ import annotations

from pathlib import Path

from tests.wire.proxied import Caller, post, proxied
from tests.wire.scripted import ScriptedUpstream, json_reply
from tests.wire.test_transparency import ANSWER, CHAT

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


async def test_the_caller_s_trace_goes_on_with_our_span_as_the_parent(tmp_path: Path) -> None:
    async with ScriptedUpstream(json_reply(ANSWER)) as upstream, proxied(tmp_path, upstream.url) as proxy:
        caller = await Caller.connect(proxy)
        sent = [
            ("Traceparent", f"00-{TRACE}-{PARENT}-00"),
            ("tracestate", "vendor=1,other=2"),
            ("baggage", "user.id=ada,session.id=s1;p=1,x=%20y"),
        ]
        await caller.send(post("/v1/chat/completions", CHAT, *sent))
        await caller.reply()
        record = await proxy.record()
        caller.close()
    request = upstream.requests[0]
    assert request.header("traceparent") == f"00-{TRACE}-{record.span_id}-00", "the flags are the caller's"
    assert request.header("tracestate") == "vendor=1,other=2"
    assert request.header("baggage") == sent[2][1]
    assert (record.trace_id, record.parent_span_id, record.trace_state) == (TRACE, PARENT, "vendor=1,other=2")
    assert (record.user, record.session) == ("ada", "s1")
    assert record.attempts[0].span_id not in (record.span_id, PARENT)


async def test_a_caller_without_a_trace_gets_a_record_with_one(tmp_path: Path) -> None:
    async with ScriptedUpstream(json_reply(ANSWER)) as upstream, proxied(tmp_path, upstream.url) as proxy:
        caller = await Caller.connect(proxy)
        await caller.send(post("/v1/chat/completions", CHAT, ("traceparent", "00-zz-1-01"), ("tracestate", "a=1")))
        await caller.reply()
        await caller.send(post("/v1/chat/completions", CHAT))
        await caller.reply()
        caller.close()
        records = proxy.records()
    assert upstream.requests[0].header("traceparent") == "00-zz-1-01", "what is no trace passes untouched"
    assert upstream.requests[1].header("traceparent") is None
    for record in records:
        assert (record.trace_id, record.parent_span_id, record.trace_state) == (record.request_id, "", "")
