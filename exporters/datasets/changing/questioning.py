"""Question after question to a stronger model, several at a time, within what they may cost. Every answer is kept."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..building.splitting import SPLITS
from ..describing.manifest import read
from ..example import Example
from ..options import Split
from ..progress import Progress
from .answers import Answers
from .asking import Answer, Asker, Unanswered, Waiting, question_of, tokens_of
from .judging import Judge
from .rewriting import read_back

CONCURRENCY: Final[dict[Waiting, int]] = {"off": 16, "hold": 500, "async": 500}
"""Questions open at a time: what waits for a batch should be in the same one."""
MARGIN: Final = 1.2
MARGIN_UNSEEN: Final = 3.0
"""How much dearer than expected open questions may be with --max-usd; the latter before any was answered."""
REFUSED_MAX: Final = 20
"""So many questions refused before any was answered: it is not the questions."""

Price = Callable[[int, int], float | None]
"""USD of a call with so many input and output tokens; None when the price is not known."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """What is to be relabelled, by whom, and for how much at most."""

    folder: Path
    root: Path
    name: str
    """Of the new dataset."""
    model: str
    price: Price
    splits: tuple[Split, ...] = SPLITS
    usd_max: float | None = None
    drop_failed: bool = False
    """Leave out what got no answer that can be kept; else it stays as it was."""


class Questioning:
    """Asks question after question, several at a time, until all are answered or it is told why not."""

    def __init__(self, task: Task, answers: Answers, progress: Progress) -> None:
        self._task = task
        self._answers = answers
        self._progress = progress
        self._judge = Judge(read(task.folder).options)
        self._ended = asyncio.Condition()
        self._open = 0
        self._reserved_usd = 0.0
        self._expected_usd = self._paid_usd = 0.0
        self.refused: dict[str, str] = {}
        """Questions that this run was told can not be answered. The next run asks them again: it costs nothing."""
        self._answered = 0
        self.stopped = ""

    async def run(self, asker: Callable[[], Asker], concurrency: int) -> None:
        if not concurrency:
            return
        questions = self._questions()
        async with asker() as asked, asyncio.TaskGroup() as group:
            for _ in range(concurrency):
                group.create_task(self._work(asked, questions))

    def _questions(self) -> Iterator[Example]:
        for origin, example in read_back(self._task.folder):
            if origin.split in self._task.splits and not example.rejected and origin.request_id not in self._answers:
                yield example

    async def _work(self, asker: Asker, questions: Iterator[Example]) -> None:
        """What was paid for is kept: nobody is interrupted when it is to stop."""
        for example in questions:
            expected = self._task.price(*tokens_of(example)) or 0.0
            if not await self._may_cost(expected):
                return
            try:
                found = await asker.ask(example.request_id, question_of(example, self._task.model))
                self._take(example, found, expected)
            except Unanswered as error:
                self.stopped = self.stopped or f"{error}."
            except OSError as error:
                self.stopped = self.stopped or f"The answers cannot be kept: {error.strerror or error}."
            finally:
                async with self._ended:
                    self._open -= 1
                    self._reserved_usd -= expected
                    self._ended.notify_all()

    async def _may_cost(self, expected: float) -> bool:
        """Reserve what a question may cost, if need be when others have ended. False: it is to stop."""
        async with self._ended:
            while not self.stopped and self._is_too_much(expected):
                if not self._open:
                    self.stopped = f"Another question could cost more than --max-usd {self._task.usd_max:g}."
                    break
                await self._ended.wait()
            if self.stopped:
                return False
            self._open += 1
            self._reserved_usd += expected
            return True

    def _is_too_much(self, expected: float) -> bool:
        if self._task.usd_max is None:
            return False
        # Stronger models say more: what is open is taken to be as much dearer as what came back.
        factor = max(1.0, self._paid_usd / self._expected_usd) * MARGIN if self._expected_usd else MARGIN_UNSEEN
        return self._answers.usd + (self._reserved_usd + expected) * factor > self._task.usd_max

    def _take(self, example: Example, found: Answer, expected: float) -> None:
        self._progress.advance()
        if found.failure.startswith("http_"):
            self.refused[example.request_id] = found.failure
            if not self._answered and len(self.refused) >= REFUSED_MAX:
                self.stopped = f"The first {REFUSED_MAX} questions were refused ({found.failure})."
            return
        if found.usd is None:
            # It was paid for also where nobody says how much: by its usage, else as it was expected to be.
            sent, received = tokens_of(example)
            if found.input_tokens is not None:
                sent, received = found.input_tokens, found.output_tokens or 0
            found.usd = self._task.price(sent, received)
        self._answered += 1
        self._expected_usd += expected
        self._paid_usd += found.usd or 0.0
        self._answers.add(self._judge.judged(example, found))
