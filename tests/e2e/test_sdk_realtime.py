"""WebSockets through the official SDK's realtime client: messages both ways, recorded with the usage they tell."""

from __future__ import annotations

import openai
import pytest

from .serve import Penstock
from .stage import Stage

HEADERS = {"x-penstock-upstream": "realtime"}


# The SDK connects in a way that the newest websockets finds old.
@pytest.mark.filterwarnings("ignore:connect\\(\\) must be used as a context manager:DeprecationWarning")
def test_a_realtime_session(proxy: Penstock, stage: Stage, client: openai.OpenAI, call_id: str) -> None:
    headers = {**HEADERS, "x-penstock-tags": f"call={call_id}"}
    with client.realtime.connect(model="gpt-realtime", extra_headers=headers) as connection:
        assert connection.recv().type == "session.created"
        connection.response.create()
        text = []
        for event in connection:
            if event.type == "response.output_text.delta":
                text.append(event.delta)
            elif event.type == "response.done":
                assert event.response.usage is not None
                assert event.response.usage.output_tokens == 7
                break
    assert text == ["Gate ", "open."]
    assert stage.realtime_requests[-1] == {"model": "gpt-realtime", "authorization": "Bearer sk-callers-own"}
    row = proxy.row_of_tag("call", call_id)
    assert (row["outcome"], row["status"], row["path"]) == ("answered", 101, "/v1/realtime")
    assert (row["input_tokens"], row["cached_tokens"], row["output_tokens"]) == (11, 4, 7)


async def test_a_session_refused_by_the_upstream_is_refused_alike(proxy: Penstock, call_id: str) -> None:
    from websockets.asyncio.client import connect
    from websockets.exceptions import InvalidStatus

    url = f"{proxy.base_url.replace('http', 'ws', 1)}/realtime?model=refused"
    with pytest.raises(InvalidStatus) as caught:
        async with connect(url, additional_headers={**HEADERS, "x-penstock-tags": f"call={call_id}"}):
            pass
    assert caught.value.response.status_code == 404
    assert proxy.row_of_tag("call", call_id)["status"] == 404


async def test_binary_messages_and_the_close_code_are_handed_on(proxy: Penstock, call_id: str) -> None:
    from websockets.asyncio.client import connect

    url = f"{proxy.base_url.replace('http', 'ws', 1)}/realtime?model=gpt-realtime"
    headers = {**HEADERS, "x-penstock-tags": f"call={call_id}"}
    async with connect(url, additional_headers=headers, subprotocols=["realtime"]) as socket:  # type: ignore[list-item]
        assert socket.subprotocol == "realtime"
        await socket.recv()
        await socket.send(b"\x00\x01\xff" * 50_000)
        assert await socket.recv() == b"\xff\x01\x00" * 50_000
    row = proxy.row_of_tag("call", call_id)
    assert (row["outcome"], row["request_bytes"]) == ("answered", 150_000)
    assert row["response_bytes"] > 150_000
