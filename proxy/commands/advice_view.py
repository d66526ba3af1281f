"""The advice on a terminal: the dearest finding first, with two real prompts side by side where they part."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from exporters.call_line import cut, money, number, printable
from exporters.console import columns_of

from ..advising.faults import Example
from ..advising.findings import Advice, Application, Finding

WIDTH_MAX = 110
SIDE_BY_SIDE = 100
"""Columns from which two prompts stand beside each other."""
SHOWN_MAX = 20


def print_advice(console: Console, advice: Advice) -> None:
    """Everything, for a person or a pipe."""
    width = min(WIDTH_MAX, columns_of(console) or WIDTH_MAX)
    findings = advice.findings
    for place, finding in enumerate(findings[:SHOWN_MAX], 1):
        console.print(_finding(finding, place, width), width=width)
    if len(findings) > SHOWN_MAX:
        console.print(Text(f"… and {len(findings) - SHOWN_MAX} smaller ones; --json shows all.\n", "dim"))
    if advice.applications:
        console.print(_applications(advice, width), width=width)
    console.print(Text("\n").join(_closing(advice)), width=width)


def _finding(finding: Finding, place: int, width: int) -> RenderableType:
    saving = _saving(finding)
    title = Text.assemble((f"{place}  ", "bold cyan"), (finding.title, "bold"))
    head = Table.grid(expand=True, padding=(0, 1))
    head.add_column()
    head.add_column(justify="right", no_wrap=True)
    head.add_row(title, saving)
    lines: list[RenderableType] = [Rule(style="dim"), head]
    lines += [Padding(line, (0, 0, 0, 3)) for line in _facts(finding)]
    if finding.examples:
        lines.append(Padding(_examples(finding, width - 3), (1, 0, 1, 3)))
    lines.append(Padding(Text.assemble(("→ ", "bold green"), finding.advice), (0, 0, 1, 3)))
    return Group(*lines)


def _saving(finding: Finding) -> Text:
    if finding.usd_per_day is None:
        return Text(f"{number(round(finding.tokens_per_day))} tokens/day", "bold yellow")
    return Text(f"saves {dollars(finding.usd_per_day)}/day", "bold green")


def dollars(usd: float) -> str:
    """As people write amounts: two decimals from a cent on."""
    return f"${usd:,.2f}" if usd >= 0.01 else money(usd)


def _facts(finding: Finding) -> Iterator[Text]:
    where = f"{finding.model}  ·  {printable(cut(finding.application, 60))}"
    yield Text(where, "cyan", no_wrap=True, overflow="ellipsis")
    said = []
    if finding.section:
        said.append(f"about token {finding.section_token:,} of {_section(finding.section)}")
        if finding.token != finding.section_token:
            said.append(f"token {finding.token:,} of the prompt")
    elif finding.missing_tokens:
        said.append(f"{finding.token:,} tokens stay the same, {finding.missing_tokens:,} are lacking")
    said.append(f"{_count(finding.calls_per_day)} calls/day")
    if finding.distinct > 1:
        said.append(f"{finding.distinct:,} variants")
    said.append(f"{number(round(finding.tokens_per_day))} more tokens/day cached")
    said.append(f"confidence {finding.confidence}")
    yield Text("  · ".join(fact.replace(" ", "\u00a0") for fact in said), "dim")
    if finding.joint:
        yield Text("Saves this only together with the other findings of this application.", "yellow")


def _section(section: str) -> str:
    names = {"tools": "the tools", "schema": "the output schema"}
    return names.get(section, f"the {section} message")


def _count(calls: float) -> str:
    return f"{calls:,.0f}" if calls >= 10 else f"{calls:.1f}"


def _examples(finding: Finding, width: int) -> RenderableType:
    if width < SIDE_BY_SIDE - 3:
        return Group(*(Text.assemble(("│ ", "dim"), _example(one, width - 2)) for one in finding.examples))
    table = Table.grid(padding=(0, 2), expand=True)
    for _ in finding.examples:
        table.add_column(ratio=1, overflow="fold")
    table.add_row(*(Text(f"call {one.request_id}", "dim") for one in finding.examples))
    table.add_row(*(_example(one, width // 2 * 3) for one in finding.examples))
    return table


def _example(one: Example, room: int) -> Text:
    """What varies is underlined; the text around it gives way first."""
    varies = _shown(one.varies, max(20, room // 2)) or "(nothing)"
    around = max(12, (room - len(varies) - 2) // 2)
    before, behind = one.before[-around:], one.behind[:around]
    return Text.assemble(
        ("…" if len(one.before) >= around else "", "dim"),
        (_shown(before, around), "dim"),
        (varies, "bold red underline"),
        (_shown(behind, around), "dim"),
        ("…" if behind else "", "dim"),
    )


def _shown(text: str, width: int) -> str:
    """In one line, with line ends and rows of blanks that can be seen."""
    made = text.replace("\r", "␍").replace("\n", "↵").replace("\t", "⇥")
    if not made.strip():
        made = made.replace(" ", "·")
    return cut(made, width) if made else ""


def _applications(advice: Advice, width: int) -> RenderableType:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 1), title_justify="left")
    table.add_column("application", no_wrap=True, overflow="ellipsis", width=max(16, width - 66))
    table.add_column("model", no_wrap=True, overflow="ellipsis", width=14)
    for name in ("calls/day", "cached", "could be", "to save"):
        table.add_column(name, justify="right", no_wrap=True)
    for one in advice.applications[:SHOWN_MAX]:
        table.add_row(*_row(one))
    return table


def _row(one: Application) -> tuple[Text | str, ...]:
    name = printable(one.name)
    if not one.findings:
        return name, one.model, _count(one.calls_per_day), f"{one.hit_ratio:.0%}", "", Text("nothing to do", "green")
    saving = "?" if one.usd_per_day is None else f"{dollars(one.usd_per_day)}/day"
    could = Text(f"{one.achievable_ratio:.0%}", "bold")
    return name, one.model, _count(one.calls_per_day), f"{one.hit_ratio:.0%}", could, Text(saving, "yellow")


def _closing(advice: Advice) -> Iterator[Text]:
    total = sum(one.usd_per_day or 0.0 for one in advice.applications)
    hours = advice.window_s / 3600
    window = f"{hours:.0f} h" if hours < 72 else f"{hours / 24:.0f} days"
    read = f"{advice.calls:,} calls of the last {window} were read."
    if advice.findings:
        yield Text.assemble("\n", (f"All of it saves {dollars(total)} a day", "bold green"), f" at list price. {read}")
    elif not advice.applications:
        yield Text.assemble(("Too little to judge by.", "bold yellow"), f" {read}")
    else:
        yield Text.assemble("\n", ("Nothing breaks the prompt cache.", "bold green"), f" {read}")
    reasons = {
        "unknown cache": "go to a provider whose prompt cache is not known here",
        "no discount": "use a model that costs no less from the cache",
        "few": "are of applications with fewer than ten calls",
        "unread": "were not read: too long together, or not understood",
    }
    for reason, count in advice.skipped.items():
        if count:
            yield Text(f"{count:,} calls {reasons[reason]}.", "dim")
