"""For all tests: the same random examples in every run, and a run that ends when it is over."""

from __future__ import annotations

import faulthandler
import sys
from pathlib import Path

import pytest
from hypothesis import settings

# `--hypothesis-profile=search` looks for other examples. No deadline: how long one takes on a busy machine says nothing
# about the code.
settings.register_profile("same", derandomize=True, deadline=None)
settings.register_profile("search", deadline=None, max_examples=3000)
settings.load_profile("same")

END_WITHIN_S = 60.0
TESTS = Path(__file__).parent
TOGETHER = ("unit/proxy/batching", "e2e/clickhouse", "e2e/datasets", "e2e/grafana")
"""Folders whose tests share what takes long to start. Everywhere else a file's tests do."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What shares a fixture runs in one process, when there are several (`-n`)."""
    for item in items:
        path = item.path.relative_to(TESTS)
        above = next((name for name in TOGETHER if path.is_relative_to(name)), str(path))
        item.add_marker(pytest.mark.xdist_group(above))


@pytest.hookimpl(trylast=True)
def pytest_unconfigure() -> None:
    """A thread that a test left behind must not keep the run from ending: where it stands is printed, the run fails."""
    faulthandler.dump_traceback_later(END_WITHIN_S, exit=True, file=sys.__stderr__)
