"""What deploy/Dockerfile builds: it installs from wheels alone, serves without chDB, and behaves as process 1."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.wire.scripted import SSE_HEAD, Conn, Request, chunk, event, json_reply

from .image import Image
from .serve import until
from .stage import Stage

pytestmark = pytest.mark.timeout(400)  # every package is installed, from the index
NAMESPACE = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child"]
"""Process 1 of a namespace of its own, as the entrypoint of a container is."""


def can_be_process_1() -> bool:
    program = shutil.which("unshare")
    return program is not None and subprocess.run([*NAMESPACE, "true"], timeout=60, check=False).returncode == 0


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    made = Image(tmp_path_factory.mktemp("image"))
    made.build()
    return made


class Container:
    """The image's entrypoint, running."""

    def __init__(self, image: Image, config: Path, command: list[str]) -> None:
        self.log = image.root / f"{time.monotonic_ns()}.log"
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                command,
                env={
                    **image.environ(),
                    "PENSTOCK_CONFIG": str(config),
                    "PENSTOCK_CLICKHOUSE_URL": "http://127.0.0.1:1/penstock",  # nobody is there
                },
                cwd=image.root / "data",
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def family(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def init(self) -> psutil.Process:
        """The process that signals to the container go to."""
        for process in [psutil.Process(self.process.pid), *self.family()]:
            if process.name() == "dumb-init":
                return process
        raise AssertionError(self.log.read_text())


@contextlib.contextmanager
def running(image: Image, stage: Stage, command: list[str] | None = None) -> Iterator[tuple[Container, str]]:
    """The container and the address of its API."""
    data = image.root / "data"
    text = image.inside((image.root / "etc/penstock/penstock.toml").read_text())
    text = text.replace("[server]\n", "[server]\nport = 0\n").replace("[metrics]\n", "[metrics]\nport = 0\n")
    config = image.root / "penstock.toml"
    config.write_text(f'{text}\n[[upstreams]]\nname = "stage"\nbase_url = "{stage.url}/v1"\n')
    container = Container(image, config, command or image.entrypoint("serve", "--insecure"))
    try:
        yield container, _wait_ready(container, data)
    finally:
        with contextlib.suppress(psutil.NoSuchProcess, AssertionError):
            container.init().terminate()
        try:
            container.process.wait(60)
        finally:
            for one in container.family() if container.process.poll() is None else []:
                one.kill()
            container.process.kill()
            container.process.wait(60)
        shutil.rmtree(data)
        data.mkdir(mode=0o700)


def _wait_ready(container: Container, data: Path) -> str:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline and container.process.poll() is None:
        with contextlib.suppress(OSError, ValueError, httpx.HTTPError):
            url = f"http://127.0.0.1:{json.loads((data / 'serve.json').read_bytes())['port']}"
            if httpx.get(f"{url}/penstock/ready", timeout=10).status_code == 200:
                return url
        time.sleep(0.05)
    raise AssertionError(container.log.read_text())


def _spooled(image: Image) -> bool:
    """Whether the record of the only call is on disk."""
    files = [path for path in (image.root / "data/spool").rglob("*") if path.is_file()]
    return any(b"chatcmpl-1" in path.read_bytes() for path in files)


def test_it_serves_without_an_engine_and_writes_nothing_but_data(image: Image, stage: Stage) -> None:
    assert not list((image.root / "opt/penstock/lib").glob("*/site-packages/chdb*"))
    before = image.files()
    with running(image, stage) as (container, url):
        stage.play(json_reply({"id": "chatcmpl-1", "model": "m", "choices": []}))
        answer = httpx.post(f"{url}/v1/chat/completions", json={"model": "m", "messages": []}, timeout=60)
        assert (answer.status_code, answer.json()["id"]) == (200, "chatcmpl-1")
        check = image.healthcheck()
        assert (check.returncode, check.stderr) == (0, "")
        spooled = until(lambda: _spooled(image), bool, 60)
        assert spooled, "the record waits for ClickHouse"
        assert "chdb" not in container.log.read_text()
    assert image.files() == before, "the root of a container may be read-only"
    check = image.healthcheck()
    assert check.returncode == 1
    assert "not healthy" in check.stderr


def test_whoever_does_not_answer_is_not_healthy(image: Image) -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        note = image.root / "data" / "serve.json"
        note.write_text(json.dumps({"host": "0.0.0.0", "port": deaf.getsockname()[1]}))
        assert image.healthcheck().returncode == 1
        note.write_text("{")
        assert image.healthcheck().returncode == 1
        note.unlink()


def test_nobody_is_served_beyond_loopback_without_saying_so(image: Image) -> None:
    config = image.root / "etc/penstock/penstock.toml"
    done = subprocess.run(
        image.entrypoint(),
        env={**image.environ(), "PENSTOCK_CONFIG": str(config), "PENSTOCK_CLICKHOUSE_URL": "http://h/penstock"},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 1
    assert "--insecure" in done.stderr


def _named(name: str, container: Container) -> list[psutil.Process]:
    """Those of this name, dead ones that nobody has buried too."""
    found = []
    for process in container.family():
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.name() == name:
                found.append(process)
    return found


@pytest.mark.skipif(not can_be_process_1(), reason="user namespaces are not allowed here")
def test_as_process_1_it_finishes_open_calls_and_buries_orphans(image: Image, stage: Stage) -> None:
    """SIGTERM to the init: the open stream ends as it should, then all is gone, with status 0."""
    init, dashes, *program = image.entrypoint("serve", "--insecure")
    leaves_an_orphan = ["sh", "-c", '(sleep 0.2 &); exec "$@"', "sh"]
    told = False

    async def slow(request: Request, conn: Conn) -> None:
        await conn.send(SSE_HEAD + chunk(event({"choices": []})))
        while not told:
            await conn.sleep(0.02)
        await conn.sleep(0.3)
        await conn.send(chunk(event("[DONE]")) + chunk(b""))

    with running(image, stage, [*NAMESPACE, init, dashes, *leaves_an_orphan, *program]) as (container, url):
        stage.play(slow)
        call: dict[str, Any] = {"model": "m", "messages": [], "stream": True}
        with httpx.stream("POST", f"{url}/v1/chat/completions", json=call, timeout=60) as answer:
            pieces = answer.iter_bytes()
            first = next(pieces)
            orphaned = until(lambda: _named("sleep", container), lambda found: not found, 60)
            container.init().send_signal(signal.SIGTERM)
            told = True
            rest = b"".join(pieces)
        assert b"choices" in first
        assert rest.endswith(b"data: [DONE]\n\n")
        assert container.process.wait(90) == 0
        assert orphaned == []
        assert not (image.root / "data/serve.json").exists()


def test_the_image_runs_on_what_it_brings(image: Image) -> None:
    """Nothing of this environment: only the image's own packages, and they fit together."""
    python = image.root / "opt/penstock/bin/python"
    code = "import proxy.cli, redis, psycopg, sys; print(*[m.__file__ for m in (proxy.cli, redis, psycopg)])"
    done = subprocess.run(
        [python, "-P", "-c", code], env=image.environ(), cwd="/", capture_output=True, text=True, timeout=60, check=True
    )
    assert all(path.startswith(f"{image.root}{os.sep}") for path in done.stdout.split())
