"""Checkpoints: what is saved is what is loaded, whatever the sink is called."""

from __future__ import annotations

from pathlib import Path

import pytest

from exporters.checkpoint import Checkpoint, Intent, Range, SinkState, token_of
from exporters.tail import Cursor

STATE = SinkState(
    cursors={"0-1-2-ab": Cursor(3, 40, 5)},
    intent=Intent("t", [Range("0-1-2-ab", 3, 40, 90)], {"0-1-2-ab": Cursor(3, 90, 6)}, {"undecodable": 1}),
    exported=7,
    dropped={"refused": 2},
)


@pytest.mark.parametrize("sink", ["clickhouse", "otlp-https://host:4318/v1/traces", "../../up", "a*b"])
def test_comes_back(tmp_path: Path, sink: str) -> None:
    made = Checkpoint(tmp_path, sink)
    assert made.is_new
    made.save(STATE)
    again = Checkpoint(tmp_path, sink)
    assert (again.state, again.is_new) == (STATE, False)
    (path,) = tmp_path.iterdir()
    assert path.parent == tmp_path


def test_a_token_is_made_of_the_ranges() -> None:
    ranges = [Range("a", 1, 0, 10), Range("b", 1, 0, 10)]
    assert token_of(ranges) == token_of(list(ranges))
    assert len({token_of(ranges), token_of(ranges[:1]), token_of(ranges[::-1]), token_of([Range("a", 1, 0, 11)])}) == 4
