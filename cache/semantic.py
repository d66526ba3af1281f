"""`SemanticIndex`: questions that were asked before in other words, and the keys of their replies.

Of the pairs in `tests/bench/semantic.py` it finds, with the local model, so many that are the same (and so many that
are not): at 0.85 46 % (17 %), at 0.90 29 % (3 %), at 0.92 24 % (2 %), at 0.94 18 % (1 %), at 0.96 12 % (0 %). The
vectors alone find as many of one kind as of the other (at 0.92 30 % and 29 %), which is why there is a guard.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from .faults import Complaints
from .guard import Marks, marks_of
from .threads import Threads

if TYPE_CHECKING:  # numpy is only there with the extra `semantic`
    from .embedding import Embedder, Vector
    from .vectors import Vectors

ROWS_MAX: Final = 100_000
"""In the file; some 80 MB with the local embedder."""
MEMORY_BYTES_MAX: Final = 32 * 1024 * 1024
_WAITING_MAX: Final = 64
_CLOSE_S: Final = 1.0


class SemanticUnavailable(Exception):
    """What the semantic tier needs is not installed. The message says how to install it."""


@dataclass(slots=True)
class SemanticStats:
    """Of this process, since it began."""

    searches: int = 0
    found: int = 0
    added: int = 0
    dropped: int = 0
    """Because the reply was gone."""
    failed: int = 0
    """Searches and additions that the embedder or the file failed: each was a miss."""
    skipped: int = 0
    """Not tried, because too much waited or the embedder had just failed: misses too."""


class SemanticIndex:
    """Per partition, the keys of texts by what they mean. Nothing here raises; whatever fails is a miss, counted.

    Texts are compared only where `guard.marks_of` has nothing against it. No text is kept, only vectors and digests;
    but a vector tells what a text was about, so the file is readable by its owner alone.
    """

    def __init__(
        self, embedder: Embedder, vectors: Vectors, threads: Threads, *, close_within_s: float = _CLOSE_S
    ) -> None:
        """`vectors` is used in `threads` alone, which must be one thread. Owns all three."""
        self._embedder = embedder
        self._vectors = vectors
        self._threads = threads
        self._close_within_s = close_within_s
        self._adding: set[asyncio.Task[None]] = set()
        self._complaints = Complaints("semantic tier")
        self._stats = SemanticStats()

    async def find(self, partition: str, text: str, threshold: float) -> list[tuple[str, float]]:
        """At most 3 keys with their similarity (cosine, at least `threshold`), best first."""
        self._stats.searches += 1
        marks = marks_of(text)
        vector = await self._vector(text)
        if vector is None:
            return []
        name = self._name(partition, marks, len(vector))
        found = await self._done(lambda: self._vectors.search(name, vector, marks, threshold)) or []
        self._stats.found += bool(found)
        return found

    async def add(self, partition: str, text: str, key: str) -> None:
        """From now on `text` leads to `key`."""
        marks = marks_of(text)
        vector = await self._vector(text)
        if vector is not None:
            name = self._name(partition, marks, len(vector))
            await self._done(lambda: self._vectors.put(name, key, vector, marks))
            self._stats.added += 1

    def remember(self, partition: str, text: str, key: str) -> None:
        """`add` while the caller goes on."""
        self._begin(lambda: self.add(partition, text, key))

    def forget(self, key: str) -> None:
        """The reply of `key` is gone: nothing leads there any more."""

        async def drop() -> None:
            await self._done(lambda: self._vectors.drop(key))
            self._stats.dropped += 1

        self._begin(drop)

    @property
    def stats(self) -> SemanticStats:
        self._stats.failed += self._vectors.failed
        self._vectors.failed = 0
        return self._stats

    async def aclose(self) -> None:
        """What is being added is waited for a moment. Safe to call again."""
        if self._adding:
            await asyncio.wait(self._adding, timeout=self._close_within_s)
        for task in self._adding:
            task.cancel()
        await self._embedder.aclose()
        self._threads.submit(self._vectors.close)
        await self._threads.drain(self._close_within_s)
        self._threads.close()

    def _begin(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        if len(self._adding) >= _WAITING_MAX:
            self._stats.skipped += 1
            return
        task = asyncio.get_running_loop().create_task(work())
        self._adding.add(task)
        task.add_done_callback(self._adding.discard)

    async def _vector(self, text: str) -> Vector | None:
        from .embedding import EmbeddingFailed, EmbeddingSkipped

        try:
            return (await self._embedder.embed([text]))[0]
        except EmbeddingSkipped:
            self._stats.skipped += 1
        except EmbeddingFailed as error:
            self._stats.failed += 1
            self._complaints.say(str(error))
        return None

    async def _done(self, job: Callable[[], Any]) -> Any:
        waiting = self._threads.submit(job)
        if waiting is None:
            self._stats.skipped += 1
            return None
        return await waiting

    def _name(self, partition: str, marks: Marks, dimensions: int) -> bytes:
        """Vectors that may be compared: of one partition, one model, and texts whose marks are equal."""
        whole = f"{self._embedder.name}\n{dimensions}\n{partition}".encode()
        return hashlib.blake2b(whole, digest_size=16, salt=marks.exact).digest()


def open_index(path: Path | None, *, url: str = "", model: str = "", api_key: str = "") -> SemanticIndex:
    """The index in the file `path` (None: in memory), with embeddings of `url` or, if "", of a model in this process.

    Raises `SemanticUnavailable`. Neither the file nor the model is opened before it is needed.
    """
    try:
        from importlib.util import find_spec

        from .embedding import LocalEmbedder, RemoteEmbedder
        from .vectors import Vectors

        if not url and find_spec("wordllama") is None:
            raise ImportError("wordllama")
    except ImportError as error:
        raise SemanticUnavailable(
            "A cache rule with `semantic` needs more than is installed: pip install 'penstock[semantic]'."
        ) from error
    threads = Threads("penstock-semantic", 1, _WAITING_MAX)
    embedder = RemoteEmbedder(url, model, api_key) if url else LocalEmbedder(threads)
    return SemanticIndex(embedder, Vectors(path, rows_max=ROWS_MAX, memory_bytes_max=MEMORY_BYTES_MAX), threads)
