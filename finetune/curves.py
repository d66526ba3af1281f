"""How the loss went: `log.jsonl` read back, as a picture and in the terminal.

The same log gives the same bytes: fonts are those that matplotlib brings, and nothing of time or program is written.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from .errors import FinetuneError

_INK: Final = "#333333"
_QUIET: Final = "#8a8f98"
_TRAIN: Final = "#2f6db5"
_VALIDATION: Final = "#e0912f"
_STYLE: Final[Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "text.color": _INK,
    "axes.edgecolor": _QUIET,
    "axes.labelcolor": _INK,
    "xtick.color": _QUIET,
    "ytick.color": _QUIET,
    "xtick.labelcolor": _INK,
    "ytick.labelcolor": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
_SMOOTHED_FROM: Final = 40
"""Points from which the loss of single batches is noise around a line that is worth seeing."""
_WIDTH_MIN, _HEIGHT_MIN = 30, 8


@dataclass
class Log:
    """Losses by step, steps ascending. Validation may be empty, and so may all."""

    steps: list[int] = field(default_factory=list)
    loss: list[float] = field(default_factory=list)
    validation_steps: list[int] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    unreadable: int = 0
    """Lines, but for the last: a killed run leaves half of one, and what was appended to it is lost too."""

    def __bool__(self) -> bool:
        return bool(self.steps or self.validation_steps)

    def best(self) -> tuple[int, float] | None:
        """Step and loss where validation was lowest: the first of equals."""
        found = zip(self.validation_loss, self.validation_steps, strict=True)
        best = min(found, default=None)
        return None if best is None else (best[1], best[0])


def read_log(path: Path) -> Log:
    """What is in it; an empty `Log` when there is no file. Raises `FinetuneError` when it cannot be read.

    A run that went on from a checkpoint repeats steps: what was logged later counts, and what the killed run had
    logged beyond it does not.
    """
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return Log()
    except OSError as error:
        raise FinetuneError(f"{path} cannot be read: {error.strerror}.") from error
    log = Log()
    for number, line in enumerate(lines, 1):
        try:
            said = json.loads(line)
            step = int(said["step"])
        except (ValueError, TypeError, KeyError):
            log.unreadable += number < len(lines)
            continue
        _add(log.steps, log.loss, step, said.get("loss"))
        _add(log.validation_steps, log.validation_loss, step, said.get("eval_loss"))
    return log


def _add(steps: list[int], losses: list[float], step: int, loss: object) -> None:
    """Losses that are no number (a run that diverged) are gaps."""
    if not isinstance(loss, int | float) or not math.isfinite(loss):
        return
    while steps and steps[-1] >= step:
        steps.pop()
        losses.pop()
    steps.append(step)
    losses.append(float(loss))


def draw(log: Log, path: Path, title: str) -> None:
    """Write the picture (PNG). Raises `FinetuneError` when it cannot be written."""
    import matplotlib
    from matplotlib.figure import Figure  # draws without a display, and without pyplot's state

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        figure = Figure(figsize=(8, 4), layout="constrained")
        axes = figure.add_subplot()
        axes.set_title(title, loc="left", fontsize=11, fontweight="bold", pad=10)
        _lines(axes, log)
        _frame(axes)
        try:
            figure.savefig(path, format="png", dpi=110, metadata={"Software": None})
        except OSError as error:
            raise FinetuneError(f"{path} cannot be written: {error.strerror}.") from error


def _lines(axes: Any, log: Log) -> None:
    if log.steps:
        smooth = len(log.steps) >= _SMOOTHED_FROM
        marker = "o" if len(log.steps) == 1 else None
        axes.plot(
            log.steps, log.loss, color=_TRAIN, marker=marker, linewidth=0.9 if smooth else 1.8,
            alpha=0.3 if smooth else 1, label="_each step" if smooth else "train",
        )  # fmt: skip
        if smooth:
            axes.plot(log.steps, smoothed(log.loss), color=_TRAIN, linewidth=1.8, label="train, smoothed")
    best = log.best()
    if best is not None:
        step, loss = best
        axes.plot(
            log.validation_steps, log.validation_loss, color=_VALIDATION, linewidth=1.8, marker="o", markersize=4,
            label="validation",
        )  # fmt: skip
        axes.plot(
            [step], [loss], "o", markersize=11, markerfacecolor="none", markeredgecolor=_VALIDATION,
            label=f"best: {loss:.3f} at step {step:,}",
        )  # fmt: skip
    if log:
        axes.legend(frameon=False, loc="upper right")
    else:
        axes.text(0.5, 0.5, "nothing was logged", ha="center", transform=axes.transAxes, color=_QUIET)


def _frame(axes: Any) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_xlabel("step")
    axes.set_ylabel("loss")
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    axes.tick_params(length=0)
    axes.grid(axis="y", color="#e6e8ec", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines["left"].set_visible(False)
    axes.margins(y=0.15)


def smoothed(values: Sequence[float]) -> list[float]:
    """The mean of each value and its neighbours, a twentieth of all; fewer towards the ends, as many on both sides."""
    reach = max(2, len(values) // 40)
    made = []
    for place in range(len(values)):
        near = min(reach, place, len(values) - 1 - place)
        window = values[place - near : place + near + 1]
        made.append(sum(window) / len(window))
    return made


def in_terminal(log: Log, width: int, height: int = 15) -> str:
    """`height` lines of at most `width` characters, without colours, the last saying what is what."""
    if not log:
        return "nothing was logged"
    import plotext

    plotext.terminal.limit(False, False)  # the caller knows how much room there is
    figure = plotext.figure
    figure.clear()
    figure.theme("colorless")
    figure.plot_size(max(width, _WIDTH_MIN), max(height, _HEIGHT_MIN) - 1)
    legend = []
    if log.steps:
        smooth = len(log.steps) >= _SMOOTHED_FROM
        train = figure.signal(log.steps, smoothed(log.loss) if smooth else log.loss, marker="braille")
        figure.draw(train.lines())
        legend.append("⠒ train, smoothed" if smooth else "⠒ train")
    best = log.best()
    if best is not None:
        figure.draw(figure.signal(log.validation_steps, log.validation_loss, marker="o"))
        figure.draw(figure.signal([best[0]], [best[1]], marker="X"))
        legend += ["o validation", f"X best: {best[1]:.3f} at step {best[0]:,}"]
    ticks = _ticks(min(log.steps + log.validation_steps), max(log.steps + log.validation_steps))
    figure.ruler("x", "lower").ticks(ticks, [f"{tick:,}" for tick in ticks])
    lines = [line.rstrip() for line in figure.build().string(colorless=True).splitlines()]
    return "\n".join([*lines, "   " + "   ".join(legend)])


def _ticks(first: int, last: int) -> list[int]:
    return sorted({first + (last - first) * part // 5 for part in range(6)})
