"""`penstock dataset trace`: the call that an example was made of."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from exporters.datasets.describing.contents import iso
from exporters.datasets.tracing import Traced

from . import show
from .failure import CommandFailed
from .store import Row, open_query, settings_of


def call_of(traced: Traced, config: Path | None, data_dir: str | None) -> tuple[Row | None, Sequence[Row], str]:
    """The call and its tries as the store has them; or None, and why not."""
    files = traced.manifest.options.files
    if files:
        return None, (), f"The dataset was made of {', '.join(files)}."
    try:
        query = open_query(settings_of(config, data_dir))
        row = show.find(query, traced.origin.request_id)
        return row, show.attempts(query, row), ""
    except CommandFailed as error:
        return None, (), str(error)


def facts_of(traced: Traced) -> dict[str, Any]:
    """What the dataset itself knows of the example's origin."""
    origin: dict[str, Any] = msgspec.to_builtins(traced.origin)
    return {"dataset": traced.manifest.name, "time": iso(traced.origin.timestamp_ns)} | origin
