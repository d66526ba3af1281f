"""`store.writer = "collector"`: calls go out over OTLP and into no table; feedback is still written."""

from __future__ import annotations

from pathlib import Path

import httpx

from exporters.otlp import REQUEST_BYTES_MAX
from tests.wire.scripted import json_reply

from .serve import penstock, until
from .stage import Stage


def test_calls_are_left_to_the_collector(tmp_path: Path, stage: Stage) -> None:
    """One server is both, the upstream and the Collector, which here writes nothing."""
    stage.play(json_reply({"id": "chatcmpl-other", "object": "chat.completion", "model": "gpt-5-mini", "choices": []}))
    collector = f'[[otlp]]\nname = "collector"\nendpoint = "{stage.url}/v1/traces"\n'
    sections = {"store": {"writer": "collector"}}
    with penstock(tmp_path, upstreams={"stage": f"{stage.url}/v1"}, sections=sections, config=collector) as proxy:
        call = {"model": "gpt-5-mini", "messages": [{"role": "user", "content": "Hello"}]}
        answer = httpx.post(f"{proxy.base_url}/chat/completions", json=call, timeout=60)
        request_id = answer.headers["x-penstock-request-id"]
        told = {"request_id": request_id, "score": 1.0}
        assert httpx.post(f"{proxy.url}/penstock/feedback", json=told, timeout=60).status_code == 202
        asked = "SELECT request_id FROM feedback"
        assert until(lambda: proxy.query(asked), bool, 60) == [{"request_id": request_id}]

        def spans() -> list[bytes]:
            sent = [one.body for one in stage.requests if one.target == "/v1/traces"]
            return [body for body in sent if request_id.encode() in body]

        (body,) = until(spans, bool, 60)
        assert len(body) < REQUEST_BYTES_MAX
        assert proxy.rows() == []
        assert proxy.query("SELECT count() AS n FROM otel_traces") == [{"n": 0}]
