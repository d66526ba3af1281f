"""`make demo`: the whole loop on this machine, in a folder of its own."""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path
from typing import Final

from .loop import Size, loop
from .report import report
from .stage import DemoFailed

FOLDER: Final = Path("build/demo")
_MARK: Final = ".demo"
"""In a folder that a demo has made, and may throw away."""


def make_anew(folder: Path) -> None:
    """Empty. Raises `DemoFailed` where something else than a demo is."""
    ours = folder == FOLDER.resolve() or (folder / _MARK).exists()
    if folder.exists() and not ours and (not folder.is_dir() or any(folder.iterdir())):
        raise DemoFailed(f"{folder} holds something else than a demo, which would be lost: name another --folder.")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _MARK).touch()


def main() -> int:
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--folder", type=Path, default=FOLDER, help=f"made anew; default {FOLDER}")
    parser.add_argument("--conversations", type=int, default=Size.conversations)
    parser.add_argument("--steps", type=int, default=Size.steps, help="of training")
    parser.add_argument("--evaluated", type=int, default=0, help="examples of the test split; 0: all")
    given = parser.parse_args()
    folder = given.folder.resolve()
    size = Size(conversations=given.conversations, steps=given.steps, evaluated=given.evaluated)
    try:
        make_anew(folder)
        told = loop(folder, size)
    except DemoFailed as failure:
        print(f"demo: {failure}", file=sys.stderr)
        return 1
    text = report(told, size)
    (folder / "report.md").write_text(text)
    print(f"\n=== report ({folder / 'report.md'})\n\n{text}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
