"""An evaluation as a picture: for each metric the models' means with what they may be, against the baseline's."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from ..errors import FinetuneError
from .result import Evaluation

COLORS: Final = {"better": "#1a7f37", "worse": "#cf222e", "": "#57606a"}
_COLUMNS: Final = 3
_NAME_CHARS_MAX: Final = 28


def draw(evaluation: Evaluation, path: Path) -> None:
    """A PNG. Green and red are significant, after correction; grey may be chance. Raises `FinetuneError`."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    metrics = list(evaluation.higher_is_better)
    columns = min(_COLUMNS, len(metrics))
    rows = -(-len(metrics) // columns)
    tall = 0.9 + 0.36 * len(evaluation.models)
    figure = Figure(figsize=(4.2 * columns + 1.2, tall * rows + 0.8), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False)
    for place, panel in enumerate(axes.flat):
        if place < len(metrics):
            _panel(panel, evaluation, metrics[place], named=place % columns == 0)
        else:
            panel.set_axis_off()
    figure.suptitle(
        f"{evaluation.dataset.name}, {evaluation.split}: {evaluation.examples} examples, 95 % intervals; "
        f"green: better than {_short(evaluation.baseline)}, red: worse",
        fontsize=10,
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=130)
    except OSError as error:
        raise FinetuneError(f"{path} cannot be written: {error.strerror}.") from error


def _panel(panel: Any, evaluation: Evaluation, metric: str, *, named: bool) -> None:
    models = list(evaluation.models)
    for height, model in enumerate(models):
        found = evaluation.models[model].get(metric)
        if found is None:
            continue
        color = "#0969da" if model == evaluation.baseline else COLORS[evaluation.verdict(model, metric)]
        reach = [[found["mean"] - found["low"]], [found["high"] - found["mean"]]]
        panel.errorbar(
            found["mean"],
            height,
            xerr=reach,
            fmt="o",
            color=color,
            ecolor=color,
            capsize=3,
            markersize=5,
            linewidth=1.6,
        )
        panel.annotate(
            f"{found['mean']:.3f}",
            (found["mean"], height),
            xytext=(0, 6),
            textcoords="offset points",
            ha="center",
            fontsize=8,
            color=color,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6},
        )
    base = evaluation.models[evaluation.baseline].get(metric)
    if base is not None:
        panel.axvline(base["mean"], color="#0969da", linewidth=0.8, linestyle=":")
    panel.set_ylim(len(models) - 0.4, -0.6)
    panel.set_yticks(
        range(len(models)), [_short(model) for model in models] if named else [""] * len(models), fontsize=9
    )
    better = "more is better" if evaluation.higher_is_better[metric] else "less is better"
    panel.set_title(f"{metric}{' *' if metric == evaluation.primary else ''}  ({better})", fontsize=9)
    panel.tick_params(axis="x", labelsize=8)
    panel.grid(axis="x", alpha=0.25)
    panel.spines[["top", "right"]].set_visible(False)
    panel.margins(x=0.12)


def _short(name: str) -> str:
    return name if len(name) <= _NAME_CHARS_MAX else f"{name[: _NAME_CHARS_MAX - 9]}…{name[-8:]}"
