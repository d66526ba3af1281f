"""Texts as vectors: by a small model in this process, or by any `/v1/embeddings` address."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

import httpx
import msgspec
import numpy as np
import numpy.typing as npt

from .faults import Pause

if TYPE_CHECKING:
    from .threads import Threads

Vector = npt.NDArray[np.float32]

REPLY_BYTES_MAX: Final = 1024 * 1024
DIMENSIONS_MAX: Final = 8192
CONCURRENT_MAX: Final = 8
_STRANGE_SHARE_MAX: Final = 0.1
_NOT_LATIN: Final = re.compile(r"[^\W\d_\u0000-\u024f\u1e00-\u1eff]")


class EmbeddingFailed(Exception):
    """There is no vector for this text now. The message says why, without the text."""


class EmbeddingSkipped(EmbeddingFailed):
    """It was not tried: too much is under way, or the last tries failed."""


class Embedder(Protocol):
    """Makes vectors of length 1."""

    @property
    def name(self) -> str:
        """Of the model: vectors of two models are never compared."""

    async def embed(self, texts: list[str]) -> list[Vector]:
        """One vector for each text, float32 and of length 1. Raises `EmbeddingFailed`."""

    async def aclose(self) -> None:
        """Safe to call again."""


class LocalEmbedder:
    """WordLlama: the mean of static word vectors, 256 dimensions, some 0.1 ms a text and 110 MB in memory.

    The model is in the package; nothing is downloaded. It is loaded at the first text (0.7 s, in a thread). It knows
    little of what is not written in Latin letters, and neither names nor numbers can be told there: such texts have no
    vector here.
    """

    name = "wordllama/l2_supercat_256"

    def __init__(self, threads: Threads) -> None:
        self._threads = threads
        self._model: Any = None

    async def embed(self, texts: list[str]) -> list[Vector]:
        job = self._threads.submit(lambda: self.embed_now(texts))
        if job is None:
            raise EmbeddingSkipped("too many texts wait for the embedding model")
        return await job

    def embed_now(self, texts: list[str]) -> list[Vector]:
        """The same in this thread. Raises `EmbeddingFailed`."""
        if any(len(_NOT_LATIN.findall(text)) > _STRANGE_SHARE_MAX * len(text) for text in texts):
            raise EmbeddingSkipped("the local embedding model is not for this script")
        model = self._loaded()
        try:
            rows = model.embed(texts, norm=False)
        except Exception as error:
            raise EmbeddingFailed(f"the local embedding model failed: {type(error).__name__}") from error
        return [normalised(row) for row in rows]

    async def aclose(self) -> None:
        self._model = None

    def _loaded(self) -> Any:
        if self._model is None:
            try:
                import wordllama

                folder = Path(wordllama.__file__).parent
                self._model = wordllama.WordLlama.load(cache_dir=folder, disable_download=True)
            except Exception as error:
                raise EmbeddingFailed(f"the local embedding model does not load: {type(error).__name__}") from error
        return self._model


class _Row(msgspec.Struct):
    embedding: list[float]
    index: int = 0


class _Rows(msgspec.Struct):
    data: list[_Row]


class RemoteEmbedder:
    """A `/v1/embeddings` address. While it fails it is left alone, for longer each time (see `Pause`)."""

    def __init__(
        self,
        url: str,
        model: str,
        api_key: str = "",
        *,
        timeout_s: float = 2.0,
        transport: httpx.AsyncBaseTransport | None = None,
        pause: Pause | None = None,
    ) -> None:
        self._url = url
        self._model = model
        headers = {"authorization": f"Bearer {api_key}"} if api_key else {}
        self._client = httpx.AsyncClient(headers=headers, timeout=timeout_s, transport=transport)
        self._timeout_s = timeout_s
        self._open = 0
        self._pause = pause or Pause()

    @property
    def name(self) -> str:
        return f"{self._url} {self._model}"

    async def embed(self, texts: list[str]) -> list[Vector]:
        if self._client.is_closed:
            raise EmbeddingSkipped("closed")
        if self._open >= CONCURRENT_MAX:
            raise EmbeddingSkipped("too many calls of the embeddings address are under way")
        if self._pause.on:
            raise EmbeddingSkipped("the embeddings address has just failed")
        self._open += 1
        try:
            async with asyncio.timeout(self._timeout_s):
                rows = await self._ask(texts)
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, msgspec.DecodeError, ValueError) as error:
            self._pause.begin()
            raise EmbeddingFailed(f"the embeddings address failed: {type(error).__name__}") from error
        except EmbeddingFailed:
            self._pause.begin()
            raise
        finally:
            self._open -= 1
        self._pause.end()
        return rows

    async def aclose(self) -> None:
        await self._client.aclose()

    async def _ask(self, texts: list[str]) -> list[Vector]:
        body = {"model": self._model, "input": texts, "encoding_format": "float"}
        async with self._client.stream("POST", self._url, json=body) as response:
            if response.status_code != 200:
                raise EmbeddingFailed(f"the embeddings address answered {response.status_code}")
            data = bytearray()
            async for piece in response.aiter_bytes():
                data += piece
                if len(data) > REPLY_BYTES_MAX:
                    raise EmbeddingFailed("the embeddings address answered too much")
        rows = sorted(msgspec.json.decode(data, type=_Rows).data, key=lambda row: row.index)
        if len(rows) != len(texts):
            raise EmbeddingFailed("the embeddings address answered for another number of texts")
        return [normalised(np.asarray(row.embedding, dtype=np.float32)) for row in rows]


def normalised(row: npt.NDArray[Any]) -> Vector:
    """`row` at length 1. Raises `EmbeddingFailed` for what has no direction, or too many dimensions."""
    if row.ndim != 1 or not 0 < row.shape[0] <= DIMENSIONS_MAX:
        raise EmbeddingFailed("a vector has no or too many dimensions")
    length = float(np.linalg.norm(row.astype(np.float64)))
    if not np.isfinite(length) or length == 0:
        raise EmbeddingFailed("a vector has no direction")
    return (row / length).astype(np.float32)
