"""Dispatchers to be killed: `python -m tests.wire.dispatcher_process SETTINGS.json` makes one for each line it reads.

They are forked from a process that has loaded everything but started nothing, so that one is at work at once. The pid
of each is printed; when it is killed, nothing of it is left but what it had written.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import msgspec
import openai.resources.batches
import openai.resources.files  # noqa: F401 - what the first call would load

import proxy.batching.completion
import proxy.batching.live
import proxy.batching.local_batches
import proxy.batching.submission
import proxy.batching.sweeping
import proxy.batching.watching
import proxy.batching.webhooks  # noqa: F401
from proxy.dispatching import run
from proxy.logs import configure_logging
from proxy.settings import Settings


def main() -> None:
    settings = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Settings)
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
