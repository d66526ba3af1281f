"""Give a tuned model a share of an alias's calls, take it back, and refuse what an evaluation speaks against.

The story of a promotion: `objection` reads the run's evaluation, `promote` or `roll_back` changes the text of the
configuration, and the caller checks that text, writes the `Step` into the journal, puts the text in place and has the
proxy load it. The journal stands beside the configuration, so that a roll-back needs neither the run nor its model.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from .aliases import Aliases, Table
from .errors import FinetuneError
from .promotions import Step, standing
from .run import Run

BASE: Final = "base"
"""The variant that an alias begins with."""


class Difference(msgspec.Struct):
    """Of a model against the baseline, on the same examples."""

    difference: float
    low: float
    high: float


class Evaluation(msgspec.Struct):
    """The part of `evaluation.json` that promotion depends on."""

    primary: str
    baseline: str
    split: str = ""
    tuned: str = ""
    compared: dict[str, dict[str, Difference]] = {}
    higher_is_better: dict[str, bool] = {}


class Promotion(msgspec.Struct, kw_only=True, frozen=True):
    """What is to be. `share` in percent."""

    alias: str
    variant: str
    model: str
    share: float
    run: str = ""
    upstream: str = ""
    """Where it is asked; "": as the `models` of upstreams say."""
    url: str = ""
    """Of `upstream`, when it is to be added."""
    api_key: str = ""
    """Of `upstream`, as a reference."""
    base_model: str = ""
    """For an alias that is new, or has no other variant."""
    sticky: str = "session"
    prune: tuple[str, ...] = ()
    prune_user: tuple[str, ...] = ()


def evaluation_of(run: Run) -> Evaluation | None:
    """None when there is none. Raises `FinetuneError` when it cannot be read."""
    try:
        return msgspec.json.decode(run.evaluation.read_bytes(), type=Evaluation)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise FinetuneError(f"{run.evaluation} cannot be read: {error.strerror}.") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise FinetuneError(f"{run.evaluation} is no evaluation: {error}. Make it again: penstock evaluate") from error


def objection(run: Run) -> str:
    """Why the run should not answer anybody: not finished, not evaluated on what it did not see, or worse than the
    baseline beyond the interval of the primary metric. "" when nothing speaks against it. Raises `FinetuneError`."""
    if run.file.state != "finished":
        return f"the run {run.name} is {run.file.state}, not finished"
    found = evaluation_of(run)
    if found is None:
        name = run.file.dataset.name
        return f"{run.name} was not evaluated. Do it: penstock evaluate --dataset {name} --split test --run {run.name}"
    if found.split == "train":
        return f"{run.name} was evaluated on what it was trained on. Do it on what it did not see: --split test"
    against = found.compared.get(found.tuned, {}).get(found.primary)
    better = found.higher_is_better.get(found.primary)
    if against is None or better is None:
        return f"the evaluation does not compare {run.name} with {found.baseline} by {found.primary}"
    bounds = (against.low, against.high)
    if not all(map(math.isfinite, (against.difference, *bounds))):
        return f"the evaluation has no interval for {found.primary}"
    if max(bounds) < 0 if better else min(bounds) > 0:
        return (
            f"{found.tuned} is worse than {found.baseline}: {found.primary} {against.difference:+.4g} "
            f"({against.low:+.4g} to {against.high:+.4g}), {'more' if better else 'less'} would be better"
        )
    return ""


def shares(text: str, alias: str) -> dict[str, float]:
    """By variant, in percent; empty when there is no such alias. Raises `FinetuneError` when it is not TOML."""
    aliases = Aliases(text)
    place = aliases.alias(alias)
    return {} if place is None else _shares(aliases.variants(place))


def model_of(text: str, alias: str, variant: str) -> str:
    """What the variant is asked for now; "" when there is none. Raises `FinetuneError` when it is not TOML."""
    aliases = Aliases(text)
    place = aliases.alias(alias)
    found = [] if place is None else [one for one in aliases.variants(place) if _name(one) == variant]
    return str(found[0].get("model", "")) if found else ""


def promote(text: str, wanted: Promotion, upstreams: Sequence[Table]) -> tuple[str, Step]:
    """The configuration by which the variant has its share, and the others the rest in their former proportions.

    `upstreams` stand in the file when it names none. Raises `FinetuneError`.
    """
    aliases = Aliases(text)
    added = _add_upstream(aliases, wanted, upstreams) if wanted.url else ""
    if wanted.upstream and aliases.upstream(wanted.upstream) is None:
        raise FinetuneError(f"There is no upstream {wanted.upstream}. Say where it is: --url http://host:port/v1")
    place = aliases.alias(wanted.alias)
    before = {} if place is None else _shares(aliases.variants(place))
    restore = {BASE: 100.0} if place is None else _weights(aliases.variants(place))
    if place is None:
        aliases.add_alias({"name": wanted.alias, "sticky": wanted.sticky, "baseline": BASE}, [_base(wanted)])
        place = len(aliases.tables["models"]) - 1
    _put(aliases, place, wanted)
    _give(aliases, place, wanted)
    step = Step(
        action="promote",
        alias=wanted.alias,
        variant=wanted.variant,
        model=wanted.model,
        run=wanted.run,
        before=before,
        after=_shares(aliases.variants(place)),
        weights=restore,
        upstream=added,
    )
    return aliases.text(), step


def _add_upstream(aliases: Aliases, wanted: Promotion, upstreams: Sequence[Table]) -> str:
    """Its name when it is new. One that only serves this model may move."""
    there = aliases.upstream(wanted.upstream)
    if there is not None:
        if there.get("base_url") != wanted.url:
            if there.get("models") != [wanted.model]:
                raise FinetuneError(
                    f"The upstream {wanted.upstream} is at {there.get('base_url')}. Name another one with --upstream."
                )
            aliases.set_upstream(wanted.upstream, "base_url", wanted.url)
        return ""
    if "upstreams" not in aliases.tables:
        for upstream in upstreams:
            aliases.add_upstream({**upstream})
    made: Table = {"name": wanted.upstream, "base_url": wanted.url, "models": [wanted.model], "batch": "local"}
    if wanted.api_key:
        made["api_key"] = wanted.api_key
    aliases.add_upstream(made)
    return wanted.upstream


def _base(wanted: Promotion) -> Table:
    if not wanted.base_model:
        raise FinetuneError(f"Say which model answers for {wanted.alias} otherwise: --base-model NAME")
    return {"name": BASE, "model": wanted.base_model, "weight": 100}


def _put(aliases: Aliases, place: int, wanted: Promotion) -> None:
    """Have the variant, without a share if it is new."""
    variants = aliases.variants(place)
    if all(_name(variant) == wanted.variant for variant in variants):
        aliases.add_variant(place, _base(wanted) | {"weight": 0})
    for index, variant in enumerate(variants):
        if _name(variant) == wanted.variant:
            aliases.set_variant(place, index, "model", wanted.model)
            if wanted.upstream:
                aliases.set_variant(place, index, "upstream", wanted.upstream)
            return
    made: Table = {"name": wanted.variant, "model": wanted.model, "weight": 0}
    for key, value in (("upstream", wanted.upstream), ("prune", wanted.prune), ("prune_user", wanted.prune_user)):
        if value:
            made[key] = value if isinstance(value, str) else list(value)
    aliases.add_variant(place, made)


def _give(aliases: Aliases, place: int, wanted: Promotion) -> None:
    """Weights that are shares in percent."""
    variants = aliases.variants(place)
    others = [index for index, variant in enumerate(variants) if _name(variant) != wanted.variant]
    sum_ = math.fsum(_weight(variants[index]) for index in others)
    rest = 100 - wanted.share
    for index, variant in enumerate(variants):
        if index not in others:
            weight = wanted.share
        elif sum_:
            weight = rest * _weight(variant) / sum_
        else:
            weight = rest if index == others[0] else 0
        aliases.set_variant(place, index, "weight", _number(weight))


def roll_back(text: str, alias: str, steps: Sequence[Step]) -> tuple[str, Step]:
    """The configuration as it was before the variant that was promoted last had any share. A variant that was not
    there then is taken out, with its upstream if that came with it and nobody else is sent there. What somebody made
    of the other variants by hand since then stays.

    `steps`: of the journal. Raises `FinetuneError` when there is nothing to take back.
    """
    promoted = standing(alias, steps)
    if not promoted:
        raise FinetuneError(f"Nothing was promoted to {alias}, or all of it was taken back: see penstock check")
    last, first = promoted[-1], promoted[0]
    aliases = Aliases(text)
    place = aliases.alias(alias)
    if place is None:
        raise FinetuneError(f"There is no alias {alias} in the configuration any more.")
    variants = aliases.variants(place)
    before = _shares(variants)
    restore = {**_former(promoted, variants), last.variant: first.weights.get(last.variant)}
    for index in reversed(range(len(variants))):
        weight = restore.get(name := _name(variants[index]))
        if weight is not None:
            aliases.set_variant(place, index, "weight", _number(weight))
        elif name == last.variant:
            aliases.remove_variant(place, index)
    if variants and not any(map(_weight, variants)):
        aliases.set_variant(place, 0, "weight", 100)
    used = {variant.get("upstream") for model in aliases.tables["models"] for variant in model.get("variants", [])}
    for step in promoted:
        if step.upstream and step.upstream not in used and aliases.upstream(step.upstream) is not None:
            aliases.remove_upstream(step.upstream)
    step = Step(
        action="rollback",
        alias=alias,
        variant=last.variant,
        model=last.model,
        run=last.run,
        before=before,
        after=_shares(variants),
    )
    return aliases.text(), step


def _former(promoted: Sequence[Step], variants: Sequence[Table]) -> dict[str, float]:
    """Weights of before the first of `promoted`; where somebody changed shares by hand since then, his, which later
    promotions have only scaled."""
    weights, found = _weights(variants), _shares(variants)
    for step in reversed(promoted):
        if step.after == found:
            weights, found = step.weights, step.before
        elif step.before != found:  # else it never came into the file
            break
    others = [weight for name, weight in weights.items() if name != promoted[-1].variant]
    return weights if any(others) else promoted[0].weights


def _name(variant: Table) -> Any:
    return variant.get("name") or variant.get("model")


def _weight(variant: Table) -> float:
    weight = variant.get("weight", 1.0)
    return float(weight) if isinstance(weight, int | float) else 0.0


def _weights(variants: Sequence[Table]) -> dict[str, float]:
    return {_name(variant): _weight(variant) for variant in variants}


def _shares(variants: Sequence[Table]) -> dict[str, float]:
    sum_ = math.fsum(map(_weight, variants))
    return {_name(variant): round(100 * _weight(variant) / sum_, 4) if sum_ else 0.0 for variant in variants}


def _number(weight: float) -> float:
    rounded = round(weight, 4)
    return int(rounded) if rounded == int(rounded) else rounded
