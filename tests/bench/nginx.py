"""nginx as a plain reverse proxy: the baseline."""

from __future__ import annotations

import contextlib
import getpass
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from .machine import pin, started

_CONFIG = """
user {user};
worker_processes 1;
daemon off;
pid {tmp}/nginx.pid;
error_log {tmp}/nginx-error.log warn;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path {tmp}/body;
    proxy_temp_path {tmp}/proxy;
    fastcgi_temp_path {tmp}/fastcgi;
    uwsgi_temp_path {tmp}/uwsgi;
    scgi_temp_path {tmp}/scgi;
    keepalive_requests 1000000000;
    upstream bench {{
        server 127.0.0.1:{upstream};
        keepalive 256;
        keepalive_requests 1000000000;
    }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://bench;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffering {buffering};
        }}
    }}
}}
"""


def need_tools() -> None:
    """Say in one line what to install."""
    missing = [name for name in ("nginx", "wrk", "taskset") if shutil.which(name, path=_PATH) is None]
    if missing:
        raise SystemExit(f"The benches need {' and '.join(missing)}: apt-get install nginx-light wrk util-linux")


_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@contextlib.contextmanager
def nginx(tmp: Path, upstream: int, core: int, *, buffering: bool = True) -> Iterator[tuple[int, psutil.Process]]:
    """Its port and its one worker process, pinned to `core`."""
    port = free_port()
    config = tmp / f"nginx-{port}.conf"
    switch = "on" if buffering else "off"
    config.write_text(_CONFIG.format(user=getpass.getuser(), tmp=tmp, upstream=upstream, port=port, buffering=switch))
    program = shutil.which("nginx", path=_PATH) or "nginx"
    argv = [program, "-c", str(config), "-p", str(tmp), "-e", str(tmp / "nginx-error.log")]
    with started(argv, core, log=tmp / "nginx.log") as process:
        deadline = time.monotonic() + 10
        while not (workers := psutil.Process(process.pid).children()):
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"nginx did not start:\n{(tmp / 'nginx.log').read_text()}")
            time.sleep(0.05)
        pin(workers[0], core)
        yield port, workers[0]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
