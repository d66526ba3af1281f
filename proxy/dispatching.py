"""The dispatcher process: has the calls that wait answered. Any number of them may run; one at a time has the queue.

Started by the supervisor alone. As long as nobody has ever put a call into the queue it only looks, once a second,
whether there is one, and has not even loaded what it would need then.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
import uuid
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from .job import EXIT_MARGIN_S, Job, SupervisorGone, announce_ready, follow_supervisor, receive_job
from .logs import configure_logging

if TYPE_CHECKING:
    from .batching.database import Database
    from .batching.part import Part
    from .settings import Settings

_log = logging.getLogger(__name__)

STOPS_WITHIN_S: Final = 8.0
"""How long the steps that are under way may take after SIGTERM, and the lease to be given back."""
_NICE: Final = 10
"""Live calls come first."""
_LOOK_EVERY_S: Final = 1.0


async def dispatch(job: Job) -> None:
    """Until SIGTERM. A second one ends it at once: the queue knows what was under way."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()

    def on_signal() -> None:
        if stop.is_set():
            os._exit(0)
        stop.set()

    loop.add_signal_handler(signal.SIGTERM, on_signal)
    loop.add_signal_handler(signal.SIGINT, lambda: None)  # the terminal's Ctrl-C is the supervisor's to handle
    announce_ready(job)
    if await _queue_exists(job.settings, stop):
        await run(job.settings, stop)


async def _queue_exists(settings: Settings, stop: asyncio.Event) -> bool:
    """Wait for it. False: it was time to stop before."""
    path = Path(settings.server.data_dir) / "batch" / "queue.db"
    while not settings.batch.url and not path.exists() and not stop.is_set():
        await _pause(stop, _LOOK_EVERY_S)
    return not stop.is_set()


async def run(settings: Settings, stop: asyncio.Event) -> None:
    """Serve the queue of these settings until `stop` is set."""
    from .batching.database import Database, QueueUnavailable, queue_url
    from .batching.dispatcher import Dispatcher
    from .batching.lease import LeaseHolder

    lock = await _alone(Path(settings.server.data_dir) / "batch", stop)
    if lock is None:
        return
    database = None
    while database is None and not stop.is_set():
        try:
            database = await asyncio.to_thread(Database.open, queue_url(settings))
        except QueueUnavailable as error:
            _log.warning("the batch queue cannot be opened: %s", error)
            await _pause(stop, 10 * _LOOK_EVERY_S)
    async with AsyncExitStack() as stack:
        stack.callback(os.close, lock.file)
        if database is None:
            return
        stack.callback(database.close)
        await _hand_over(settings, database)
        make = await asyncio.to_thread(parts, settings, database, stack)
        gc.freeze()
        await Dispatcher(LeaseHolder(database, holder=lock.holder), make).run(stop)


async def _hand_over(settings: Settings, database: Database) -> None:
    """Records that the dispatcher before this one had ready for the recorder do not wait for the lease."""
    from .batching.outbox import Outbox
    from .batching.refusal import QueueUnavailable

    try:
        await Outbox(settings, database).recover()
    except (QueueUnavailable, OSError) as error:
        _log.warning("records of the batch queue wait until it is this dispatcher's: %s", error)


class _Lock(NamedTuple):
    """That this is the only dispatcher of its data directory, and the name by which the queue knows it."""

    file: int
    holder: str


async def _alone(folder: Path, stop: asyncio.Event) -> _Lock | None:
    """Wait until the dispatcher before this one is gone. So if the queue has it in the lease still, it was killed, and
    nobody need wait for the lease to expire. None: it was time to stop before."""
    while not stop.is_set():
        if (lock := await asyncio.to_thread(_lock, folder)) is not None:
            return lock
        await _pause(stop, _LOOK_EVERY_S / 4)
    return None


def _lock(folder: Path) -> _Lock | None:
    """None: another one has it."""
    from exporters.files import try_lock

    from .batching.sealing import kept

    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if (file := try_lock(folder / "dispatcher.lock")) is None:
        return None
    return _Lock(file, kept(folder / "instance", uuid.uuid4().hex.encode()).decode())


def parts(settings: Settings, database: Database, stack: AsyncExitStack) -> Callable[[], Sequence[Part]]:
    """What a dispatcher does, as a list that is made anew with each lease. `stack` closes what they share."""
    from .batching.keeping import ReplyKeeper
    from .batching.live.runner import LiveRunner
    from .batching.local.batches import LocalBatches
    from .batching.outbox import Outbox
    from .batching.provider.completion import Completer
    from .batching.provider.gathering import Gatherer
    from .batching.provider.polling import Poller
    from .batching.provider.providers import Providers
    from .batching.provider.submission import Submitter
    from .batching.provider.watching import Watcher
    from .batching.records import ItemRecords
    from .batching.sealing import Sealer
    from .batching.sweeping import Sweeper
    from .batching.webhooks import Webhooks

    sealer = Sealer.of(settings)
    records = ItemRecords(settings)
    providers = Providers(settings.upstreams, database, sealer)
    keep = ReplyKeeper(settings)
    stack.push_async_callback(providers.aclose)
    stack.push_async_callback(keep.aclose)

    def make() -> list[Part]:
        return [
            Outbox(settings, database),
            Gatherer(settings, database),
            Submitter(settings, database, providers),
            Poller(settings, database, providers),
            Completer(settings, database, providers, records, keep=keep),
            LiveRunner(settings, database, sealer, records, keep=keep),
            LocalBatches(settings, database, records),
            Webhooks(settings, database),
            *([Watcher(settings, database, providers, records)] if settings.batch.record_own else []),
            Sweeper(settings, database, records),
        ]

    return make


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    waiting = asyncio.create_task(stop.wait())
    await asyncio.wait([waiting], timeout=seconds)
    waiting.cancel()


def main() -> None:
    try:
        job = receive_job()
    except SupervisorGone as gone:
        raise SystemExit(str(gone)) from gone
    configure_logging(job.name)
    follow_supervisor(STOPS_WITHIN_S + EXIT_MARGIN_S)
    os.nice(_NICE)
    asyncio.run(dispatch(job))
    sys.exit(0)


if __name__ == "__main__":
    main()
