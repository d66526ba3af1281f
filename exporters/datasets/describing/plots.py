"""Pictures of a dataset for its card: what became of the rows, how long examples are, and when their calls were.

The same numbers give the same bytes: fonts are those that matplotlib brings, and nothing of time or program is written.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ..building.splitting import SPLITS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from .manifest import Manifest

FOLDER: Final = "plots"
FUNNEL: Final = f"{FOLDER}/funnel.png"
TOKENS: Final = f"{FOLDER}/tokens.png"
TIMELINE: Final = f"{FOLDER}/timeline.png"

_INK: Final = "#333333"
_QUIET: Final = "#8a8f98"
_KEPT: Final = "#2f6db5"
_LOST: Final = "#c8cdd5"
_SPLIT_COLOURS: Final = {"train": _KEPT, "validation": "#e0912f", "test": "#4f9d69"}
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
    "svg.hashsalt": "penstock",
}
_TICKS_MAX: Final = 8


def draw(manifest: Manifest, folder: Path) -> list[Path]:
    """Write the pictures that the manifest has numbers for. Raises `OSError`."""
    import matplotlib

    (folder / FOLDER).mkdir(exist_ok=True)
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        drawn = {FUNNEL: _funnel(manifest), TOKENS: _tokens(manifest), TIMELINE: _timeline(manifest)}
        made = []
        for name, figure in drawn.items():
            if figure is not None:
                figure.savefig(folder / name, dpi=110, metadata={"Software": None})
                made.append(folder / name)
    return made


def _figure(title: str, height: float) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, height), layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title, loc="left", fontsize=11, fontweight="bold", pad=10)
    return figure, axes


def _funnel(manifest: Manifest) -> Figure:
    """Bars of what is left after each reason; what the reason took is grey."""
    names, left, lost = ["selected"], [manifest.selected], [0]
    for name, count in manifest.dropped.items():
        names.append(name.replace("_", " "))
        lost.append(count)
        left.append(left[-1] - count)
    names, left, lost = [*names, "written"], [*left, manifest.written], [*lost, 0]
    figure, axes = _figure(f"From {manifest.selected:,} rows to {manifest.written:,} examples", 1.1 + 0.32 * len(names))
    places = range(len(names))
    axes.barh(places, left, color=[_KEPT if name in ("selected", "written") else "#8db1dc" for name in names])
    axes.barh(places, lost, left=left, color=_LOST)
    for place, (rest, gone) in enumerate(zip(left, lost, strict=True)):
        said = f"−{gone:,}" if gone else f"{rest:,}"
        axes.text(rest + gone, place, f" {said}", va="center", ha="left", fontsize=9)
    axes.set_yticks(places, names)
    axes.invert_yaxis()
    axes.margins(x=0.12, y=0.02)
    axes.tick_params(length=0)
    axes.spines[["bottom", "left"]].set_visible(False)
    axes.set_xticks([])
    return figure


def _tokens(manifest: Manifest) -> Figure | None:
    bars = manifest.tokens.histogram
    if not bars:
        return None
    figure, axes = _figure("Tokens of an example", 3)
    places = range(len(bars))
    axes.bar(places, [count for _, count in bars], width=0.92, color=_KEPT)
    step = max(1, -(-len(bars) // _TICKS_MAX))
    axes.set_xticks([*places][::step], [f"≤ {bound:,}" for bound, _ in bars][::step])
    axes.tick_params(axis="x", length=0)
    axes.set_ylabel("examples")
    _counts_on(axes)
    axes.margins(y=0.14)
    for name, value in (("half", manifest.tokens.p50), ("95 %", manifest.tokens.p95)):
        place = next(place for place, (bound, _) in enumerate(bars) if value <= bound)
        axes.axvline(place, color=_INK, linewidth=0.8, linestyle=(0, (4, 3)))
        # Half of them to the left of its line, so that both can be read where the lines are close.
        before = name == "half" and place > 1
        axes.annotate(
            f"{name} ≤ {value:,}", (place, 1), xycoords=("data", "axes fraction"), xytext=(-4 if before else 4, -2),
            textcoords="offset points", fontsize=9, va="top", ha="right" if before else "left",
        )  # fmt: skip
    return figure


def _timeline(manifest: Manifest) -> Figure | None:
    if len(manifest.timeline) < 2:
        return None
    figure, axes = _figure("Examples by the time of their calls (UTC)", 3)
    places = range(len(manifest.timeline))
    below = [0] * len(manifest.timeline)
    for split in SPLITS:
        counts = [found.get(split, 0) for _, found in manifest.timeline]
        if any(counts):
            axes.bar(places, counts, bottom=below, width=0.92, color=_SPLIT_COLOURS[split], label=split)
            below = [low + count for low, count in zip(below, counts, strict=True)]
    begins = [datetime.fromisoformat(begin) for begin, _ in manifest.timeline]
    by_day = begins[1] - begins[0] >= begins[1] - begins[1].replace(hour=0) and begins[0].hour == begins[1].hour == 0
    step = max(1, -(-len(begins) // _TICKS_MAX))
    shown = [f"{begin:%Y-%m-%d}" if by_day else f"{begin:%m-%d %H:%M}" for begin in begins]
    axes.set_xticks([*places][::step], shown[::step])
    axes.tick_params(axis="x", length=0)
    axes.set_ylabel("examples")
    _counts_on(axes)
    if len(manifest.splits) > 1:
        axes.legend(frameon=False, ncols=3, loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0.2)
    return figure


def _counts_on(axes: Axes) -> None:
    """Whole numbers with separators, and no more lines than help to read them."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{int(value):,}"))
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", color="#e6e8ec", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines["left"].set_visible(False)
