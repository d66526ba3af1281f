"""For all tests: the same random examples in every run, and a run that ends when it is over."""

from __future__ import annotations

import faulthandler
import sys

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.internal.conjecture import providers

# `--hypothesis-profile=search` looks for other examples. No deadline, and none for making them: how long that takes on
# a busy machine says nothing about the code. Nobody loads a profile of his own: it would be that of all tests.
_WITHOUT_TIME = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("same", _WITHOUT_TIME, derandomize=True)
settings.register_profile("search", _WITHOUT_TIME, max_examples=3000)
settings.load_profile("same")

_is_ours = getattr(providers, "is_local_module_file", lambda path: False)  # not a promise of Hypothesis


def _lends_its_constants(path: str) -> bool:
    """Hypothesis also tries the numbers and texts that stand in code of ours. Which of it is loaded depends on what ran
    before, and every commit changes it: good for a search, but not the same examples in every run."""
    return settings.get_current_profile_name() != "same" and _is_ours(path)


providers.is_local_module_file = _lends_its_constants  # test_same_examples.py says when that does nothing any more

END_WITHIN_S = 60.0


@pytest.hookimpl(trylast=True)
def pytest_unconfigure() -> None:
    """A thread that a test left behind must not keep the run from ending: where it stands is printed, the run fails."""
    faulthandler.dump_traceback_later(END_WITHIN_S, exit=True, file=sys.__stderr__)
