"""What Penstock adds to the time to the first token, at one connection."""

from __future__ import annotations

import os
import socket
import statistics
import time
from pathlib import Path

from .figures import Figure
from .load import request_body
from .machine import bench_upstream, cores
from .nginx import nginx
from .proxy import measured

ADDED_MS_MAX = 1.0
STREAMS_PER_TURN = 20


def ttft(tmp: Path, seconds: float) -> list[Figure]:
    """Streams one after the other, in turns: direct, through nginx, through Penstock."""
    own_core, other_core = cores()
    with (
        bench_upstream(tmp, other_core, chunks=4, interval_ms=1.0) as upstream,
        nginx(tmp, upstream, own_core, buffering=False) as (nginx_port, _),
        measured(tmp, upstream, own_core, other_core) as penstock,
    ):
        os.sched_setaffinity(0, {other_core})
        try:
            ports = {"direct": upstream, "nginx": nginx_port, "penstock": penstock.port}
            times = _in_turns(ports, seconds)
        finally:
            os.sched_setaffinity(0, {own_core, other_core})
    direct, through_nginx, through_us = (statistics.median(times[name]) for name in ports)
    worst = statistics.quantiles(times["penstock"], n=100)[98] - statistics.quantiles(times["direct"], n=100)[98]
    count = len(times["penstock"])
    return [
        Figure("time to first token, direct", direct, "ms", note=f"(median of {count})"),
        Figure("time to first token added", through_us - direct, "ms", target=ADDED_MS_MAX),
        Figure("time to first token added by nginx", through_nginx - direct, "ms"),
        Figure("time to first token added, p99", worst, "ms"),
    ]


def _in_turns(ports: dict[str, int], seconds: float) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in ports}
    callers = {name: Caller(port) for name, port in ports.items()}
    try:
        for caller in callers.values():
            for _ in range(STREAMS_PER_TURN):
                caller.first_token_ms()
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for name, caller in callers.items():
                times[name] += [caller.first_token_ms() for _ in range(STREAMS_PER_TURN)]
    finally:
        for caller in callers.values():
            caller.close()
    return times


class Caller:
    """One blocking connection."""

    def __init__(self, port: int) -> None:
        body = request_body(stream=True)
        head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
            f"Authorization: Bearer sk-bench\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        self._request = head.encode() + body
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def first_token_ms(self) -> float:
        """From the request to the first byte of content; the rest of the stream is read too."""
        began = time.perf_counter()
        self._socket.sendall(self._request)
        received = self._read(b"", b'"delta"')
        took = time.perf_counter() - began
        if not received.startswith(b"HTTP/1.1 200"):
            raise SystemExit(f"The stream was refused: {received[:200]!r}")
        self._read(received, b"\r\n0\r\n\r\n")
        return took * 1000

    def _read(self, received: bytes, until: bytes) -> bytes:
        while until not in received:
            piece = self._socket.recv(65536)
            if not piece:
                raise SystemExit(f"The stream broke off: {received[-200:]!r}")
            received += piece
        return received

    def close(self) -> None:
        self._socket.close()
