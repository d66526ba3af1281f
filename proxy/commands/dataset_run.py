"""What the commands of `penstock dataset` share: where datasets are, bars of long steps, errors in a line."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, Final

import typer

from .failure import CommandFailed

ROOT: Final = Path("penstock-datasets")
EXTRA: Final = frozenset({"numpy", "rensa", "pyarrow", "matplotlib", "py3langid", "phonenumbers", "stdnum"})
"""What `pip install 'penstock[datasets]'` brings."""
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_NOT_INSTALLED: Final = "{} is not installed. Datasets need: pip install 'penstock[datasets]'"

RootOption = Annotated[Path, typer.Option("--root", help="The folder that datasets are in.")]
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="A dataset, by its name or its folder.")]


@contextlib.contextmanager
def told() -> Iterator[None]:
    """Say in one line what somebody can do something about. Raises `CommandFailed`."""
    try:
        from exporters.datasets.errors import DatasetError
    except ModuleNotFoundError as error:
        raise _missing(error) from error
    try:
        yield
    except ModuleNotFoundError as error:
        raise _missing(error) from error
    except DatasetError as error:
        raise CommandFailed(str(error)) from error


def check_extra() -> None:
    """Before anything begins that takes long. Raises `CommandFailed` when a library is not installed."""
    for name in sorted(EXTRA):
        if importlib.util.find_spec(name) is None:
            raise CommandFailed(_NOT_INSTALLED.format(name))


def _missing(error: ModuleNotFoundError) -> Exception:
    if (error.name or "").partition(".")[0] not in EXTRA:
        return error
    return CommandFailed(_NOT_INSTALLED.format(error.name))


def check_name(name: str, option: str = "") -> None:
    """Of a dataset that is to be made. Raises `CommandFailed`."""
    if not _NAME.fullmatch(name):
        raise CommandFailed(
            f"{option}{name!r} is no name for a dataset. Use letters, digits, dots, dashes and underscores."
        )


def folder_of(name: str, root: Path) -> Path:
    """That of a dataset in `root`, or the one that `name` is the path of. Raises `CommandFailed`."""
    for folder in (root / name, Path(name)):
        if os.path.isfile(folder / "manifest.json"):  # also False for names that no file can have
            # By its own name: other files are put beside it, and called after it.
            return folder if folder.name not in ("", "..") else folder.resolve()
    if os.path.isfile(name):
        raise CommandFailed(f"{name} is a file. Make a dataset of it: penstock dataset build NAME --from {name}")
    raise CommandFailed(f"There is no dataset {name} in {root}. `penstock dataset list` names those that are there.")


@contextlib.contextmanager
def ended_in_order() -> Iterator[None]:
    """SIGTERM ends the command as Ctrl-C does, so that nothing half made is left."""

    def end(signum: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + signum)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def bars(*, wanted: bool = True) -> Iterator[Any]:
    """A `Progress` on standard error where a person looks, else a silent one."""
    from exporters.datasets.progress import Silent

    from .dataset_bars import shown_on

    if not wanted or not sys.stderr.isatty():
        yield Silent()
        return
    with shown_on(sys.stderr) as progress:
        yield progress
