"""The line of a call: aligned, honest about what is not known, and never in the recorder's way."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.table import Table

from exporters.call_line import (
    call_of,
    cut,
    duration,
    head,
    line,
    model_width,
    money,
    number,
    padded,
    printable,
)
from exporters.console import ConsoleSink, terminal
from exporters.record import CallRecord
from exporters.sink import Batch

HEAD = head().plain
SECOND = 1_000_000_000
START = 1_795_000_000 * SECOND


def record(**given: Any) -> CallRecord:
    fields: dict[str, Any] = {
        "request_id": "a" * 32,
        "trace_id": "a" * 32,
        "span_id": "b" * 16,
        "start_ns": START,
        "end_ns": START + SECOND,
        "method": "POST",
        "path": "/v1/chat/completions",
        "endpoint": "chat",
        "outcome": "answered",
        "status": 200,
        "request_model": "gpt-4.1-mini",
    }
    return CallRecord(**fields | given)


def shown(**given: Any) -> str:
    return line(call_of(record(**given))).plain


METERED = {"input_tokens": 1234, "output_tokens": 567, "cached_tokens": 617, "cost": 0.001234}


def test_everything_that_is_known_stands_under_its_head() -> None:
    text = shown(**METERED, first_token_ns=START + 310_000_000, stream=True)
    assert text[8:] == "  200  gpt-4.1-mini             1,234     567    50% $0.001234   1.00s  310ms"
    for name, value in (("in", "1,234"), ("out", "567"), ("cached", "50%"), ("cost", "$0.001234"), ("first", "310ms")):
        assert HEAD.index(f" {name}") + len(name) == text.index(value) + len(value) - 1


def test_an_unknown_price_is_a_question_mark_and_never_zero() -> None:
    text = shown(input_tokens=1, output_tokens=1, cost=None)
    assert text.split()[-3] == "?"
    assert "$" not in text


def test_unknown_tokens_are_question_marks() -> None:
    assert shown().split()[3:5] == ["?", "?"]


def test_what_does_not_apply_is_a_dash() -> None:
    assert shown(endpoint="other", request_model="", method="GET", path="/v1/models").split()[2:8] == [
        "GET",
        "/v1/models",
        "-",
        "-",
        "-",
        "-",
    ]


def test_an_estimate_is_marked() -> None:
    assert "~45" in shown(input_tokens=45, output_tokens=3, usage_source="estimated")


def test_a_failure_says_what_it_was() -> None:
    text = line(call_of(record(status=429, error_type="rate_limit_exceeded", outcome="answered")))
    assert "429" in text.plain
    assert "rate_limit_exceeded" in text.plain
    assert [text.plain[span.start : span.end].strip() for span in text.spans if span.style == "red"] == [
        "429",
        "rate_limit_exceeded",
    ]


@pytest.mark.parametrize(
    ("given", "end"),
    [
        ({"outcome": "abandoned", **METERED}, "  abandoned"),
        ({"outcome": "cached", **METERED}, "  cached"),
        ({"outcome": "cut", "error_type": "upstream_cut", **METERED}, "  upstream_cut"),
        ({"cache_status": "miss", **METERED}, "  miss"),
        ({"cache_status": "miss", "variant": "tuned", **METERED}, "  tuned miss"),
        ({"outcome": "cached", "variant": "tuned", **METERED}, "  tuned cached"),
    ],
)
def test_the_note_at_the_end(given: dict[str, Any], end: str) -> None:
    assert shown(**given).endswith(end)


def test_nothing_was_sent_when_the_worker_was_killed() -> None:
    text = shown(outcome="interrupted", status=0, error_type="worker_killed")
    assert "---" in text
    assert "worker_killed" in text


@given(
    model=st.text(max_size=60),
    tokens=st.none() | st.integers(0, 10**12),
    cost=st.none() | st.floats(0, 10_000, allow_nan=False),
    took_ns=st.integers(0, 10**15),
    status=st.integers(0, 599),
)
def test_a_line_fits_into_a_hundred_columns_and_obeys_nobody(
    model: str, tokens: int | None, cost: float | None, took_ns: int, status: int
) -> None:
    text = shown(
        request_model=model,
        input_tokens=tokens,
        output_tokens=tokens,
        cost=cost,
        end_ns=START + took_ns,
        first_token_ns=START + took_ns,
        status=status,
        error_type="rate_limit",
    )
    assert len(text) <= 100
    assert text.isprintable()


def test_the_upstreams_error_without_a_name_is_said_by_its_status() -> None:
    assert "Not Implemented" in shown(status=501)
    assert "Not Implemented" in shown(status=501, error_type="501")  # as the store gives it back
    assert "status 599" in shown(status=599)


def test_whoever_left_is_no_failure() -> None:
    text = line(call_of(record(outcome="abandoned", error_type="client_disconnected", **METERED)))
    assert text.plain.endswith("  abandoned")
    assert "red" not in {str(span.style) for span in text.spans}


@pytest.mark.parametrize("columns", [80, 90, 100, 200])
def test_a_line_and_its_head_fit_into_the_terminal(columns: int) -> None:
    width = model_width(columns)
    text = line(call_of(record(**METERED, stream=True, first_token_ns=START + 1)), width, columns)
    assert len(text) == len(head(width)) <= columns


def test_a_model_has_the_same_columns_whatever_it_is_written_in() -> None:
    assert [cell_len(padded(name, 9)) for name in ("a", "水門" * 9, "x水門水門水門", "abcdefghij")] == [9, 9, 9, 9]


@pytest.mark.parametrize("columns", range(60, 110))
def test_in_a_narrow_terminal_the_note_covers_whole_numbers(columns: int) -> None:
    call = call_of(record(outcome="cut", error_type="upstream_cut", **METERED))
    text = line(call, model_width(columns), columns)
    assert text.plain.endswith("  upstream_cut")
    assert text.cell_len <= columns
    whole = line(call, model_width(columns)).plain.split()
    assert text.plain.split()[:-1] == whole[: len(text.plain.split()) - 1]
    assert len(text.plain.split()) >= 6


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0ms"), (0.0004, "0ms"), (0.31, "310ms"), (0.9994, "999ms"), (0.9996, "1.00s"), (9.994, "9.99s"),
        (9.996, "10.0s"), (59.94, "59.9s"), (59.96, "1m00s"), (125, "2m05s"), (3599.4, "59m59s"), (11220, "3h07m"),
    ],
)  # fmt: skip
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("usd", "text"),
    [
        (None, "?"), (0, "$0"), (0.001234, "$0.001234"), (1.8e-7, "$1.8e-07"), (9.99, "$9.990000"), (12.5, "$12.50"),
        (12345.678, "$12,345.68"),
    ],
)  # fmt: skip
def test_money(usd: float | None, text: str) -> None:
    assert money(usd) == text


@given(st.floats(0, 99_999, exclude_min=True, allow_nan=False))
def test_what_costs_something_never_looks_free(usd: float) -> None:
    assert float(money(usd).strip("$").replace(",", "")) > 0


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0"),
        (999_999, "999,999"),
        (1_000_000, "1M"),
        (1_234_567, "1.23M"),
        (2_000_000_000, "2G"),
        (10**13, "1.0e+13"),
    ],
)
def test_numbers(count: int, text: str) -> None:
    assert number(count) == text


@pytest.mark.parametrize("text", ["[/INST] [b]late[/b] [link=x]", ":smile: [red]x", "a[/]"])
def test_brackets_and_colons_are_somebodys_text(text: str) -> None:
    shown = io.StringIO()
    table = Table(box=None)
    table.add_column(text)
    table.add_row(text)
    console = terminal(shown)
    console.print(table)
    console.print(text)
    assert shown.getvalue().count(text) == 3


def test_control_characters_are_shown_not_sent() -> None:
    assert printable("a\x1b[2Jb\n") == "a�[2Jb�"
    assert printable("a\nb\x07", keep="\n") == "a\nb�"
    assert cut("0123456789", 5) == "0123…"


class Later:
    """Keeps what should happen later until the test says so."""

    def __init__(self) -> None:
        self.actions: list[Callable[[], None]] = []

    def __call__(self, delay_s: float, action: Callable[[], None]) -> None:
        assert delay_s == 1.0
        self.actions.append(action)


class Screen:
    def __init__(self) -> None:
        self.now = 5.0
        self.later = Later()
        self.file = io.StringIO()
        self.sink = ConsoleSink(self.file, clock=lambda: self.now, later=self.later)

    def write(self, token: str, count: int) -> None:
        self.sink.write(Batch(token, [record(**METERED)] * count))

    @property
    def lines(self) -> list[str]:
        return self.file.getvalue().splitlines()


def test_a_pipe_gets_plain_lines_under_one_head() -> None:
    screen = Screen()
    screen.write("1", 2)
    screen.write("2", 1)
    assert screen.lines[0] == HEAD
    assert len(screen.lines) == 4
    assert "\x1b" not in screen.file.getvalue()


def test_the_same_token_prints_once() -> None:
    screen = Screen()
    screen.write("1", 2)
    screen.write("1", 2)
    assert len(screen.lines) == 3


def test_of_many_calls_fifty_a_second_are_printed_and_the_rest_counted() -> None:
    screen = Screen()
    screen.write("1", 1284)
    screen.write("2", 50)
    assert len(screen.lines) == 51
    (tell,) = screen.later.actions
    tell()
    assert screen.lines[-1].strip() == "… and 1,284 more in the last second"
    tell()
    screen.now += 1
    screen.write("3", 1)
    assert len(screen.lines) == 53


def test_the_count_comes_before_the_next_second() -> None:
    screen = Screen()
    screen.write("1", 60)
    screen.now += 1
    screen.write("2", 1)
    assert screen.lines[-2].strip() == "… and 10 more in the last second"


def test_closing_tells_what_was_hidden() -> None:
    screen = Screen()
    screen.write("1", 51)
    screen.sink.close()
    screen.sink.close()
    assert [text.strip() for text in screen.lines if "more" in text] == ["… and 1 more in the last second"]


def test_a_closed_terminal_fails_nothing(caplog: pytest.LogCaptureFixture) -> None:
    read_fd, write_fd = os.pipe()
    os.close(read_fd)
    with os.fdopen(write_fd, "w") as file:
        sink = ConsoleSink(file)
        for token in "abc":
            sink.write(Batch(token, [record(**METERED)]))
        sink.close()
    assert len([text for text in caplog.messages if "no longer printed" in text]) == 1
