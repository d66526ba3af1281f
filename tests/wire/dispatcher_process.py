"""Dispatchers to be killed: `python -m tests.wire.dispatcher_process SETTINGS.json` makes one for each line it reads.

They are forked from a process that has loaded everything but started nothing, so that one is at work at once. The pid
of each is printed; when it is killed, nothing of it is left but what it had written.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import signal
import sys
from pathlib import Path
from typing import Final

import msgspec

from proxy.dispatching import run
from proxy.logs import configure_logging
from proxy.settings import Settings

LOADED: Final = (
    "openai.resources.batches",
    "openai.resources.files",
    "psycopg",
    "proxy.batching.provider.completion",
    "proxy.batching.keeping",
    "proxy.batching.live.runner",
    "proxy.batching.local.batches",
    "proxy.batching.provider.submission",
    "proxy.batching.sweeping",
    "proxy.batching.provider.watching",
    "proxy.batching.webhooks",
    "sqlalchemy.dialects.postgresql.psycopg",
    "sqlalchemy.dialects.sqlite",
)
"""What a dispatcher loads when it is first needed."""


def main() -> None:
    settings = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Settings)
    for name in LOADED:
        importlib.import_module(name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them
    while sys.stdin.readline():
        pid = os.fork()
        if pid == 0:
            configure_logging("dispatcher")
            asyncio.run(run(settings, asyncio.Event()))
            os._exit(1)
        print(pid, flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
