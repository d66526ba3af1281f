"""The story of an evaluation, top down.

    penstock evaluate support-v1 --split test --models gpt-5-mini,support-v1-lora --run support-v1-lora

Examples are read, every model is asked all of them, answers are scored, means and differences get their intervals,
files are written, and the scores go to ClickHouse. Ended halfway it is gone on with: what was answered is not asked
again, and the result is the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from ..dataset import Dataset, Split
from ..errors import FinetuneError
from ..run import Run
from . import perplexity, recording, result, structured, summary
from .asking import Answer, Asker, Sampling, check_address, question
from .examples import Example, read
from .journal import Journal, key_of
from .patterns import PREFIX
from .perplexity import Loss
from .prompting import Contestant, contestants
from .result import Evaluation, Measured, Places
from .scoring import METRICS, Scorer, higher_is_better
from .statistics import EXAMPLES_MIN
from .summary import Asked
from .together import together

ALL_METRICS: Final = (*METRICS, "perplexity")
_LOSSES_AT_ONCE: Final = 32

Progress = Callable[[int, int], None]
"""Questions that were answered, of how many."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked of whom, and how it is scored. The same options, answers and seed make the same evaluation."""

    models: tuple[str, ...]
    """The first one is the baseline."""
    url: str
    """With `/v1`."""
    split: Split = "test"
    few_shot: tuple[str, ...] = ()
    """`MODEL=FILE`: the model is asked behind the prompt of the file too, and is then `MODEL+few-shot`."""
    tuned: str = ""
    """The one of `models` that is the run's."""
    metrics: tuple[str, ...] = ()
    """None: all that apply."""
    primary: str = ""
    """"": by what the answers are."""
    labels: tuple[str, ...] = ()
    schema: Path | None = None
    patterns: tuple[str, ...] = ()
    """`NAME=REGEX`: answers in which it is found score 1 in `pattern:NAME`."""
    tokenizer: str = ""
    """Folder, file or name that the chat template is read from, for perplexity."""
    sampling: Sampling = Sampling()
    limit: int | None = None
    concurrency: int = 8
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.models or len(set(self.models)) != len(self.models) or "" in self.models:
            raise FinetuneError("Name one model or more, each once: --models base,tuned.")
        check_address(self.url)
        if self.tuned and self.tuned not in self.models:
            raise FinetuneError(f"--tuned {self.tuned} is none of the models: {', '.join(self.models)}.")
        for name in (*self.metrics, *((self.primary,) if self.primary else ())):
            if name not in ALL_METRICS and not name.startswith(PREFIX):
                raise FinetuneError(f"There is no metric {name}. There are {', '.join(ALL_METRICS)}.")


def evaluate(
    dataset: Dataset,
    options: Options,
    api_key: str,
    places: Places,
    *,
    run: Run | None = None,
    progress: Progress = lambda done, all_: None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Evaluation:
    """Ask, score, compare, write, record. Raises `FinetuneError`; what was answered until then is kept."""
    asked_of = contestants(options.models, options.few_shot)
    examples = read(dataset, options.split, limit=options.limit, seed=options.seed)
    if len(examples) < EXAMPLES_MIN:
        raise FinetuneError(f"{options.split} has one example, which proves nothing: take another --split.")
    scorer = _scorer(examples, options)
    notes = [*_of_another(dataset, run), *scorer.notes]
    with Journal(places.answers, now=now) as journal:
        asked = asyncio.run(_ask_all(asked_of, examples, options, api_key, journal, scorer, run, notes, progress))
        made = _evaluation(dataset, options, examples, asked, scorer, journal, notes)
        metric = made.primary
        result.save_details(summary.details(examples, asked, made.baseline, metric), places.details)
        result.save(made, places.result)
        if _record(made, asked, options, api_key):
            journal.done()
        result.save(made, places.result)
    from . import forest

    forest.draw(made, places.plot)
    if run is not None and places.result == run.evaluation:
        from ..card import write_card

        write_card(run)
    return made


def _of_another(dataset: Dataset, run: Run | None) -> list[str]:
    if run is None or run.file.dataset.sha256 == dataset.sha256:
        return []
    return [f"{run.name} was trained on another dataset than this: it may have learnt what it is asked here."]


def _scorer(examples: Sequence[Example], options: Options) -> Scorer:
    schema = None
    if options.schema is not None:
        try:
            schema = structured.check_schema(msgspec.json.decode(options.schema.read_bytes()), str(options.schema))
        except OSError as error:
            raise FinetuneError(f"{options.schema} cannot be read: {error.strerror}.") from error
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise FinetuneError(f"{options.schema} is no JSON: {error}.") from error
    scorer = Scorer(examples, metrics=options.metrics, labels=options.labels, schema=schema, patterns=options.patterns)
    if options.primary and options.primary not in (*scorer.metrics, "perplexity"):
        raise FinetuneError(f"--primary {options.primary} cannot be taken on these examples.")
    return scorer


async def _ask_all(
    asked_of: Mapping[str, Contestant],
    examples: Sequence[Example],
    options: Options,
    api_key: str,
    journal: Journal,
    scorer: Scorer,
    run: Run | None,
    notes: list[str],
    progress: Progress,
) -> dict[str, Asked]:
    """Every contestant's answers, scored. They take turns, so that a slow hour is slow for all of them."""
    answers: dict[tuple[str, str], Answer] = {}
    asker = Asker(options.url, api_key, tags={"evaluation": journal.id, "split": options.split})
    gate = asyncio.Semaphore(options.concurrency)

    def body_of(name: str, example: Example) -> dict[str, Any]:
        who = asked_of[name]
        return question(who.model, who.asked(example), options.sampling)

    async def one(name: str, example: Example) -> None:
        body = body_of(name, example)
        key = key_of(body)
        kept = journal.get(key)
        if kept is None:
            async with gate:
                answer = await asker.ask(body)
            journal.keep(key, answer)
        else:
            answer = msgspec.json.decode(kept, type=Answer)
        answers[name, example.id] = answer
        progress(len(answers), len(examples) * len(asked_of))

    async with asker:
        await together([one(name, example) for example in examples for name in asked_of])
        found = {}
        for name in asked_of:
            said = [answers[name, example.id] for example in examples]
            if all(one.failure for one in said):
                for example in examples:
                    journal.keep(key_of(body_of(name, example)), None)
                raise FinetuneError(_none_answered(name, said))
            scores = [scorer.score(example, answer) for example, answer in zip(examples, said, strict=True)]
            found[name] = Asked(answers=said, scores=scores)
        await _add_losses(found, asked_of, examples, asker, options, journal, run, notes)
    return found


async def _add_losses(
    found: Mapping[str, Asked],
    asked_of: Mapping[str, Contestant],
    examples: Sequence[Example],
    asker: Asker,
    options: Options,
    journal: Journal,
    run: Run | None,
    notes: list[str],
) -> None:
    """Perplexity, where it is wanted and a server can be trusted with it; else a note that says why there is none."""
    wanted = "perplexity" in options.metrics or options.primary == "perplexity"
    local = run is not None and run.file.method != "hosted"
    if (options.metrics and not wanted) or not (wanted or options.tokenizer or local):
        return
    models = dict.fromkeys(asked_of[name].model for name in found)
    reasons = {model: await perplexity.unfit(asker, model) for model in models}
    notes += [f"Perplexity of {model}: not available, {why}." for model, why in reasons.items() if why]
    fit = [name for name in found if not reasons[asked_of[name].model]]
    if not fit:
        return
    if not options.tokenizer and not local:
        notes.append("Perplexity: not available without the chat template, name it with --tokenizer.")
        return
    spoken = [one for one in examples if one.text and not structured.calls_of(one.reference)]
    try:
        template = perplexity.template_of(options.tokenizer, run)
        prompts = {name: perplexity.prompts_of(template, [*map(asked_of[name].asked, spoken)]) for name in fit}
    except FinetuneError as error:
        notes.append(f"Perplexity: not available: {error}")
        return
    for name in fit:
        found[name].losses = await _losses(asker, asked_of[name].model, prompts[name], journal)


async def _losses(asker: Asker, model: str, prompts: Sequence[tuple[str, str]], journal: Journal) -> list[Loss]:
    keys = [key_of({"model": model, "prompt": prompt, "answer": answer}) for prompt, answer in prompts]
    unknown = [place for place, key in enumerate(keys) if journal.get(key) is None]
    for start in range(0, len(unknown), _LOSSES_AT_ONCE):
        part = unknown[start : start + _LOSSES_AT_ONCE]
        measured = await perplexity.losses(asker, model, [prompts[place] for place in part])
        for place, loss in zip(part, measured, strict=True):
            journal.keep(keys[place], loss)
    return [msgspec.json.decode(journal.get(key) or b"{}", type=Loss) for key in keys]


def _none_answered(model: str, said: Sequence[Answer]) -> str:
    failures = sorted({one.failure for one in said})
    return f"{model} answered none of {len(said)} questions: {', '.join(failures[:3])}."


def _evaluation(
    dataset: Dataset,
    options: Options,
    examples: Sequence[Example],
    asked: Mapping[str, Asked],
    scorer: Scorer,
    journal: Journal,
    notes: list[str],
) -> Evaluation:
    baseline = options.models[0]
    models = {model: summary.measured(one, scorer.metrics, options.seed, model) for model, one in asked.items()}
    metrics = [name for name in (*scorer.metrics, "perplexity") if all(name in one for one in models.values())]
    if not metrics:
        raise FinetuneError(f"No metric has two examples in {options.split}: take another --split or a larger one.")
    primary = options.primary or scorer.primary(examples)
    if primary not in metrics:
        if options.primary:
            raise FinetuneError(f"--primary {primary} could not be measured. {' '.join(notes)}".strip())
        primary = metrics[0]
    compared = summary.compared(asked, baseline, [name for name in metrics if name in scorer.metrics], options.seed)
    known = sum(one.nats is not None for found in asked.values() for one in found.losses)
    if known and any("perplexity" not in found for found in compared.values()):
        notes.append("Perplexity was not compared: the models cut the answers into different tokens, or one has none.")
    worse, better = summary.most_different(examples, asked, baseline, primary)
    return Evaluation(
        dataset=Measured(name=dataset.name, folder=str(dataset.folder.resolve()), sha256=dataset.sha256),
        split=options.split,
        examples=len(examples),
        baseline=baseline,
        models=models,
        compared=compared,
        higher_is_better={name: higher_is_better(name) for name in metrics},
        primary=primary,
        tuned=options.tuned,
        id=journal.id,
        began=journal.began,
        url=options.url,
        arguments=msgspec.json.decode(msgspec.json.encode(options, enc_hook=str)),
        labels=list(scorer.labels) if "label_accuracy" in metrics else [],
        notes=notes,
        most_worse=worse,
        most_better=better,
    )


def _record(made: Evaluation, asked: Mapping[str, Asked], options: Options, api_key: str) -> bool:
    """Whether nothing is left to send. What could not be sent is a note, and is sent when the command is run again."""
    pairs = ((answer, scores) for one in asked.values() for answer, scores in zip(one.answers, one.scores, strict=True))
    found = list(recording.items(made.id, pairs))
    if not found:
        made.notes.append("Nothing went to ClickHouse: it was not Penstock that answered.")
        return True
    try:
        made.recorded = recording.send(options.url, api_key, made.id, found)
    except recording.NotRecorded as error:
        made.notes.append(f"Scores are not in ClickHouse: {error}. Run the same command again to send them.")
        return False
    return True
