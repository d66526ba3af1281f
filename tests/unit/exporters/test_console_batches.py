"""What was put off, on the terminal: said where it stands, and a batch is one line, however many it had."""

from __future__ import annotations

import io
from typing import Any

from exporters.call_line import call_of, line
from exporters.console import LINES_PER_SECOND, ConsoleSink
from exporters.record import CallRecord
from exporters.sink import Batch
from tests.unit.exporters.test_console import METERED, record, shown


def batch(total: int = 3, **given: Any) -> CallRecord:
    counts = {"total": total, "completed": total, "failed": 0}
    return record(**{"kind": "batch", "endpoint": "other", "batch_id": "b1", "parameters": counts} | given)


def printed(*records: CallRecord) -> list[str]:
    file = io.StringIO()
    sink = ConsoleSink(file, clock=lambda: 0.0, later=lambda _, __: None)
    sink.write(Batch("1", records))
    return file.getvalue().splitlines()[1:]


def test_a_deferral_says_that_it_is_one_and_expects_no_tokens() -> None:
    for status, word in ((202, "deferred"), (200, "held")):
        text = shown(kind="deferral", item_id="i", status=status)
        assert text.split()[1] == str(status)
        assert text.split()[-1] == word
        assert "?" not in text


def test_a_held_call_that_got_an_error_shows_the_error() -> None:
    text = shown(kind="deferral", item_id="i", status=429, error_type="rate_limit_exceeded")
    assert "rate_limit_exceeded" in text
    assert "held" not in text


def test_the_lines_of_a_batch_are_one_line_with_their_sums() -> None:
    lines = [record(batch_id="b1", **METERED) for _ in range(2 * LINES_PER_SECOND)]
    (text,) = printed(*lines, batch(100))
    assert text.split()[2:5] == ["gpt-4.1-mini", "123,400", "56,700"]
    assert "$0.123400" in text
    assert text.endswith("batch of 100")


def test_batches_are_added_up_apart_and_a_call_asked_live_is_a_call() -> None:
    found = printed(
        record(batch_id="b1", **METERED),
        record(batch_id="b2", **METERED),
        batch(1),
        record(item_id="i", **METERED),
        batch(1, batch_id="b2"),
    )
    assert [text.split()[3] for text in found] == ["1,234"] * 3
    assert [text.endswith("batch of 1") for text in found] == [True, False, True]


def test_a_batch_with_a_line_of_unknown_price_has_one_too() -> None:
    (text,) = printed(record(batch_id="b1", **METERED), record(batch_id="b1", input_tokens=1, output_tokens=1), batch())
    assert "$" not in text
    assert "?" in text


def test_a_batch_that_did_not_end_well_says_how() -> None:
    counts = {"total": 3, "completed": 1, "failed": 2}
    cancelled = batch(outcome="abandoned", error_type="cancelled", parameters=counts)
    assert line(call_of(cancelled)).plain.endswith("batch of 3, 2 failed, cancelled")
    assert "expired" in line(call_of(batch(outcome="cut", error_type="expired"))).plain


def test_a_line_of_a_batch_in_a_list_says_batch() -> None:
    assert shown(batch_id="b1", **METERED).endswith("batch")
    assert shown(batch_id="b1", outcome="abandoned", **METERED).endswith("abandoned")
