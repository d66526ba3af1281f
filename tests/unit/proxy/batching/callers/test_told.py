"""What cannot be told as a stream is told as an error that says so."""

from __future__ import annotations

import json

import pytest

from proxy.batching.callers.told import as_stream
from proxy.batching.item import Answer
from proxy.openai.call import Endpoint
from tests.wire.deferred import chat_answer, whole

UNFINISHED = chat_answer() | {"choices": [{"index": 0, "message": {"role": "assistant", "content": "Hel"}}]}


@pytest.mark.parametrize("endpoint", ["chat", "completions", "responses"])
@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (whole(UNFINISHED), "not_streamable"),
        (Answer(status=200, body=b"<html>"), "not_streamable"),
        (Answer(status=502, body=b"<html>"), "batch_item_failed"),
        (whole({"error": "no"}, 500), "batch_item_failed"),
        (whole({"error": {"message": "No.", "code": "theirs"}}, 400), "theirs"),
    ],
)
def test_errors_in_a_stream(endpoint: Endpoint, answer: Answer, code: str) -> None:
    (event,) = as_stream(endpoint, answer, include_usage=True).decode().split("\n\n")[:-1]
    data = json.loads(event.rpartition("data: ")[2])
    assert data["error"]["code"] == code
    assert data["error"]["message"]
    assert event.startswith("event: error\n") is (endpoint == "responses")
    if endpoint == "responses":
        assert (data["type"], data["code"], data["message"]) == ("error", code, data["error"]["message"])
