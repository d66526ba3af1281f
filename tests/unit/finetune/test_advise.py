"""What advice comes to where something is missing."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from exporters.datasets.describing.training_prices import PRICES
from finetune.advise import Advice, AdviseOptions, Means, advise
from finetune.errors import FinetuneError
from tests.unit.finetune.advising.talks import by_words, different, write

CALL = {"id": "1", "type": "function", "function": {"name": "find", "arguments": "{}"}}


def advised(folder: Path, asked_for: Path | None = None, when_advised: Path | None = None) -> Advice:
    options = AdviseOptions(
        folder=folder, reference=folder.name, few_shot=asked_for, few_shot_when_advised=when_advised
    )
    means = Means(
        count=by_words,
        price=lambda model, sent, received: None,
        training=PRICES,
        embed=lambda texts: None,
        embedding="",
        here=None,
        today=date(2026, 11, 23),
        progress=lambda text: None,
    )
    return advise(options, means)


def test_a_prompt_that_nobody_asked_for_and_cannot_be_written_costs_nobody_the_advice(tmp_path: Path) -> None:
    folder = write(tmp_path / "a", different(20))
    found = advised(folder, when_advised=tmp_path / "nowhere" / "p.json")
    assert (found.ways[0].name, found.few_shot_file) == ("few-shot", "")
    assert found.few_shot is not None
    assert any("p.json cannot be written" in doubt and "--few-shot FILE" in doubt for doubt in found.doubts)
    assert found.next == ["penstock finetune advise a --few-shot a.few-shot.json"]
    with pytest.raises(FinetuneError, match="cannot be written"):
        advised(folder, asked_for=tmp_path / "nowhere" / "p.json")


def test_a_prompt_that_cannot_be_made_is_not_what_comes_next(tmp_path: Path) -> None:
    lines = [
        {"messages": [{"role": "user", "content": f"q{n}"}, {"role": "assistant", "tool_calls": [CALL]}]}
        for n in range(20)
    ]
    found = advised(write(tmp_path / "a", lines), when_advised=tmp_path / "p.json")
    assert found.ways[0].name == "few-shot"
    assert found.next == ["penstock evaluate a --split train --models MODEL"]


@pytest.mark.parametrize("name", ["train.jsonl", "validation.jsonl", "test.jsonl"])
@pytest.mark.parametrize("gone", [True, False])
def test_a_file_that_is_not_the_manifests_is_said(tmp_path: Path, name: str, gone: bool) -> None:
    talks = different(30)
    folder = write(tmp_path / "a", talks[:20], talks[20:25], talks[25:])
    if gone:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes((folder / name).read_bytes() * 2)
    with pytest.raises(FinetuneError, match=f"{name} (cannot be read|was changed)"):
        advised(folder)
