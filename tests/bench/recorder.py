"""Recorder and embedded store together: records a second from a spool that a worker left behind."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any

from exporters.record import Begin, CallRecord
from exporters.spool import SpoolWriter
from tests.e2e.serve import Penstock, until

from .figures import Figure
from .machine import cpu_s
from .upstream import unary_reply

RECORDS_PER_S_MIN = 10_000.0
CONTENT_BYTES = 2000
RECORDS_PER_SECOND_ASKED = 10_000
_VOCABULARY = 4000


def recorder(tmp: Path, seconds: float) -> list[Figure]:
    """Enough records for `seconds` at the target's pace, each with the raw bodies that a worker spools."""
    count = int(RECORDS_PER_SECOND_ASKED * seconds)
    serve = Penstock(tmp / "penstock", upstreams={"openai": "http://127.0.0.1:9/v1"})
    (serve.data_dir / "spool").mkdir(parents=True)
    _fill(serve.data_dir / "spool", count)
    try:
        serve.start()
        return _watch(serve, count)
    finally:
        serve.disconnect()
        if serve.process is not None:
            serve.stop()


def _watch(serve: Penstock, count: int) -> list[Figure]:
    def arrived() -> int:
        found = serve.query("SELECT count() AS n FROM generations")
        return int(found[0]["n"]) if found else 0

    first = until(arrived, bool, 60.0)
    began = time.monotonic()
    (recording,) = serve.child("proxy.recording")
    (store,) = serve.child("exporters.clickhouse.embedded")
    spent = [cpu_s(recording), cpu_s(store)]
    rows = until(arrived, lambda n: n >= count, 300.0)
    took = time.monotonic() - began
    if rows != count or rows <= first:
        raise SystemExit(f"{rows} rows instead of {count}; the first {first} came at once.\n{serve.output()[-3000:]}")
    done = rows - first
    own, store_s = cpu_s(recording) - spent[0], cpu_s(store) - spent[1]
    slower_s = max(own, store_s)
    return [
        Figure(f"records of {CONTENT_BYTES / 1000:g} KB per second", done / took, "/s", None, RECORDS_PER_S_MIN, True),
        Figure("the same with a core for each of the two", done / slower_s, "/s", note="(by CPU time)"),
        Figure("recorder's CPU per record", own / done * 1e6, "µs"),
        Figure("store's CPU per record", store_s / done * 1e6, "µs"),
    ]


def _fill(root: Path, count: int) -> None:
    """A spool of varied text: the same words over and over would flatter the compression."""
    chance = random.Random(4711)
    words = ["".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=chance.randint(2, 10))) for _ in range(_VOCABULARY)]
    now_ns = time.time_ns() - count * 1_000_000
    writer = SpoolWriter(root, 0, clock=lambda: now_ns)
    for index in range(count):
        begin, record = _exchange(index, now_ns + index * 1_000_000, chance, words)
        writer.begin(begin)
        if not writer.append(record):
            raise SystemExit("the spool could not be written")
    writer.close()


def _exchange(index: int, at_ns: int, chance: random.Random, words: list[str]) -> tuple[Begin, CallRecord]:
    reply = unary_reply().partition(b"\r\n\r\n")[2]
    at, end = reply.index(b'"content": "') + 12, reply.index(b'", "refusal"')
    request = b'{"model":"gpt-4o-mini","messages":[{"role":"user","content":"%s"}],"temperature":0.7,"user":"user-%d"}'
    answer = " ".join(chance.choices(words, k=20)).encode()
    response = reply[:at] + answer + reply[end:]
    question = " ".join(chance.choices(words, k=300)).encode()
    question = question[: CONTENT_BYTES - len(response) - len(request)]
    call: dict[str, Any] = {
        "request_id": f"{index:032x}",
        "trace_id": f"{index:032x}",
        "span_id": f"{index:016x}",
        "start_ns": at_ns,
        "method": "POST",
        "path": "/v1/chat/completions",
        "endpoint": "chat",
        "request_model": "gpt-4o-mini",
        "user": f"user-{index % 100}",
        "tags": {"team": "bench"},
    }
    record = CallRecord(
        **call,
        end_ns=at_ns + 400_000_000,
        first_token_ns=at_ns + 399_000_000,
        provider="openai",
        upstream="openai",
        status=200,
        outcome="answered",
        request_body=request % (question, index % 100),
        response_body=response,
        request_bytes=len(question),
        response_bytes=len(response),
        response_type="application/json",
        response_headers={"x-request-id": "req_5f2a8c7be01d4c0f", "openai-processing-ms": "412"},
        usage_source="upstream",
        input_tokens=402,
        cached_tokens=256,
        output_tokens=120,
        response_id="chatcmpl-Bxq7Lk2mPf9sTz4wVnRc8dHy1oGe",
        response_model="gpt-4o-mini-2024-07-18",
        service_tier="default",
    )
    return Begin(**call), record
