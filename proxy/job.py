"""What the supervisor tells a child process, and the child's half of the contract between them.

A child is started by exec with a pipe as its standard input. The first line is its `Job` as JSON, so that secrets are
in no argument list and no environment. The pipe then stays open for as long as the supervisor lives: its end means
that the supervisor is gone, and is turned into a SIGTERM to oneself. So a child has one thing to obey:

SIGTERM     take no new work, finish what is open within `server.shutdown_timeout_s`, exit with 0.
SIGTERM #2  give up what is open and exit.
"""

from __future__ import annotations

import os
import signal
import threading
import time

import msgspec

from .settings import Settings

EXIT_MARGIN_S = 5.0
"""How long after its shutdown timeout a process that was told to end may still exist."""

EMPTY_SPOOL_WITHIN_S = 5.0
"""How long the recorder may go on after the last worker; what is left waits in the spool for the next start."""


class Job(msgspec.Struct, frozen=True, kw_only=True):
    settings: Settings
    name: str = ""
    """How the process is called in log lines: worker-0, recorder."""
    slot: int = 0
    listen_fds: tuple[int, ...] = ()
    """Inherited sockets, bound and listening. Closing them loses nothing: the supervisor keeps its own copies."""
    ready_fd: int = -1
    console: bool = False
    """The recorder prints one line per call on standard output."""
    store_url: str = ""
    """The ClickHouse URL with the credentials that the process needs: the recorder's may write."""


class SupervisorGone(Exception):
    """Standard input ended before it held a whole job."""


def receive_job(fd: int = 0) -> Job:
    """Read the job from standard input. Raises `SupervisorGone` at its end, `msgspec.DecodeError` for anything else."""
    line = bytearray()
    while not line.endswith(b"\n"):
        piece = os.read(fd, 65536)
        if not piece:
            raise SupervisorGone("Standard input ended before a job came. This process is started by `penstock serve`.")
        line += piece
    return msgspec.json.decode(line, type=Job)


def announce_ready(job: Job) -> None:
    """Tell the supervisor that this process serves. A supervisor that is gone is not an error."""
    if job.ready_fd < 0:
        return
    try:
        os.write(job.ready_fd, b"ready\n")
    except BrokenPipeError:
        return
    finally:
        os.close(job.ready_fd)


def follow_supervisor(grace_s: float, fd: int = 0) -> None:
    """From now on, when the supervisor dies: SIGTERM to this process, and after `grace_s` it is gone in any case.

    The wait is a thread's, so that even a process whose event loop hangs lets go of its sockets.
    """

    def follow() -> None:
        while os.read(fd, 65536):
            pass
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(grace_s)
        os._exit(1)

    threading.Thread(target=follow, name="follow-supervisor", daemon=True).start()
