"""A pod without a cluster: the arguments, configuration and secrets of the manifests, and what its probes are answered.

Where this machine allows a mount namespace, nothing can be written but what the pod mounts for it: the data, and the
folder of temporary files. Elsewhere the same runs without that wall.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from tests.ports import held_port
from tests.unit.deploy.configured import documented_secrets
from tests.unit.deploy.rendered import INSTALLABLE, configuration, container, pod

from .scripted import ScriptedUpstream, json_reply

PATIENCE_S = 60.0
COMPLETION = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1_795_000_000,
    "model": "gpt-5-mini",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 5, "completion_tokens": 1, "total_tokens": 6},
}


def walled(command: list[str], writable: list[Path]) -> list[str]:
    """`command` where it can write nothing but `writable` and has no capability; as it is where that cannot be."""
    open_again = "mount --bind {0} {0} && mount -o remount,bind,rw {0}"
    steps = ["mount --rbind / /", "mount -o remount,bind,ro /"]
    steps += [open_again.format(shlex.quote(str(path))) for path in writable]
    script = " && ".join([*steps, "exec setpriv --no-new-privs --bounding-set -all --inh-caps -all "])
    wrapped = ["unshare", "--mount", "--propagation", "private", "sh", "-c"]
    try:
        trial = subprocess.run(
            [*wrapped, f"{script} true"], capture_output=True, timeout=PATIENCE_S, check=False
        ).returncode
    except FileNotFoundError:
        return command
    return command if trial else [*wrapped, script + shlex.join(command)]


def mounted(folder: Path, here: Path, upstream: str, metrics_port: int) -> Path:
    """What the pod mounts, below `here`: the same files, with this machine's paths, ports and addresses."""
    for name in ("data", "secrets", "tmp"):
        (here / name).mkdir()
    for key, value in {**documented_secrets(), "clickhouse-url": "http://u:p@127.0.0.1:1/penstock"}.items():
        (here / "secrets" / key).write_text(f"{value}\n")
    text = configuration(folder)
    for old, new in [
        ('host = "0.0.0.0"', 'host = "127.0.0.1"'),
        ('"/data"', f'"{here}/data"'),
        ("/run/secrets/penstock/", f"{here}/secrets/"),
        ("https://api.openai.com/v1", upstream),
        ("[server]\n", "[server]\nport = 0\n"),
        ("[metrics]\n", f"[metrics]\nport = {metrics_port}\n"),
    ]:
        assert old in text
        text = text.replace(old, new)
    text = text.replace('clickhouse = "embedded"\n', 'clickhouse = "embedded"\nhttp_port = 0\n')
    (here / "penstock.toml").write_text(text)
    return here / "penstock.toml"


@asynccontextmanager
async def running(folder: Path, here: Path, toml: Path) -> AsyncIterator[tuple[Process, str]]:
    """The container, and where it is reached once its startup probe was answered."""
    arguments = [str(toml) if one.endswith("/penstock.toml") else one for one in container(folder)["args"]]
    writable = [here / one["name"] for one in container(folder)["volumeMounts"] if not one.get("readOnly")]
    command = walled([sys.executable, "-m", "proxy", *arguments], writable)
    with (here / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**os.environ, "TMPDIR": str(here / "tmp")}
        )
    try:
        yield process, await started(folder, here, process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def started(folder: Path, here: Path, process: Process) -> str:
    probe = container(folder)["startupProbe"]["httpGet"]["path"]
    deadline = time.monotonic() + PATIENCE_S
    async with httpx.AsyncClient(timeout=5) as client:
        while time.monotonic() < deadline and process.returncode is None:
            found = re.search(r"listens on (http://\S+)\s", (here / "log").read_text())
            with contextlib.suppress(httpx.TransportError):
                if found and (await client.get(found[1] + probe)).status_code == 200:
                    return found[1]
            await asyncio.sleep(0.1)
    raise AssertionError((here / "log").read_text())


async def metric(client: httpx.AsyncClient, url: str, series: str, wanted: float) -> None:
    """Wait until the series has this value."""
    deadline, text = time.monotonic() + PATIENCE_S, ""
    while time.monotonic() < deadline:
        try:
            text = (await client.get(f"{url}/metrics")).text
        except httpx.TransportError:  # the recorder comes after the workers
            text = ""
        found = re.search(rf"^{re.escape(series)} (\S+)$", text, re.MULTILINE)
        if found and float(found[1]) == wanted:
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"{series} is not {wanted} in:\n{text}")


@pytest.fixture
def metrics_port() -> Iterator[int]:
    with held_port() as port:
        yield port


@pytest.mark.parametrize("name", ["base", "embedded"])
async def test_a_pod_serves_records_and_ends(name: str, tmp_path: Path, metrics_port: int) -> None:
    folder = INSTALLABLE[name]
    async with (
        ScriptedUpstream(json_reply(COMPLETION)) as upstream,
        httpx.AsyncClient(timeout=PATIENCE_S) as client,
    ):
        toml = mounted(folder, tmp_path, f"{upstream.url}/v1", metrics_port)
        async with running(folder, tmp_path, toml) as (process, url):
            ready = container(folder)["readinessProbe"]["httpGet"]["path"]
            assert (await client.get(url + ready)).status_code == 200
            body = {"model": "gpt-5-mini", "messages": [{"role": "user", "content": "Hello"}]}
            asked = {"url": f"{url}/v1/chat/completions", "json": body}
            assert (await client.post(**asked, headers={"authorization": "Bearer wrong"})).status_code == 401
            key = {"authorization": f"Bearer {documented_secrets()['proxy-key']}"}
            assert (await client.post(**asked, headers=key)).json() == COMPLETION
            # Both are recorded: at once where the engine is in the pod, on its volume while ClickHouse is away.
            exposed = f"http://127.0.0.1:{metrics_port}"
            state = "exported_total" if name == "embedded" else "spooled"
            await metric(client, exposed, f'penstock_records_{state}{{sink="clickhouse"}}', 2)
            await metric(client, exposed, "penstock_records_open", 0)
            process.send_signal(signal.SIGTERM)
            grace_s = pod(folder)["terminationGracePeriodSeconds"]
            assert await asyncio.wait_for(process.wait(), min(grace_s, PATIENCE_S)) == 0
    (sent,) = upstream.requests
    assert sent.header("authorization") == f"Bearer {documented_secrets()['openai-api-key']}"
