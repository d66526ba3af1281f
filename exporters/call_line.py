"""One line per call on the terminal: what was asked, what it cost, how long it took, what went wrong.

    time      got  model                       in     out  cached       cost   total  first
    14:02:11  200  gpt-4.1-mini             1,234     567     66%  $0.001234   1.24s  310ms
    14:02:12  429  gpt-4.1                 rate_limit_exceeded                  88ms      -

`?` is a fact that is not known (a model without a price), `-` one that does not apply (a reply in one piece has no
first token), `~` a count that was estimated.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from .record import CallRecord

MODEL_WIDTH = 22
MODEL_WIDTHS = (8, 40)
NOTE_WIDTH = 20
"""Columns left free for the note behind a line, where the terminal has them."""
ERROR_WIDTH = 33
LINE_WIDTH = 88


@dataclass(frozen=True, slots=True)
class Call:
    """What a line tells. Times in seconds, `ended` as Unix time; None: not known."""

    ended: float
    status: int
    what: str
    """The model, or method and path where there is none."""
    metered: bool
    """Tokens and a price are to be expected."""
    duration_s: float
    first_token_s: float | None
    """Of a stream; a reply in one piece has no first token."""
    input_tokens: int | None
    output_tokens: int | None
    cached_tokens: int | None
    estimated: bool
    cost: float | None
    outcome: str
    error: str
    cache: str
    way: str = ""
    """deferred, held, batch, ...: how else it was answered than at once."""
    variant: str = ""
    """That answered for an alias."""

    @property
    def has_usage(self) -> bool:
        return self.input_tokens is not None or self.output_tokens is not None


def call_of(record: CallRecord) -> Call:
    """What is told of `record`."""
    streamed = record.stream and record.first_token_ns
    return Call(
        ended=record.end_ns / 1e9,
        status=record.status,
        what=record.request_model or f"{record.method} {record.path}",
        metered=record.kind == "call"
        and record.endpoint != "other"
        and record.status < 400
        and record.outcome in ("answered", "cached", "cut"),
        duration_s=(record.end_ns - record.start_ns) / 1e9,
        first_token_s=(record.first_token_ns - record.start_ns) / 1e9 if streamed else None,
        input_tokens=record.input_tokens,
        output_tokens=record.output_tokens,
        cached_tokens=record.cached_tokens,
        estimated=record.usage_source == "estimated",
        cost=record.cost,
        outcome=record.outcome,
        error=record.error_type,
        cache=record.cache_status,
        way=_way(record),
        variant=record.variant,
    )


def _way(record: CallRecord) -> str:
    if record.kind == "batch":
        parts = [f"batch of {record.parameters.get('total', 0):,}"]
        if failed := record.parameters.get("failed"):
            parts.append(f"{failed:,} failed")
        if record.error_type:
            parts.append(record.error_type)
        return ", ".join(parts)
    if record.kind == "deferral":
        return "deferred" if record.status == 202 else "held"
    return way_of(record.batch_id, record.outcome)


def way_of(batch_id: str, outcome: str) -> str:
    """Of a call: `batch` for a line of one. That it was abandoned or cached says more."""
    return "batch" if batch_id and outcome == "answered" else ""


def has_failed(status: int, outcome: str) -> bool:
    """The caller did not get what it asked for, and did not leave by itself."""
    unanswered = status == 0 and outcome != "abandoned"
    return status >= 400 or unanswered or outcome in ("failed", "cut", "interrupted", "rejected")


def reason(status: int, outcome: str, error: str) -> str:
    """What went wrong in few words: the error's name; where the upstream gave none, that of its status."""
    if error and error != str(status):
        return error
    if outcome != "answered":
        return outcome
    return HTTPStatus(status).phrase if status in set(HTTPStatus) else f"status {status}"


def note(call: Call) -> tuple[str, str]:
    """How the call ended, if not as it should, and the style to say it in."""
    if has_failed(call.status, call.outcome):
        return printable(reason(call.status, call.outcome, call.error)), "red"
    if call.outcome != "answered":
        return _said(call.variant, call.way or call.outcome), "cyan" if call.outcome == "cached" else "yellow"
    return _said(call.variant, call.way or call.cache), "dim cyan"


def _said(*words: str) -> str:
    return printable(" ".join(filter(None, words)))


def model_width(columns: int | None, others: int = LINE_WIDTH - MODEL_WIDTH) -> int:
    """Columns for the model in a terminal of `columns`: fewer in a narrow one, more where a note still fits behind.
    `others`: what the rest of the line takes. None: no terminal."""
    if columns is None:
        return MODEL_WIDTH
    least, most = MODEL_WIDTHS
    room = columns - others
    return max(least, min(MODEL_WIDTH, room), min(most, room - NOTE_WIDTH))


def head(width: int = MODEL_WIDTH) -> Text:
    """The names of the columns; `width` is the model's."""
    numbers = f"{'in':>8}{'out':>8}{'cached':>7}{'cost':>10}{'total':>8}{'first':>7}"
    return Text(f"{'time':<8}  {'got':<3}  {'model':<{width}}{numbers}", "dim")


def line(call: Call, width: int = MODEL_WIDTH, columns: int | None = None) -> Text:
    """The line for `call`, whose model gets `width` columns; the rest takes 66, and the note at its end more.
    `columns`: those of the terminal."""
    failed = has_failed(call.status, call.outcome)
    said, style = note(call)
    text = Text()
    text.append(datetime.fromtimestamp(call.ended).strftime("%H:%M:%S"), "dim")
    text.append_text(status_and_model(call, width))
    if failed and not call.has_usage:
        text.append(f" {padded(said, ERROR_WIDTH - 1)}", style)
        said = ""
    else:
        _append_usage(text, call)
    text.append(f"{duration(call.duration_s):>8}")
    text.append(f"{'-' if call.first_token_s is None else duration(call.first_token_s):>7}", "dim")
    return with_note(text, said, style, columns)


def with_note(text: Text, said: str, style: str, columns: int | None) -> Text:
    """`text` and a note behind it. In a terminal too narrow for both it covers the end of `text`: that a reply broke
    off matters more than how long it took. A number is covered whole, because half of one is another number."""
    if not said:
        return text
    tail = Text(f"  {said}", style)
    if columns is not None and text.cell_len + tail.cell_len > columns:
        tail.truncate(NOTE_WIDTH, overflow="ellipsis")
        room, before = max(0, columns - tail.cell_len), text.plain
        text.truncate(room)
        if before[len(text) : len(text) + 1].strip():
            text = text[: text.plain.rfind(" ") + 1]
        text.pad_right(room - text.cell_len)
    return text.append_text(tail)


def status_and_model(call: Call, width: int) -> Text:
    """Both columns, with the blanks around the status. Yellow: it was the caller who left."""
    failed = has_failed(call.status, call.outcome)
    colour = "red" if failed else "yellow" if call.outcome == "abandoned" else "green"
    plain = not (call.metered or failed or call.outcome == "abandoned")
    return Text.assemble(
        (f"  {call.status or '---':>3}  ", colour), (padded(call.what, width), "dim" if plain else "bold")
    )


def padded(text: str, width: int) -> str:
    """`text` in exactly `width` columns, of which a Chinese character takes two."""
    text = printable(text[: width + 1])
    return set_cell_size(text, width) if cell_len(text) <= width else set_cell_size(text, width - 1) + "…"


def _append_usage(text: Text, call: Call) -> None:
    missing = "?" if call.metered and not call.has_usage else "-"
    about = "~" if call.estimated else ""
    for count in (call.input_tokens, call.output_tokens):
        text.append(f"{missing if count is None else about + number(count):>8}", "dim" if count is None else "")
    text.append(f"{_share(call.cached_tokens, call.input_tokens):>7}", "cyan" if call.cached_tokens else "dim")
    cost = money(call.cost) if call.metered or call.has_usage else "-"
    text.append(f"{cost:>10}", "dim" if call.cost is None else "yellow")


def printable(text: str, keep: str = "") -> str:
    """`text` without what a terminal would obey: what callers and models write is shown, never executed."""
    return text if text.isprintable() else "".join(c if c.isprintable() or c in keep else "�" for c in text)


def cut(text: str, width: int) -> str:
    """`text` in at most `width` printable characters."""
    text = printable(text[: width + 1])
    return text if len(text) <= width else text[: width - 1] + "…"


def _share(part: int | None, whole: int | None) -> str:
    return f"{part / whole:.0%}" if part and whole else "-"


def number(count: int) -> str:
    """At most seven columns: `123,456`, then `1.23M`."""
    if count < 1_000_000:
        return f"{count:,}"
    for unit, size in (("M", 1e6), ("G", 1e9)):
        if count < size * 999.5:
            return f"{count / size:.3g}{unit}"
    return f"{count:.1e}"


def money(usd: float | None) -> str:
    """US dollars in at most nine columns; `?` when not known. What is not zero never looks like zero."""
    if usd is None:
        return "?"
    if usd == 0:
        return "$0"
    if abs(usd) < 0.000001:
        return f"${usd:.1e}"
    if abs(usd) < 10:
        return f"${usd:.6f}"
    return f"${usd:,.2f}"


def duration(seconds: float) -> str:
    """At most six columns: `310ms`, `1.24s`, `12.3s`, `2m05s`, `3h07m`."""
    if seconds < 0.9995:
        return f"{max(0.0, seconds) * 1000:.0f}ms"
    if seconds < 9.995:
        return f"{seconds:.2f}s"
    if seconds < 59.95:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}m{rest:02}s"
    return f"{minutes // 60}h{minutes % 60:02}m"
