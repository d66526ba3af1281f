"""The log of a run read back, and drawn."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from finetune.curves import Log, draw, in_terminal, read_log, smoothed
from finetune.errors import FinetuneError


def written(path: Path, *lines: object, tail: str = "") -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines) + tail)
    return path


def test_losses_are_read_by_step(tmp_path: Path) -> None:
    path = written(
        tmp_path / "log.jsonl",
        {"step": 1, "epoch": 0.1, "loss": 3.0, "learning_rate": 1e-4},
        {"step": 2, "epoch": 0.2, "loss": 2.5},
        {"step": 2, "epoch": 0.2, "eval_loss": 2.75},
    )
    assert read_log(path) == Log([1, 2], [3.0, 2.5], [2], [2.75])


def test_the_half_of_a_line_that_a_killed_run_left_is_no_fault(tmp_path: Path) -> None:
    whole = json.dumps({"step": 2, "loss": 2.5})
    for cut in range(len(whole)):
        log = read_log(written(tmp_path / "log.jsonl", {"step": 1, "loss": 3.0}, tail=whole[:cut]))
        assert (log.steps, log.unreadable) == ([1], 0)


def test_what_is_unreadable_in_the_middle_is_counted(tmp_path: Path) -> None:
    path = written(
        tmp_path / "log.jsonl", {"step": 1, "loss": 3.0}, tail='{"step": 2, "lo{"step": 3}\n[1]\n{"step": 4}'
    )
    log = read_log(path)
    assert (log.steps, log.unreadable) == ([1], 2)


def test_a_resumed_run_takes_the_place_of_what_was_killed(tmp_path: Path) -> None:
    """It was killed after step 4, goes on from the checkpoint of step 2, and stops early at 3."""
    path = written(
        tmp_path / "log.jsonl",
        *({"step": step, "loss": 5.0 - step} for step in (1, 2)),
        {"step": 2, "eval_loss": 3.5},
        *({"step": step, "loss": 5.0 - step} for step in (3, 4)),
        {"step": 4, "eval_loss": 2.5},
        {"step": 3, "loss": 2.25},
        {"step": 3, "eval_loss": 3.0},
    )
    assert read_log(path) == Log([1, 2, 3], [4.0, 3.0, 2.25], [2, 3], [3.5, 3.0])


def test_validation_of_a_provider_may_come_after_all_steps(tmp_path: Path) -> None:
    path = written(
        tmp_path / "log.jsonl",
        *({"step": step, "loss": 5.0 - step} for step in (1, 2, 3)),
        *({"step": step, "eval_loss": 5.5 - step} for step in (1, 3)),
    )
    assert read_log(path) == Log([1, 2, 3], [4.0, 3.0, 2.0], [1, 3], [4.5, 2.5])


def test_a_loss_that_is_no_number_is_a_gap(tmp_path: Path) -> None:
    path = written(
        tmp_path / "log.jsonl", {"step": 1, "loss": 3.0}, {"step": 2, "loss": math.nan}, {"step": 3, "loss": None}
    )
    assert read_log(path).steps == [1]


def test_no_log_is_an_empty_one(tmp_path: Path) -> None:
    assert not read_log(tmp_path / "log.jsonl")
    with pytest.raises(FinetuneError, match="cannot be read"):
        read_log(tmp_path)


def test_the_best_is_the_first_of_the_lowest() -> None:
    assert Log([1], [2.0], [2, 4, 6], [1.5, 1.25, 1.25]).best() == (4, 1.25)
    assert Log([1], [2.0]).best() is None


def test_smoothing_keeps_a_straight_line_straight() -> None:
    line = [100.0 - step for step in range(100)]
    assert smoothed(line) == pytest.approx(line)
    noisy = [value + (-1) ** place for place, value in enumerate(line)]
    far = [abs(one - other) for one, other in zip(smoothed(noisy), line, strict=True)]
    assert max(far[2:-2]) < 0.3


LONG = Log(
    list(range(1, 301)),
    [1 + 2 * math.exp(-step / 60) for step in range(1, 301)],
    [100, 200, 300],
    [1.6, 1.4, 1.5],
)


@pytest.mark.parametrize(
    "log", [LONG, Log([1, 5], [3.0, 2.0]), Log([5], [2.0], [5], [2.1]), Log([], [], [10], [2.0]), Log()], ids=str
)
def test_any_log_can_be_drawn_twice_alike(log: Log, tmp_path: Path) -> None:
    one, other = tmp_path / "one.png", tmp_path / "other.png"
    draw(log, one, "a run")
    draw(log, other, "a run")
    assert one.read_bytes() == other.read_bytes()
    assert one.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_the_picture_shows_both_losses_and_the_best(tmp_path: Path) -> None:
    """Pixels of each colour are where its line is."""
    from matplotlib.image import imread

    draw(LONG, tmp_path / "loss.png", "a run")
    pixels = (imread(tmp_path / "loss.png")[:, :, :3] * 255).round().astype(int)
    for colour, at_least in (((0x2F, 0x6D, 0xB5), 1000), ((0xE0, 0x91, 0x2F), 500)):
        assert (abs(pixels - colour).max(axis=2) < 12).sum() > at_least


def test_a_picture_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(FinetuneError, match=r"loss\.png cannot be written"):
        draw(LONG, tmp_path / "nowhere" / "loss.png", "a run")


@pytest.mark.parametrize("width", [40, 80, 160])
def test_the_terminal_shows_it_within_its_width(width: int) -> None:
    shown = in_terminal(LONG, width, 12)
    lines = shown.splitlines()
    assert "\x1b" not in shown
    assert len(lines) == 12
    assert max(len(line) for line in lines[:-1]) == width
    assert "X" in "\n".join(lines[:-1])
    assert "best: 1.400 at step 200" in lines[-1]


def test_the_terminal_shows_falling_losses_falling() -> None:
    rows = in_terminal(Log([1, 2, 3], [3.0, 2.0, 1.0], [1, 3], [3.5, 1.5]), 60).splitlines()
    first, last = (next(place for place, row in enumerate(rows) if mark in row) for mark in "oX")
    assert first < last
    assert "validation" not in in_terminal(Log([1, 2], [3.0, 2.0]), 60)
    assert in_terminal(Log(), 60) == "nothing was logged"
