"""The files of a dataset, a module for each format."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

from ..errors import DatasetError
from ..example import Example
from ..options import Format, Split, Write
from .alpaca import Alpaca
from .openai import OpenAI
from .preferences import Preferences
from .sharegpt import ShareGPT


class Writer(Protocol):
    """One format. Line `n` of a split's file is its `n`-th example, but where a format has to leave some out.

    What is said of an example does not depend on where it stands, so that it can be encoded before that is known.
    """

    @property
    def name(self) -> str:
        """Of the format."""

    def encode(self, example: Example) -> bytes:
        """What its files hold of an example, in whichever split; b"" when it cannot say it. Touches no file."""

    def add(self, split: Split, encoded: bytes) -> None:
        """What `encode` made, here or in another process, and that is not b"". Raises `OSError`."""

    def write(self, split: Split, example: Example) -> None:
        """`encode` and `add`. Raises `OSError`."""

    def close(self) -> list[Path]:
        """The files that were made, whole. A split without an example has none."""


CANNOT_SAY: Final[dict[Format, str]] = {
    "parquet": "images and files, and calls of custom tools",
    "sharegpt": "images and files, words beside a call, and turns out of order",
    "alpaca": "calls of tools, images and files, and turns out of order",
}
"""Why a format may have fewer examples than the dataset, for its card. The others say everything."""


def _parquet(options: Write, folder: Path) -> Writer:
    try:
        from .parquet import Parquet  # with it comes Arrow
    except ImportError as error:
        raise DatasetError("The format parquet needs Arrow: pip install 'penstock[datasets]'") from error
    return Parquet(options, folder)


_WRITERS: Final[dict[Format, Callable[[Write, Path], Writer]]] = {
    "openai": OpenAI,
    "parquet": _parquet,
    "sharegpt": ShareGPT,
    "alpaca": Alpaca,
}


def writers(options: Write, folder: Path) -> list[Writer]:
    """One for each format that was asked for, and one for preference pairs, which makes no file without any.

    Raises `DatasetError` when a format needs a package that is not installed.
    """
    return [*(_WRITERS[name](options, folder) for name in options.formats), Preferences(options, folder)]
