"""`penstock dataset validate`: one file, or all of a dataset that trainers take."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from exporters.datasets.describing.manifest import changed, read
from exporters.datasets.validating.rules import EXAMPLES_MIN
from exporters.datasets.validating.validate import Report, validate

from .dataset_run import folder_of


class Checked(msgspec.Struct, kw_only=True):
    ok: bool
    changed: list[str]
    """Files of a dataset that are not those that its manifest names."""
    files: list[Report]


def check(name: str, root: Path, model: str, progress: Any) -> Checked:
    """A file by its path, else a dataset. Raises `CommandFailed` and `DatasetError`."""
    if Path(name).is_file():
        report = validate(Path(name), model=model, progress=progress)
        return Checked(ok=report.ok, changed=[], files=[report])
    folder = folder_of(name, root)
    manifest = read(folder)
    files = [file.path for file in manifest.files if file.path.endswith(".jsonl")]
    theirs = [path for path in files if known_to_openai(path)]
    other = changed(manifest, folder)
    reports = [
        # A split that nobody trains on may be as small as it is.
        validate(folder / path, model=model, examples_min=EXAMPLES_MIN if "train" in path else 1, progress=progress)
        for path in theirs
        if (folder / path).exists()
    ]
    return Checked(ok=not other and all(report.ok for report in reports), changed=other, files=reports)


def known_to_openai(path: str) -> bool:
    from exporters.datasets.tracing import known

    how = known(path)
    return how is not None and how.key in ("line", "preference")
