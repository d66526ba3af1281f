"""`penstock serve`: one process that starts the others, keeps them alive, replaces them and ends them in order.

It handles no request and no record. Workers come up first and do not wait for anybody: a store that is slow or down
delays only what it would have stored. On the way out it is the other way round: workers finish what is open, the
recorder empties the spool as far as it gets, then the store is closed.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from .data_dir import DataDir, Serving
from .job import EMPTY_SPOOL_WITHIN_S, EXIT_MARGIN_S
from .listening import CannotListen, Listeners, listen
from .processes import Backoff, Slot
from .programs import Programs
from .settings import Metrics, Server, Settings, Spool, Store

logger = logging.getLogger(__name__)

ORPHANS_WITHIN_S = 10.0
"""How long the children of a supervisor that was killed may hold its ports."""
STORE_CLOSES_WITHIN_S = 15.0
DISPATCHER_STOPS_WITHIN_S = 13.0
"""After that it is killed, which costs nothing: what it does can be gone on with at every point."""
WORKERS_FIRST_S = 2.0


class ConfigurationRefused(Exception):
    """What `load` raises at a reload: one line that says what is wrong."""


class Supervisor:
    """Built from valid settings; `run` serves until it is told to stop."""

    def __init__(
        self,
        settings: Settings,
        *,
        load: Callable[[], Settings],
        on_ready: Callable[[Serving], None] = lambda _: None,
        programs: Programs | None = None,
        console: bool = True,
        configuration: str = "",
    ) -> None:
        """`configuration`: the file that `load` reads, for the note."""
        self._settings = _at_absolute_path(settings)
        self._load = load
        self._on_ready = on_ready
        self._programs = programs or Programs()
        self._console = console
        self._listeners = Listeners(settings.server.host, 0, [])
        self._store_port = 0
        self._workers = [self._worker(index) for index in range(settings.server.workers)]
        self._dispatcher = self._make_dispatcher()
        self._recorder = self._make_recorder()
        self._store = self._make_store()
        self._reloading: asyncio.Task[None] | None = None
        self._stop = asyncio.Event()
        self._publish: Callable[[Serving], None] = lambda _: None
        self._started = self._loaded = time.time()
        self._refused, self._refusal = 0.0, ""
        self._configuration = configuration
        self._reload_again = False
        self._has_terminal = sys.stdin is not None and sys.stdin.isatty()

    async def run(self) -> int:
        """Serve. Returns the exit status. Raises `DataDirUnusable` or `CannotListen` when it cannot even begin."""
        data_dir = DataDir.claim(Path(self._settings.server.data_dir))
        try:
            patience_s = ORPHANS_WITHIN_S if data_dir.unclean else 0.0
            self._listeners = await _listen(self._settings, patience_s)
            try:
                self._store_port = await _claim_store_port(self._settings, patience_s)
                self._heed_signals()
                await self._serve(data_dir)
            finally:
                self._listeners.close()
        finally:
            data_dir.release()
        return 0

    def _heed_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._told_to_stop)
        loop.add_signal_handler(signal.SIGHUP, self._told_to_reload)

    def _told_to_stop(self) -> None:
        if not self._stop.is_set():
            logger.info("stopping: open calls may finish within %g s", self._settings.server.shutdown_timeout_s)
            self._stop.set()
            return
        for slot in self._slots():
            slot.hurry()

    def _told_to_reload(self) -> None:
        # SIGHUP from the kernel means that the terminal was closed; then there is nobody left to serve for.
        if self._has_terminal and not os.isatty(0):
            self._told_to_stop()
        elif self._reloading is None or self._reloading.done():
            self._reloading = asyncio.create_task(self._reload())
        else:
            # What is under way may have read the file before it was changed.
            self._reload_again = True

    def _slots(self) -> list[Slot]:
        return [*self._workers, self._dispatcher, self._recorder, self._store]

    def _make_dispatcher(self) -> Slot:
        return Slot(
            "dispatcher",
            lambda: self._programs.launch_dispatcher(self._settings),
            grace_s=lambda: DISPATCHER_STOPS_WITHIN_S,
            backoff=Backoff(time.monotonic),
        )

    def _make_recorder(self) -> Slot:
        return Slot(
            "recorder",
            lambda: self._programs.launch_recorder(self._settings, self._store_port, console=self._console),
            grace_s=lambda: EMPTY_SPOOL_WITHIN_S + EXIT_MARGIN_S,
            backoff=Backoff(time.monotonic),
        )

    def _make_store(self) -> Slot:
        return Slot(
            "store",
            lambda: self._programs.launch_store(self._settings, self._store_port),
            grace_s=lambda: STORE_CLOSES_WITHIN_S,
            backoff=Backoff(time.monotonic),
        )

    def _worker(self, index: int) -> Slot:
        return Slot(
            f"worker-{index}",
            lambda: self._programs.launch_worker(
                self._settings,
                index,
                self._listeners.fds(index, self._settings.server.workers),
                self._store_port,
            ),
            grace_s=lambda: self._settings.server.shutdown_timeout_s + EXIT_MARGIN_S,
            backoff=Backoff(time.monotonic),
        )

    async def _serve(self, data_dir: DataDir) -> None:
        for worker in self._workers:
            worker.start()
        data_dir.publish(self._note())
        beginning = [
            asyncio.create_task(self._begin_recording()),
            asyncio.create_task(self._announce()),
        ]
        self._publish = data_dir.publish
        await self._stop.wait()
        await _cancel(*beginning, *([self._reloading] if self._reloading else []))
        await asyncio.gather(*(worker.stop() for worker in self._workers))
        await self._dispatcher.stop()  # before the recorder, which has its records then
        await self._recorder.stop()
        await self._store.stop()

    async def _begin_recording(self) -> None:
        """After the workers, who take all processors for the second in which they start; records wait in the spool."""
        async with asyncio.TaskGroup() as group:
            for worker in self._workers:
                group.create_task(worker.wait_ready(WORKERS_FIRST_S))
        self._start_recording()
        self._start_dispatching()

    def _start_recording(self) -> None:
        if self._store_port:
            self._store.start()
        self._recorder.start()

    def _start_dispatching(self) -> None:
        if self._settings.batch.enabled:
            self._dispatcher.start()

    async def _announce(self) -> None:
        for worker in self._workers:
            while not await worker.wait_ready(60.0):
                logger.warning("%s is not ready yet", worker.name)
        self._on_ready(self._note())

    def _note(self) -> Serving:
        return Serving(
            pid=os.getpid(),
            host=self._listeners.host,
            port=self._listeners.port,
            store_url=f"http://127.0.0.1:{self._store_port}" if self._store_port else "",
            metrics_port=self._settings.metrics.port,
            started=self._started,
            configuration=self._configuration,
            loaded=self._loaded,
            refused=self._refused,
            refusal=self._refusal,
        )

    async def _reload(self) -> None:
        """Once for all who ask meanwhile; the note says how it ended."""
        self._reload_again = True
        while self._reload_again:
            self._reload_again = False
            began = time.time()
            refusal = await self._take_new()
            if refusal:
                logger.error("the configuration was not changed: %s", refusal)
                self._refused, self._refusal = began, refusal
            else:
                logger.info("the configuration was loaded anew")
                self._loaded = began
            self._publish(self._note())

    async def _take_new(self) -> str:
        """Take the new configuration as a whole or not at all, and then say why. No call fails meanwhile."""
        old, old_listeners = self._settings, self._listeners
        try:
            new = _at_absolute_path(await asyncio.to_thread(self._load))
            self._listeners, store_port = await self._prepare(new)
        except (ConfigurationRefused, CannotListen) as error:
            return str(error)
        self._settings = new
        refusal = ""
        if not await self._replace_workers():
            refusal = "no worker can serve by it"
            self._settings, obsolete = old, self._listeners
            self._listeners = old_listeners
        else:
            obsolete = old_listeners
            await self._reload_dispatching(old)
            await self._reload_recording(old, store_port)
        if obsolete is not self._listeners:
            obsolete.close()
        return refusal

    async def _prepare(self, new: Settings) -> tuple[Listeners, int]:
        """What the new settings need of the system, taken before anything old is let go."""
        now = self._settings
        if new.server.data_dir != now.server.data_dir:
            raise ConfigurationRefused("server.data_dir cannot change while Penstock serves; stop it and start again.")
        store_port = self._store_port
        if (new.store.clickhouse, new.store.http_port) != (now.store.clickhouse, now.store.http_port):
            store_port = await _claim_store_port(new)
        if (new.server.host, new.server.port) != (now.server.host, now.server.port):
            return await _listen(new), store_port
        try:
            self._listeners.grow(new.server.workers)
        except OSError as error:
            raise CannotListen(f"Cannot listen with {new.server.workers} workers: {error.strerror}.") from error
        return self._listeners, store_port

    async def _replace_workers(self) -> bool:
        """One after the other. False when the first one that was tried did not serve; the old ones go on then."""
        count = self._settings.server.workers
        for worker in self._workers[:count]:
            if not await worker.replace():
                return False
        for index in range(len(self._workers), count):
            self._workers.append(self._worker(index))
            self._workers[index].start()
            await self._workers[index].wait_ready(60.0)
        leaving, self._workers[count:] = self._workers[count:], []
        await asyncio.gather(*(worker.stop() for worker in leaving))
        return True

    async def _reload_dispatching(self, old: Settings) -> None:
        """One ends before the other begins; what waits in the queue waits a little longer."""
        if _dispatcher_part(self._settings) != _dispatcher_part(old):
            await self._dispatcher.stop()
            self._start_dispatching()

    async def _reload_recording(self, old: Settings, store_port: int) -> None:
        """Recorder and store cannot run twice at once: they are ended and started, and the spool holds meanwhile."""
        new = self._settings
        if _recorder_part(new) == _recorder_part(old):
            return
        await self._recorder.stop()
        if new.store != old.store:
            await self._store.stop()
        self._store_port = store_port
        self._start_recording()


def _at_absolute_path(settings: Settings) -> Settings:
    path = str(Path(settings.server.data_dir).absolute())
    return msgspec.structs.replace(settings, server=msgspec.structs.replace(settings.server, data_dir=path))


def _recorder_part(settings: Settings) -> Settings:
    """The settings without what only workers read."""
    return msgspec.structs.replace(settings, server=Server(), upstreams=(), models=())


def _dispatcher_part(settings: Settings) -> Settings:
    """The settings without what the dispatcher does not read."""
    return msgspec.structs.replace(
        settings, server=Server(), store=Store(), spool=Spool(), otlp=(), metrics=Metrics(), models=()
    )


async def _listen(settings: Settings, patience_s: float = 0.0) -> Listeners:
    server = settings.server
    return await asyncio.to_thread(listen, server.host, server.port, server.workers, patience_s=patience_s)


async def _claim_store_port(settings: Settings, patience_s: float = 0.0) -> int:
    """The embedded store's port, seen to be free; 0 without an embedded store. Raises `CannotListen`."""
    if settings.store.clickhouse != "embedded":
        return 0
    claim = await asyncio.to_thread(
        listen, "127.0.0.1", settings.store.http_port, 0, patience_s=patience_s, setting="store.http_port"
    )
    return claim.port


async def _cancel(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    for ended in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(ended, Exception):
            logger.error("while starting or reloading: %r", ended)
