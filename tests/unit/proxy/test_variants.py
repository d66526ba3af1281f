"""Who gets which variant: by share, for good, and moved only when he must be."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from proxy.settings import Model, Variant
from proxy.variants import choose, name_of, named, share_of

KEYS = [f"session {number}" for number in range(4000)]


def alias(name: str = "bot", **weights: float) -> Model:
    return Model(name=name, variants=tuple(Variant(name=one, model=f"m-{one}", weight=w) for one, w in weights.items()))


def chosen(model: Model, keys: list[str] = KEYS) -> list[str]:
    return [choose(model, key).name for key in keys]


@pytest.mark.parametrize("weights", [{"base": 90, "tuned": 10}, {"a": 1, "b": 1, "c": 2}, {"a": 0.3, "b": 0.1}])
def test_each_variant_gets_its_share(weights: dict[str, float]) -> None:
    model = alias(**weights)
    found = chosen(model)
    for variant in model.variants:
        assert found.count(variant.name) / len(KEYS) == pytest.approx(share_of(variant, model.variants), abs=0.03)


def test_a_growing_canary_takes_from_the_base_and_gives_nothing_back() -> None:
    before = chosen(alias(base=90, tuned=10))
    for share in (20, 50, 80, 100):
        after = chosen(alias(base=100 - share, tuned=share))
        moved = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
        assert set(moved) == {("base", "tuned")}
        before = after
    assert set(before) == {"tuned"}


WEIGHTS = st.lists(st.integers(0, 1000), min_size=2, max_size=5)


@given(WEIGHTS, st.integers(0, 4), st.integers(0, 1000))
def test_only_the_variant_whose_weight_changes_gains_or_loses(weights: list[int], which: int, weight: int) -> None:
    which %= len(weights)
    changed = [*weights[:which], weight, *weights[which + 1 :]]
    assume(sum(weights) and sum(changed))
    before = chosen(alias(**{f"v{n}": w for n, w in enumerate(weights)}), KEYS[:200])
    after = chosen(alias(**{f"v{n}": w for n, w in enumerate(changed)}), KEYS[:200])
    for old, new in zip(before, after, strict=True):
        assert old == new or (new if weight > weights[which] else old) == f"v{which}"


@given(WEIGHTS)
def test_neither_the_order_nor_the_scale_matters(weights: list[int]) -> None:
    assume(sum(weights))
    named_ = [(f"v{number}", weight) for number, weight in enumerate(weights)]
    shuffled = named_[::-1]
    first = alias(**dict(named_))
    assert chosen(first, KEYS[:100]) == chosen(alias(**dict(shuffled)), KEYS[:100])
    assert chosen(first, KEYS[:100]) == chosen(alias(**{name: 3 * weight for name, weight in named_}), KEYS[:100])


def test_two_aliases_choose_apart() -> None:
    one, other = chosen(alias("one", a=1, b=1)), chosen(alias("other", a=1, b=1))
    assert sum(x == y for x, y in zip(one, other, strict=True)) / len(KEYS) == pytest.approx(0.5, abs=0.05)


def test_a_variant_without_weight_is_never_chosen_but_can_be_named() -> None:
    model = alias(base=1, dark=0)
    assert set(chosen(model)) == {"base"}
    found = named(model, "dark")
    assert found is not None
    assert found.model == "m-dark"
    assert named(model, "none") is None


def test_the_name_is_the_model_when_there_is_none() -> None:
    assert name_of(Variant(model="gpt-5")) == "gpt-5"


def test_another_process_chooses_the_same() -> None:
    """Whatever PYTHONHASHSEED is, and after a restart: the numbers are those of today, too."""
    code = (
        "from proxy.settings import Model, Variant; from proxy.variants import choose;"
        "m = Model(name='bot', variants=(Variant(model='a'), Variant(model='b')));"
        "print(''.join(choose(m, f'user {n}').model for n in range(32)))"
    )
    runs = {
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
            env={"PYTHONHASHSEED": s},
        ).stdout
        for s in ("1", "2")
    }
    assert len(runs) == 1
    here = Model(name="bot", variants=(Variant(model="a"), Variant(model="b")))
    assert runs == {"".join(choose(here, f"user {n}").model for n in range(32)) + "\n"}
