"""The steps that look at all rows at once: which stay, and in which split. Pure functions over the index."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..options import Options
from ..reasons import Reason
from .splitting import assign, crossing

Rows = NDArray[Any]
Clusters = Callable[[NDArray[np.int64]], NDArray[np.int64]]
"""From the numbers of the rows that are left: for each the number of its cluster, which is that of one of its rows."""


@dataclass(frozen=True, slots=True)
class Choice:
    reason: NDArray[np.uint8]
    """By row; `Reason.KEPT` for what is written."""
    split: NDArray[np.uint8]
    """By row, as a place in `splitting.SPLITS`; means nothing for what is not written."""
    cluster: NDArray[np.int64]
    """By row: the row that stands for all that are nearly the same, itself where there are none."""

    def dropped(self) -> Counter[int]:
        found = Counter(self.reason.tolist())
        del found[Reason.KEPT]
        return found


def choose(rows: Rows, prefixes: NDArray[np.uint64], options: Options, clusters: Clusters | None) -> Choice:
    """What is written of `rows`. The same rows give the same choice, in whatever order they stand.

    `prefixes`: digests of the beginnings of all conversations. `clusters` finds near duplicates; None: not looked for.
    """
    reason = np.zeros(len(rows), np.uint8)
    cluster = np.arange(len(rows), dtype=np.int64)

    def left() -> NDArray[np.int64]:
        return np.flatnonzero(reason == Reason.KEPT)

    if not options.deduplicate.keep_prefixes:
        # A corrected answer is in no other conversation.
        reason[np.isin(rows["whole"], prefixes) & (rows["paired"] == 0)] = Reason.PREFIX
    if options.deduplicate.exact:
        here = left()
        reason[_behind_the_first(here, rows["text"][here], _best(rows, here))] = Reason.EXACT_DUPLICATE
    if clusters is not None:
        here = left()
        cluster[here] = clusters(here)
        reason[_behind_the_first(here, cluster[here], _best(rows, here))] = Reason.NEAR_DUPLICATE
    here = left()
    reason[here[rows["benchmark"][here] != 0]] = Reason.BENCHMARK
    if options.select.sample:
        here = left()
        reason[_behind_the_first(here, rows["group"][here], _any(rows, here), options.select.sample)] = (
            Reason.SAMPLED_OUT
        )
    arrange = options.arrange
    _cap(rows, reason, "user", arrange.per_user_max, Reason.USER_CAP)
    _cap(rows, reason, "template", arrange.per_template_max, Reason.TEMPLATE_CAP)
    _cap(rows, reason, "label", arrange.per_label_max, Reason.LABEL_CAP)
    if options.select.limit:
        here = left()
        reason[here[_any(rows, here)[options.select.limit :]]] = Reason.OVER_LIMIT
    here = left()
    split = np.zeros(len(rows), np.uint8)
    split[here] = assign(rows[here], arrange)
    reason[here[crossing(rows[here], split[here], cluster[here])]] = Reason.CROSSES_SPLITS
    return Choice(reason, split, cluster)


def _best(rows: Rows, here: NDArray[np.int64]) -> NDArray[np.int64]:
    """Places in `here`, best first: corrected, best scored, longest, and then in an order that never changes."""
    some = rows[here]
    score = np.nan_to_num(some["score"], nan=-np.inf)
    return np.lexsort((some["order"], -some["turns"].astype(np.int64), -score, -some["paired"].astype(np.int64)))


def _any(rows: Rows, here: NDArray[np.int64]) -> NDArray[np.int64]:
    """Places in `here` in an order that has to do with nothing, and is the same again when rows are added."""
    return np.argsort(rows["order"][here], kind="stable")


def _behind_the_first(
    here: NDArray[np.int64], name: NDArray[Any], order: NDArray[np.int64], first: int = 1
) -> NDArray[np.int64]:
    """Rows of `here` that are not among the `first` of their name, in `order`."""
    by_name = order[np.argsort(name[order], kind="stable")]
    named = name[by_name]
    if not len(named):
        return here
    begins = np.flatnonzero(np.r_[True, named[1:] != named[:-1]])
    place = np.arange(len(named)) - np.repeat(begins, np.diff(np.r_[begins, len(named)]))
    return here[by_name[place >= first]]


def _cap(rows: Rows, reason: NDArray[np.uint8], name: str, most: int, why: Reason) -> None:
    """Leave the best `most` rows of a name. Rows without one are not counted."""
    if most:
        here = np.flatnonzero((reason == Reason.KEPT) & (rows[name] != 0))
        reason[_behind_the_first(here, rows[name][here], _best(rows, here), most)] = why
