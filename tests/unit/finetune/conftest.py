"""A tiny model and a small dataset, built once; one thread for PyTorch, since tests share the machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import tiny_llama, training_set


@pytest.fixture(scope="session")
def one_thread() -> Iterator[None]:
    """For what trains."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory, one_thread: None) -> Path:
    """The folder of a model; nobody writes to it."""
    return tiny_llama.build(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def small_set(tmp_path: Path) -> Path:
    """The folder of a dataset: 24 conversations to train on, 8 to validate with, 8 to test on; as many preferences."""
    return training_set.small(tmp_path / "penstock-datasets" / "pirates")
