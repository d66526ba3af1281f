"""The steps that look at one row at a time, run over slices of the source in several processes.

A scanned slice leaves three or four files in the building folder, by its number: the spill, the numbers of its rows,
the digests of all beginnings of its conversations and, where near duplicates are looked for, their signatures.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ..assembling.assembly import assemble
from ..assembling.cleaning import Cleaner
from ..comparing.chains import chain
from ..comparing.contamination import Benchmarks
from ..errors import DatasetError
from ..example import Example, Row
from ..formats import writers
from ..options import Options
from ..reasons import Reason
from ..scrubbing.scrub import Scrubber
from ..selecting.source import Slice, Source
from .indexing import Held, Indexer, forgotten_id
from .spill import SpillWriter

IN_PROCESS_ROWS_MAX: Final = 20_000
"""Fewer are scanned here: to start processes takes longer."""
HELD_ROWS_MAX: Final = 5_000
HELD_CHARACTERS_MAX: Final = 10_000_000
"""Of rows that are held in memory until it is known which of them are the beginning of another: what comes first."""


@dataclass(slots=True)
class Scanned:
    """What became of a slice."""

    number: int
    rows: int = 0
    kept: int = 0
    dropped: Counter[int] = field(default_factory=Counter)
    """By `Reason`."""
    scrubbed: Counter[str] = field(default_factory=Counter)
    """Pieces of private text that were replaced, by kind."""
    scrubbed_rows: int = 0


@dataclass(frozen=True, slots=True)
class Parts:
    """The files of a slice."""

    spill: Path
    rows: Path
    prefixes: Path
    signatures: Path

    @staticmethod
    def of(folder: Path, number: int) -> Parts:
        name = folder / f"{number:06d}"
        return Parts(*(name.with_suffix(kind) for kind in (".spill", ".rows.npy", ".prefixes.npy", ".signatures.npy")))


class Scanner:
    """One process's share. Raises `DatasetError`."""

    def __init__(self, options: Options, source: Source, folder: Path) -> None:
        self._options = options
        self._source = source
        self._folder = folder
        self._cleaner = Cleaner(options.clean, corrections=options.select.corrections != "ignore")
        self._scrubber = Scrubber(options.scrub) if options.scrub.enabled else None
        self._benchmarks = Benchmarks.load(options.decontaminate)
        self._writers = writers(options.write, folder)
        self._forgotten = frozenset(options.select.forgotten)

    def scan(self, part: Slice) -> Scanned:
        """Read, assemble, clean, scrub and encode a slice, and leave its files."""
        files = Parts.of(self._folder, part.number)
        done = Scanned(part.number)
        with closing(SpillWriter(files.spill)) as spill:
            indexer = Indexer(self._options, self._benchmarks, self._writers, spill)
            for held in self._held(part, done):
                done.kept += len(held)
                indexer.add(held)
        indexer.save(files.rows, files.prefixes, files.signatures)
        return done

    def _held(self, part: Slice, done: Scanned) -> Iterator[list[Held]]:
        held: list[Held] = []
        characters = 0
        for row in self._source.read(part):
            done.rows += 1
            example = self._example(row, done)
            if example is None:
                continue
            found = chain(example)
            # The chain is of what was said; from here on there is nothing private in it.
            self._scrub(example, done)
            held.append((example, found))
            characters += len(row.input_messages) + len(row.output_messages)
            if len(held) >= HELD_ROWS_MAX or characters >= HELD_CHARACTERS_MAX:
                yield held
                held, characters = [], 0
        if held:
            yield held

    def _example(self, row: Row, done: Scanned) -> Example | None:
        if self._forgotten and not self._forgotten.isdisjoint((forgotten_id(row.request_id), forgotten_id(row.user))):
            done.rows -= 1  # As if it had never been.
            return None
        example = assemble(row, self._options)
        reason = example if isinstance(example, Reason) else self._cleaner.judge(row, example)
        if reason is not Reason.KEPT:
            done.dropped[reason] += 1
            return None
        assert isinstance(example, Example)
        return example

    def _scrub(self, example: Example, done: Scanned) -> None:
        if self._scrubber is not None and (found := self._scrubber.scrub(example)):
            done.scrubbed.update(found)
            done.scrubbed_rows += 1


def scan_all(options: Options, source: Source, folder: Path, slices: Sequence[Slice]) -> Iterator[Scanned]:
    """Every slice, in order, as each is done. Raises `DatasetError`."""
    if sum(part.rows for part in slices) <= IN_PROCESS_ROWS_MAX or len(slices) == 1:
        scanner = Scanner(options, source, folder)
        yield from map(scanner.scan, slices)
        return
    processes = min(len(slices), os.cpu_count() or 1)
    # Spawned: a fork of a process with threads may hang.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(processes, context, _start, (options, source, folder))
    waiting: deque[Future[Scanned]] = deque()
    try:
        for part in slices:
            waiting.append(pool.submit(_scan, part))
            if len(waiting) > 2 * processes:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool as error:
        raise DatasetError(
            "A process that read rows was killed, perhaps for its memory. Run the build again."
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


_scanner: Scanner


def _start(options: Options, source: Source, folder: Path) -> None:
    global _scanner
    _scanner = Scanner(options, source, folder)
    # Rows hold no cycles, and to look for some among those that are held takes a sixth of the time of all.
    gc.disable()
    gc.freeze()


def _scan(part: Slice) -> Scanned:
    done = _scanner.scan(part)
    gc.collect()
    return done
