"""What the semantic tier finds and what it mistakes, by threshold: `python -m tests.bench.semantic`.

`semantic_pairs.tsv` holds pairs of questions: the same one in other words (each found is a hit) and nearly the same one
with another answer (each found is a false hit). They and the guard's words were written by the same hand, so expect
less of the guard on your own traffic, and try: `--pairs FILE` takes other pairs (same|near, language, text, text).
`--url` and `--model` measure an embeddings address instead of the local model.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import os
import statistics
import time
from pathlib import Path
from typing import NamedTuple

from cache.embedding import Embedder, EmbeddingSkipped, LocalEmbedder, RemoteEmbedder, Vector
from cache.guard import marks_of
from cache.threads import Threads

PAIRS = Path(__file__).with_name("semantic_pairs.tsv")
THRESHOLDS = (0.70, 0.75, 0.80, 0.85, 0.88, 0.90, 0.92, 0.94, 0.96, 0.98)


class Pair(NamedTuple):
    same: bool
    language: str
    one: str
    other: str


class Judged(NamedTuple):
    pair: Pair
    likeness: float
    """Cosine; -1 when a text has no vector."""
    guarded: bool
    """The guard refuses."""


def read_pairs(path: Path) -> list[Pair]:
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        return [Pair(kind == "same", language, one, other) for kind, language, one, other in rows]


async def judge(embedder: Embedder, pairs: list[Pair]) -> list[Judged]:
    vectors: dict[str, Vector | None] = {}
    for text in dict.fromkeys(text for pair in pairs for text in (pair.one, pair.other)):
        try:
            vectors[text] = (await embedder.embed([text]))[0]
        except EmbeddingSkipped:
            vectors[text] = None
    judged = []
    for pair in pairs:
        one, other = vectors[pair.one], vectors[pair.other]
        likeness = -1.0 if one is None or other is None else float(one @ other)
        a, b = marks_of(pair.one), marks_of(pair.other)
        judged.append(Judged(pair, likeness, a.exact != b.exact or not a.may_match(b.words, b.order)))
    return judged


def rate(judged: list[Judged], threshold: float, *, same: bool, guard: bool) -> float:
    """The share of the `same` (or the near) pairs that are found."""
    found = [j.likeness >= threshold and not (guard and j.guarded) for j in judged if j.pair.same is same]
    return sum(found) / len(found) if found else 0.0


def table(judged: list[Judged]) -> str:
    lines = ["| threshold | hits | false hits | hits, guarded | false hits, guarded |", "|---|---|---|---|---|"]
    for threshold in THRESHOLDS:
        cells = [
            f"{100 * rate(judged, threshold, same=same, guard=guard):.0f} %"
            for guard in (False, True)
            for same in (True, False)
        ]
        lines.append(f"| {threshold:.2f} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=Path, default=PAIRS)
    parser.add_argument("--url", default="")
    parser.add_argument("--model", default="")
    parser.add_argument("--mistakes", type=float, metavar="THRESHOLD", help="show what the guarded tier gets wrong")
    arguments = parser.parse_args()
    threads = Threads("bench", 1, 8)
    key = os.environ.get("EMBEDDINGS_KEY", "")
    embedder: Embedder = (
        RemoteEmbedder(arguments.url, arguments.model, key) if arguments.url else LocalEmbedder(threads)
    )
    pairs = read_pairs(arguments.pairs)
    judged = await judge(embedder, pairs)
    same = sum(pair.same for pair in pairs)
    print(f"{embedder.name}: {same} pairs that are the same, {len(pairs) - same} that are not\n")
    for title, chosen in (("English", {"en"}), ("all", {pair.language for pair in pairs})):
        print(f"{title}\n\n{table([j for j in judged if j.pair.language in chosen])}\n")
    refused = [j for j in judged if j.guarded]
    print(
        f"The guard refuses {sum(j.pair.same for j in refused)} of {same} same pairs "
        f"and {sum(not j.pair.same for j in refused)} of {len(pairs) - same} near ones, whatever the threshold."
    )
    print(f"{1000 * await seconds(embedder, pairs):.2f} ms a text.")
    if arguments.mistakes is not None:
        for j in judged:
            if (j.likeness >= arguments.mistakes and not j.guarded) is not j.pair.same:
                print(f"{'missed' if j.pair.same else 'FALSE '} {j.likeness:.3f} {j.pair.one!r} {j.pair.other!r}")
    await embedder.aclose()
    threads.close()


async def seconds(embedder: Embedder, pairs: list[Pair]) -> float:
    """The median time for one text."""
    times = []
    for pair in pairs:
        begun = time.perf_counter()
        try:
            await embedder.embed([pair.one])
        except EmbeddingSkipped:
            continue
        times.append(time.perf_counter() - begun)
    return statistics.median(times)


if __name__ == "__main__":
    asyncio.run(main())
