"""What Hypothesis tries is the same in every run, whatever else ran before it and whatever else changed."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st


def examples() -> list[tuple[int, str]]:
    """By the profile of this run."""
    found = []

    @settings(max_examples=200)
    @given(st.integers(), st.text())
    def keep(number: int, text: str) -> None:
        found.append((number, text))

    keep()
    return found


def test_what_is_loaded_makes_no_difference(tmp_path: Path) -> None:
    """By itself it also tries the numbers and texts that stand in the code that happens to be loaded."""
    if settings.get_current_profile_name() == "search":
        pytest.skip("a search is another one each time")
    before = examples()
    path = tmp_path / "loaded_meanwhile.py"
    path.write_text("\n".join(f"A{number} = {number} * 7_919_000_003 + {number + 10**12}" for number in range(400)))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
        assert examples() == before
    finally:
        del sys.modules[path.stem]
