"""Advice on the terminal: one screen that somebody can act on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from exporters.call_line import printable

if TYPE_CHECKING:
    from finetune.advise import Advice
    from finetune.advising.costs import Costs
    from finetune.advising.few_shot import FewShot
    from finetune.advising.measures import Measures
    from finetune.advising.ways import Way

_VERDICTS: Final = {"do": "advice", "then": "then", "could": "could", "not": "not now"}
_COLOURS: Final = {"do": "bold green", "then": "green", "could": "", "not": "dim"}
MESSAGES_SHOWN: Final = 5
CHARACTERS_SHOWN: Final = 300
"""Of a message of the prompt."""


def print_advice(console: Console, advice: Advice) -> None:
    """The advice and its reasons, what was measured, every way with its price, what is wrong, what to run."""
    _print_head(console, advice)
    _print_measures(console, advice.measures)
    _print_ways(console, advice.ways)
    _print_calls(console, advice.costs)
    for doubt in advice.doubts:
        console.print(Text(f"! {printable(doubt)}", "yellow"))
    if advice.doubts:
        console.print()
    if advice.few_shot is not None:
        _print_few_shot(console, advice.few_shot, advice.few_shot_file)
    for command in advice.next:
        console.print(Text.assemble(("Next: ", "dim"), (printable(command), "bold")), soft_wrap=True)


def _print_head(console: Console, advice: Advice) -> None:
    examples = advice.measures.examples
    console.print(
        Text.assemble(
            (printable(advice.dataset["name"]), "bold"),
            f"  {examples['train']:,} examples to train on, {advice.measures.distinct:,} of them distinct; "
            f"{examples['validation']:,} to validate, {examples['test']:,} to test; "
            f"{sum(advice.measures.preferences.values()):,} preference pairs",
        )
    )
    console.print()
    first = advice.ways[0]
    seen = "" if advice.aim_stated else ", by what the answers look like; --aim says another"
    console.print(Text.assemble("Advice: ", (first.title, "bold green"), f"  (aim: {advice.aim}{seen})"))
    reasons = _table(heads=False)
    for sign, colour, texts in (("+", "green", first.why), ("-", "red", first.against)):
        for text in texts:
            reasons.add_row(Text(sign, colour), printable(text))
    console.print(reasons)
    console.print()


def _print_measures(console: Console, measures: Measures) -> None:
    shown = _table()
    shown.add_column("measured", no_wrap=True)
    shown.add_column("")
    for name, said in _measured(measures):
        shown.add_row(Text(name, "bold"), printable(said))
    console.print(shown)
    if measures.sampled < measures.examples["train"]:
        console.print(Text(f"On a sample of {measures.sampled:,} examples, always the same.", "dim"))
    console.print()


def _measured(measures: Measures) -> Iterator[tuple[str, str]]:
    tokens, static, new = measures.tokens, measures.static, measures.new
    example, answer, turns = tokens.example, tokens.answer, measures.turns
    yield (
        "tokens",
        f"about {tokens.train:,} an epoch; an example has {example.p50:,} (median), {example.p90:,} (90th percentile), "
        f"{example.max:,} (longest)",
    )
    cut = f"; {static.pruned:,} were pruned" if static.pruned else ""
    yield (
        "prompt",
        f"{tokens.prompt.mean:,.0f} tokens on average, {static.tokens:,.0f} of them ({static.share:.0%}) static: lines "
        f"that many examples begin with{cut}; {turns.mean:.1f} turns of the user, at most {turns.max:,}",
    )
    yield (
        "answer",
        f"{answer.p50:,} tokens (median), {answer.p10:,} to {answer.p90:,} (10th to 90th percentile), {answer.max:,} "
        "(longest)",
    )
    yield (
        "form",
        f"{measures.json_share:.0%} JSON, {measures.tool_share:.0%} calls of tools",
    )
    repeated = measures.duplicates
    yield (
        "duplicates",
        f"{repeated.exact:,} exact, {repeated.near:,} near; {repeated.held_out:,} questions are in validation or test "
        "too",
    )
    diversity = measures.diversity
    yield (
        "diversity",
        f"{diversity.of:,} compared are as different as {diversity.effective:,.0f} that share no word "
        f"({diversity.share:.0%})",
    )
    yield (
        "new facts",
        f"{new.share:.0%} of the telling words of answers are in no prompt and no other answer: {new.numbers:.1f} "
        f"numbers, {new.names:.1f} names, {new.words:.1f} other words an answer",
    )
    if (labels := measures.labels) is not None:
        yield (
            "classes",
            f"{labels.count:,}, balance {labels.balance:.2f}; the rarest, {labels.smallest_name!r}, has "
            f"{labels.smallest:,}; the most frequent is {labels.largest_share:.0%}",
        )


def _print_ways(console: Console, ways: list[Way]) -> None:
    shown = _table()
    for name in ("", "way", "price of making it", "time"):
        shown.add_column(name)
    for way in ways:
        shown.add_row(Text(_VERDICTS[way.verdict], _COLOURS[way.verdict]), way.title, way.price, way.time)
    console.print(shown)
    console.print()
    for way in ways[1:]:
        said = [*way.why, *way.against] if way.verdict == "then" else way.against or way.why
        line = Text.assemble((f"{way.title}: ", "bold"), (printable(" ".join(said)), "dim"))
        console.print(line)
    console.print()


def _print_calls(console: Console, costs: Costs) -> None:
    shown = _table()
    shown.add_column("a call")
    shown.add_column("model")
    for name in ("tokens in", "out", "USD / 1,000 calls"):
        shown.add_column(name, justify="right", no_wrap=True)
    shown.add_column("price of")
    for calls in costs.calls:
        shown.add_row(
            calls.what,
            printable(calls.model) or "-",
            f"{calls.input_tokens:,}",
            f"{calls.output_tokens:,}",
            Text("unknown" if calls.usd is None else f"${calls.usd:,.2f}", "yellow"),
            Text(calls.as_of if calls.usd is not None else "", "dim"),
        )
    console.print(shown)
    if costs.calls[0].model and costs.calls[0].usd is None:
        model = printable(costs.calls[0].model)
        console.print(Text(f"What {model} costs is not known: say it in [prices] of penstock.toml.", "dim"))
    if costs.pays_after is not None:
        console.print(
            f"The cheapest training is paid for after {costs.pays_after:,} calls of the tuned model, if it is as good."
        )
    console.print()


def _print_few_shot(console: Console, few_shot: FewShot, file: str) -> None:
    said = f"{len(few_shot.lines):,} examples, {few_shot.tokens:,} tokens more a call, alike by {few_shot.alike_by}"
    if few_shot.labels_missing:
        said += f"; {few_shot.labels_missing:,} classes have none"
    console.print(Text.assemble(("Prompt with examples  ", "bold"), said))
    turns = _table(heads=False)
    for message in few_shot.messages[:MESSAGES_SHOWN]:
        text = message.get("content")
        text = " ".join(text.split()) if isinstance(text, str) else ""
        more = " ..." if len(text) > CHARACTERS_SHOWN else ""
        turns.add_row(Text(printable(str(message.get("role", ""))), "cyan"), printable(text[:CHARACTERS_SHOWN]) + more)
    console.print(turns)
    if (left := len(few_shot.messages) - MESSAGES_SHOWN) > 0:
        console.print(Text(f"and {left:,} messages more", "dim"))
    console.print()
    if file:
        console.print(Text.assemble("Begin requests with the messages of ", (printable(file), "bold")), soft_wrap=True)


def _table(*, heads: bool = True) -> Table:
    """Columns without lines between them."""
    return Table(box=None, pad_edge=False, header_style="dim", show_header=heads, show_edge=False, padding=(0, 1))
