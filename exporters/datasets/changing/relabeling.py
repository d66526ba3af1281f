"""Relabel: a stronger model answers what a dataset asks, and its answers and the old ones become preference pairs.

    estimate ▸ ask, with every answer kept on disk ▸ judge ▸ write

An answer is judged and scrubbed as those of a build are. Who answers better is not asked: the stronger model's answer
is the preferred one. Examples that a person corrected stay as they are.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from ..assembling.assembly import BYTES_A_TOKEN
from ..describing.manifest import MANIFEST, Manifest, read
from ..errors import DatasetError
from ..example import Example, answer, text_of
from ..progress import Progress
from ..provenance import Origin
from ..reasons import Reason
from .answers import Answers, Head
from .asking import Answer, Asker, tokens_of
from .questioning import Questioning, Task
from .rewriting import check_name, read_back, rewrite


@dataclass(slots=True)
class Estimate:
    """What the questions that are still to be asked will cost, about."""

    questions: int = 0
    answered: int = 0
    """By a run before."""
    corrected: int = 0
    """Corrected by a person, and not asked."""
    input_tokens: int = 0
    output_tokens: int = 0
    """As many as the old answers have."""
    usd: float | None = 0.0
    """None: the price is not known."""
    spent_usd: float = 0.0
    """By runs before."""


@dataclass(slots=True)
class Result:
    manifest: Manifest
    relabeled: int = 0
    unchanged: int = 0
    """The stronger model said the same."""
    corrected: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    usd: float = 0.0
    unpriced: int = 0
    """Answers whose cost is not known, and not in `usd`."""


def estimate(task: Task) -> Estimate:
    """Reads the dataset, and asks nobody. Raises `DatasetError`."""
    check(task)
    found = Estimate()
    with contextlib.ExitStack() as opened:
        # Where there are none a question about the price leaves no file.
        before = opened.enter_context(closing(_answers(task))) if _place(task).exists() else None
        found.spent_usd = before.usd if before else 0.0
        for origin, example in read_back(task.folder):
            if origin.split not in task.splits:
                continue
            if example.rejected:
                found.corrected += 1
            elif before is not None and origin.request_id in before:
                found.answered += 1
            else:
                sent, received = tokens_of(example)
                cost = task.price(sent, received)
                found.questions += 1
                found.input_tokens += sent
                found.output_tokens += received
                found.usd = None if cost is None or found.usd is None else found.usd + cost
    return found


def relabel(task: Task, asker: Callable[[], Asker], concurrency: int, progress: Progress) -> Result:
    """Ask what was not asked yet, then make the new dataset. `asker` is called once, in the loop that asks.

    Raises `DatasetError`: the money is spent, the model cannot be asked (both leave the answers there are to the next
    run), the name is taken, the disk is full.
    """
    before = estimate(task)
    if task.usd_max is not None and before.usd is None:
        raise DatasetError(
            f"The price of {task.model} is not known, so --max-usd cannot be held. Say it under [prices], or leave "
            "--max-usd out."
        )
    try:
        with closing(_answers(task)) as answers:
            asking = Questioning(task, answers, progress)
            progress.phase(f"asking {task.model}", before.questions)
            asyncio.run(asking.run(asker, min(concurrency, before.questions)))
            answers.sync()
            if asking.stopped:
                raise DatasetError(
                    f"{asking.stopped} {len(answers):,} answers for ${answers.usd:.2f} are kept; the same command goes "
                    "on from there."
                )
            result = _write(task, answers, asking.refused, progress)
            answers.remove()
            return result
    except OSError as error:
        raise DatasetError(_not_kept(task, error)) from error


def check(task: Task) -> None:
    """Raises `DatasetError`: there is a dataset of that name, or the examples are not what was asked."""
    check_name(task.root, task.name)
    options = read(task.folder).options
    if options.write.prune or options.write.prune_user:
        raise DatasetError(
            f"{options.name} is pruned: a model that was not tuned needs what was cut. Relabel the dataset that it was "
            "made of, and prune the result."
        )


def _answers(task: Task) -> Answers:
    """Raises `DatasetError`."""
    dataset = hashlib.sha256((task.folder / MANIFEST).read_bytes()).hexdigest()
    try:
        return Answers(_place(task), Head(dataset=dataset, model=task.model))
    except OSError as error:
        raise DatasetError(_not_kept(task, error)) from error


def _not_kept(task: Task, error: OSError) -> str:
    return f"The answers cannot be kept in {task.root}: {error.strerror or error}."


def _place(task: Task) -> Path:
    return task.root / f".{task.name}.relabeling.jsonl"


def _write(task: Task, answers: Answers, refused: dict[str, str], progress: Progress) -> Result:
    result = Result(manifest=read(task.folder), usd=answers.usd)

    def change(origin: Origin, example: Example) -> Example | Reason:
        if origin.split not in task.splits:
            return example
        if example.rejected:
            result.corrected += 1
            return example
        found = answers.get(origin.request_id)
        if found is None or found.message is None:
            result.failures[found.failure if found else refused[origin.request_id]] += 1
            return Reason.NOT_RELABELED if task.drop_failed else example
        result.unpriced += found.usd is None
        if _is_same(found.message, answer(example)):
            result.unchanged += 1
            return example
        result.relabeled += 1
        return _relabeled(example, found)

    def deed() -> dict[str, Any]:
        counts = {name: getattr(result, name) for name in ("relabeled", "unchanged", "corrected", "unpriced")}
        failures = dict(sorted(result.failures.items()))
        done: dict[str, Any] = {"action": "relabel", "of": result.manifest.name, "model": task.model}
        done |= {"splits": [*task.splits], "usd": round(result.usd, 6), **counts, "failures": failures}
        return done | {"failed": "dropped" if task.drop_failed else "kept"}

    result.manifest, result.manifest.name = (
        rewrite(task.folder, task.root, task.name, change, deed, progress),
        task.name,
    )
    return result


def _is_same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    same_calls = one.get("tool_calls") == other.get("tool_calls")
    return same_calls and text_of(one).strip() == text_of(other).strip()


def _relabeled(example: Example, found: Answer) -> Example:
    """The new answer, and the old one as the rejected one. What feedback said was of the old one."""
    assert found.message is not None
    sent, _ = tokens_of(example)
    received = found.output_tokens
    estimated = received is None
    if received is None:
        received = round(len(msgspec.json.encode(found.message)) / BYTES_A_TOKEN)
    return msgspec.structs.replace(
        example,
        messages=[*example.messages[:-1], found.message],
        rejected=[answer(example)],
        model=found.model,
        score=None,
        label="",
        tokens=(sent if found.input_tokens is None else found.input_tokens) + received,
        tokens_estimated=estimated or (found.input_tokens is None and example.tokens_estimated),
        output_tokens=None if estimated else received,
    )
