"""Child processes as the supervisor sees them: started by exec, told when to end, started again when they die."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

logger = logging.getLogger(__name__)

KILL_WAIT_S = 10.0
"""How long a process may take to disappear after SIGKILL."""


def python_module(name: str, *arguments: str) -> tuple[str, ...]:
    """The command that runs one of Penstock's modules. -P: a folder named `proxy` where the user stands is not ours."""
    return (sys.executable, "-P", "-m", name, *arguments)


@dataclass(frozen=True, slots=True)
class Launch:
    """How to start one child."""

    argv: Sequence[str]
    first_line: Callable[[int], bytes] | None = None
    """Given the descriptor to say `ready` on, what its standard input begins with; None: it reads none."""
    pass_fds: tuple[int, ...] = ()
    is_ready: Callable[[], Awaitable[bool]] | None = None
    """Asks a child that cannot say it itself; called again and again until it is True."""
    ready_within_s: float = 60.0
    """A child that does not serve by then is taken for hung."""


class Child:
    """One life of a child process, which leads its own session: the terminal's Ctrl-C reaches the supervisor alone."""

    def __init__(
        self, name: str, process: asyncio.subprocess.Process, ready: asyncio.Task[bool], ready_within_s: float
    ) -> None:
        self.name = name
        self.ready_within_s = ready_within_s
        self._process = process
        self._ready = ready

    @classmethod
    async def start(cls, name: str, launch: Launch) -> Child:
        """Raises `OSError` when the process cannot be started (no memory, no descriptors, no such program)."""
        read_fd, write_fd = os.pipe()
        try:
            process = await asyncio.create_subprocess_exec(
                *launch.argv,
                stdin=asyncio.subprocess.PIPE,
                pass_fds=(*launch.pass_fds, write_fd),
                start_new_session=True,
            )
        except BaseException:
            os.close(read_fd)
            raise
        finally:
            os.close(write_fd)
        if launch.is_ready is None:
            ready = asyncio.create_task(_hear_ready(read_fd))
        else:
            os.close(read_fd)
            ready = asyncio.create_task(_ask_ready(launch.is_ready))
        child = cls(name, process, ready, launch.ready_within_s)
        if launch.first_line is not None:
            await child._tell(launch.first_line(write_fd))
        return child

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.returncode is None

    async def _tell(self, line: bytes) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line)
        # A child that dies before it has read its job is seen by `wait`.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            await self._process.stdin.drain()

    async def wait(self) -> int:
        """The exit status; negative for the signal that killed it."""
        code = await self._process.wait()
        self._ready.cancel()
        return code

    @property
    def is_ready(self) -> bool:
        return self._ready.done() and not self._ready.cancelled() and self._ready.result()

    async def wait_ready(self) -> bool:
        """Whether it serves; False when it died or took longer than its launch allows."""
        ended = asyncio.create_task(self._process.wait())
        try:
            await asyncio.wait({self._ready, ended}, timeout=self.ready_within_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ended.cancel()
        return self.is_ready

    def signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    async def stop(self, grace_s: float, hurry: asyncio.Event) -> int:
        """SIGTERM, again when there is no time left or `hurry` is set, and SIGKILL for what is still there."""
        self.signal(signal.SIGTERM)
        ended = asyncio.create_task(self.wait())
        hurried = asyncio.create_task(hurry.wait())
        await asyncio.wait({ended, hurried}, timeout=grace_s, return_when=asyncio.FIRST_COMPLETED)
        hurried.cancel()
        if not ended.done():
            self.signal(signal.SIGTERM)
            await asyncio.wait({ended}, timeout=2.0)
        if not ended.done():
            logger.warning("%s (process %d) did not end in time and is killed", self.name, self.pid)
            self.signal(signal.SIGKILL)
            await asyncio.wait({ended}, timeout=KILL_WAIT_S)
        if not ended.done():
            ended.cancel()
            logger.error("%s (process %d) does not die; it is left behind", self.name, self.pid)
            return -signal.SIGKILL
        return ended.result()


async def _hear_ready(fd: int) -> bool:
    """True when the child wrote its line, False when it closed the pipe without."""
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, os.fdopen(fd, "rb"))
    try:
        return bool(await reader.readline())
    finally:
        transport.close()


async def _ask_ready(is_ready: Callable[[], Awaitable[bool]]) -> bool:
    while not await is_ready():  # noqa: ASYNC110 - what is asked is another process
        await asyncio.sleep(0.05)
    return True


@dataclass(slots=True)
class Backoff:
    """Seconds to wait before the next life of something that keeps dying. `clock` is monotonic."""

    clock: Callable[[], float]
    first_s: float = 0.1
    longest_s: float = 5.0
    forgiven_after_s: float = 30.0
    _next_s: float = field(default=0.0, init=False)
    _born_s: float = field(default=0.0, init=False)

    def born(self) -> None:
        self._born_s = self.clock()

    def died(self) -> float:
        """The wait: the first one after a long life, twice the last one after a short one."""
        if self._next_s == 0.0 or self.clock() - self._born_s >= self.forgiven_after_s:
            self._next_s = self.first_s
        wait_s = self._next_s
        self._next_s = min(self.longest_s, wait_s * 2)
        return wait_s


class Slot:
    """A place that is always taken by a living child. It never gives up and never spins."""

    def __init__(
        self, name: str, launch: Callable[[], Launch], *, grace_s: Callable[[], float], backoff: Backoff
    ) -> None:
        self.name = name
        self.deaths = 0
        """Lives that ended unasked."""
        self._launch = launch
        self._grace_s = grace_s
        self._backoff = backoff
        self._child: Child | None = None
        self._starting = asyncio.Lock()
        self._keeper: asyncio.Task[None] | None = None
        self._ending: asyncio.Task[None] | None = None
        self._retiring: set[asyncio.Task[int]] = set()
        self._stopping = asyncio.Event()
        self._hurry = asyncio.Event()

    @property
    def pid(self) -> int | None:
        return self._child.pid if self._child is not None and self._child.alive else None

    @property
    def is_ready(self) -> bool:
        return self._child is not None and self._child.alive and self._child.is_ready

    def start(self) -> None:
        self._stopping.clear()
        self._ending = None
        self._keeper = asyncio.create_task(self._keep(), name=f"keep {self.name}")

    async def wait_ready(self, timeout_s: float) -> bool:
        """Whether a child of this slot serves within that time, be it the second or third one."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while not self._stopping.is_set():
                    if self._child is not None and await self._child.wait_ready():
                        return True
                    await asyncio.sleep(0.02)
        return False

    async def _keep(self) -> None:
        while not self._stopping.is_set():
            child = await self._occupy()
            if child is not None:
                await self._outlive(child)
            wait_s = self._backoff.died()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), wait_s)

    async def _occupy(self) -> Child | None:
        """The child of this slot, started if there is none."""
        async with self._starting:
            if self._child is None or not self._child.alive:
                self._backoff.born()
                try:
                    self._child = await Child.start(self.name, self._launch())
                except OSError as error:
                    logger.error("%s cannot be started: %s", self.name, error)
                    return None
            return self._child

    async def _outlive(self, child: Child) -> None:
        """Return when the slot is empty: `child`, and whoever replaced it, has died."""
        if self._stopping.is_set():  # Told to stop while it was being started.
            await child.stop(self._grace_s(), self._hurry)
        while True:
            hung = asyncio.get_running_loop().call_later(child.ready_within_s, _kill_if_hung, child)
            code = await child.wait()
            hung.cancel()
            if self._child is child or self._child is None:
                break
            child = self._child
        if not self._stopping.is_set():
            self.deaths += 1
            logger.warning("%s (process %d) %s and is started again", self.name, child.pid, _how_it_ended(code))

    async def replace(self) -> bool:
        """Put a new child beside the old one and, once it serves, let the old one finish. False: the old one stays."""
        async with self._starting:
            try:
                new = await Child.start(self.name, self._launch())
            except OSError as error:
                logger.error("%s cannot be started: %s", self.name, error)
                return False
            try:
                ready = await new.wait_ready()
            except asyncio.CancelledError:
                await new.stop(0.0, self._hurry)
                raise
            if not ready:
                logger.error("the new %s did not become ready; the old one goes on", self.name)
                await new.stop(0.0, self._hurry)
                return False
            old, self._child = self._child, new
        if old is not None and old.alive:
            task = asyncio.create_task(old.stop(self._grace_s(), self._hurry))
            self._retiring.add(task)
            task.add_done_callback(self._retiring.discard)
        return True

    async def stop(self) -> None:
        """End the child and those that it replaced. Returns when they are gone. `start` fills the slot again."""
        self._stopping.set()
        if self._ending is None:
            self._ending = asyncio.create_task(self._end())
        await asyncio.shield(self._ending)

    async def _end(self) -> None:
        stops = [*self._retiring]
        if self._child is not None and self._child.alive:
            stops.append(asyncio.create_task(self._child.stop(self._grace_s(), self._hurry)))
        await asyncio.gather(*stops)
        if self._keeper is not None:
            await self._keeper

    def hurry(self) -> None:
        """Whoever is ending has no more time."""
        self._hurry.set()


def _kill_if_hung(child: Child) -> None:
    if child.alive and not child.is_ready:
        logger.warning("%s (process %d) is not ready after %g s", child.name, child.pid, child.ready_within_s)
        child.signal(signal.SIGKILL)


def _how_it_ended(code: int) -> str:
    if code >= 0:
        return f"ended with status {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"
