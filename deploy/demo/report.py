"""What came of the loop, as a page of Markdown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .loop import BASE, TUNED, Size, Told


def report(told: Told, size: Size) -> str:
    return "\n".join([*_head(told, size), *_training(told), *_evaluation(told.evaluation), *_alias(told)]) + "\n"


def _head(told: Told, size: Size) -> Iterator[str]:
    splits = told.manifest["splits"]
    counts = ", ".join(f"{split['examples']} {name}" for name, split in splits.items())
    total = sum(told.took_s.values())
    times = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in told.took_s.items())
    yield f"{size.conversations} conversations became {told.manifest['written']} examples ({counts})."
    yield ""
    yield (
        f"All of it took {total / 60:.1f} minutes: {times}. {told.calls:,} calls went through Penstock, "
        f"{told.failed:,} of them failed."
    )


def _training(told: Told) -> Iterator[str]:
    run = told.run
    before, after = run["perplexity"]["base"], run["perplexity"]["tuned"]
    yield ""
    yield (
        f"Trained: {run['steps']} steps on {run['device']}, {run['trainable_parameters']:,} of {run['parameters']:,} "
        f"parameters, {run['tokens_per_second']:.0f} tokens a second. Perplexity on the validation split: "
        f"{_interval(before)} before, {_interval(after)} after (95 % intervals)."
    )


def _evaluation(found: dict[str, Any]) -> Iterator[str]:
    yield ""
    yield f"| test split, {found['examples']} examples | {BASE} | {TUNED} | difference | p |"
    yield "|---|---|---|---|---|"
    models, compared = found["models"], found["compared"][TUNED]
    for metric in models[BASE]:
        if metric not in compared or not isinstance(models[BASE][metric], dict):
            continue
        one = compared[metric]
        yield (
            f"| {metric} | {_interval(models[BASE][metric])} | {_interval(models[TUNED][metric])} "
            f"| {one['difference']:+.2f} ({one['low']:+.2f} to {one['high']:+.2f}) | {_p(one['p'])} |"
        )


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _alias(told: Told) -> Iterator[str]:
    yield ""
    for phase, variants in told.variants.items():
        counts = ", ".join(f"{variant} {count}" for variant, count in variants.items())
        yield f"With {phase} for the tuned model, calls of the alias were answered by: {counts}."
        yield ""
    yield "One of its answers:"
    yield ""
    yield "```text"
    yield told.answer
    yield "```"


def _interval(found: dict[str, Any]) -> str:
    return f"{found['mean']:.2f} ({found['low']:.2f} to {found['high']:.2f})"
