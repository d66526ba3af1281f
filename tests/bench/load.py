"""Load: wrk with the body of a usual chat call, and what it counted."""

from __future__ import annotations

import itertools
import json
import re
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

REQUEST_BYTES = 1800


def request_body(*, stream: bool) -> bytes:
    """A chat request of `REQUEST_BYTES`. The caller does not ask for usage itself."""
    document = {
        "model": "gpt-4o-mini",
        "messages": [
            {"role": "system", "content": "You are the keeper of a water gate. Answer in one paragraph."},
            {"role": "user", "content": ""},
        ],
        "temperature": 0.7,
        "max_tokens": 256,
        "user": "user-4711",
        "metadata": {"team": "bench", "route": "gate"},
        "stream": stream,
    }
    text = "How much water passes the gate when the river stands at four metres and the turbine is idle? " * 20
    document["messages"][1]["content"] = text[: REQUEST_BYTES - len(json.dumps(document))]  # type: ignore[index]
    return json.dumps(document).encode()


_SCRIPT = """
wrk.method = "POST"
wrk.path = "/v1/chat/completions"
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Authorization"] = "Bearer sk-bench"
wrk.headers["User-Agent"] = "OpenAI/Python 3.54.0"
wrk.headers["Accept"] = "application/json"
%s
done = function(summary, latency, requests)
  local e = summary.errors
  print(string.format("RESULT %%d %%d %%d %%d %%d %%d", summary.requests, summary.duration,
    e.connect + e.read + e.write + e.timeout, e.status, latency:percentile(50), latency:percentile(99)))
end
"""


_numbers = itertools.count()


def _varied(body: str, questions: int) -> list[str]:
    """Requests whose text begins with a number, made anew for each run so that no two runs ask the same."""
    before, after = body.split("How much", 1)
    turn = f"n % {questions}" if questions else "n"
    seed = "" if questions else "os.time() .. '-' .. tostring(wrk):sub(-6) .. '-' .. "
    return [
        "local n = 0",
        "request = function()",
        "  n = n + 1",
        f"  return wrk.format(nil, nil, nil, [==[{before}]==] .. {seed}({turn}) .. [==[ How much{after}]==])",
        "end",
    ]


@dataclass(frozen=True, slots=True)
class Counted:
    requests: int
    seconds: float
    broken: int
    """Connections that failed."""
    refused: int
    """Replies that were not 2xx or 3xx."""
    p50_ms: float
    p99_ms: float


class Wrk:
    """wrk on one thread, pinned to `core`."""

    def __init__(
        self,
        tmp: Path,
        core: int,
        *,
        stream: bool = False,
        headers: Mapping[str, str] | None = None,
        questions: int = 1,
    ) -> None:
        """`questions`: how many different ones are asked in turn; 0: each is another."""
        self._core = core
        self._script = tmp / f"load-{next(_numbers)}.lua"
        lines = [f'wrk.headers["{name}"] = "{value}"' for name, value in (headers or {}).items()]
        body = request_body(stream=stream).decode()
        lines += [f"wrk.body = [==[{body}]==]"] if questions == 1 else _varied(body, questions)
        self._script.write_text(_SCRIPT % "\n".join(lines))

    def start(self, port: int, connections: int, seconds: float) -> subprocess.Popen[str]:
        argv = ["taskset", "-c", str(self._core), "wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s"]
        argv += ["--timeout", "30s", "-s", str(self._script), f"http://127.0.0.1:{port}"]
        return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def run(self, port: int, connections: int, seconds: float) -> Counted:
        """Raises `SystemExit` when a call failed: a bench of failures says nothing."""
        return counted(self.start(port, connections, seconds), seconds + 60)

    def finish(self, process: subprocess.Popen[str]) -> Counted:
        """End a run early."""
        process.send_signal(signal.SIGINT)
        return counted(process, 60)


def counted(process: subprocess.Popen[str], timeout_s: float) -> Counted:
    output, _ = process.communicate(timeout=timeout_s)
    found = re.search(r"RESULT (\d+) (\d+) (\d+) (\d+) (\d+) (\d+)", output)
    if not found:
        raise SystemExit(f"wrk said:\n{output}")
    requests, micros, broken, refused, p50, p99 = map(int, found.groups())
    if not requests or broken or refused:
        raise SystemExit(f"{broken} of {requests} calls broke and {refused} were refused:\n{output}")
    return Counted(requests, micros / 1e6, broken, refused, p50 / 1000, p99 / 1000)
