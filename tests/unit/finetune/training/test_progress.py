"""What somebody sees who waits for a run."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from finetune import lora
from finetune.training.options import LoraOptions
from finetune.training.progress import Written


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def options(tiny_base: Path, small_set: Path) -> LoraOptions:
    return LoraOptions(dataset=str(small_set), base=str(tiny_base), max_steps=3, batch_size=4, save_steps=2)


def test_a_terminal_has_a_bar_with_the_loss_of_the_step_that_was_done(
    options: LoraOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "140")
    file = Terminal()
    run = lora.train(options, root=tmp_path, watch=Written(file))
    assert "3/3" in file.getvalue()
    assert f"loss {run.file.loss['train']:.3f}, " in file.getvalue()
    assert "loss 0.000" not in file.getvalue()


def test_elsewhere_there_are_lines_and_no_bar(options: LoraOptions, tmp_path: Path) -> None:
    file = io.StringIO()
    lora.train(options, root=tmp_path, watch=Written(file))
    assert "step 2 of 3: loss" in file.getvalue()
    assert "\x1b" not in file.getvalue()
    assert "3/3" not in file.getvalue()


def test_the_curve_fits_a_narrow_terminal(
    options: LoraOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "44")
    file = io.StringIO()
    lora.train(options, root=tmp_path, watch=Written(file))
    curve = [line for line in file.getvalue().splitlines() if set(line) & set("┌│┤└")]
    assert len(curve) > 5
    assert max(map(len, curve)) <= 44
