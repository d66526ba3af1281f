"""A training file as a whole: its limits, lines against each other, and what is told of it."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from exporters.datasets.errors import DatasetError
from exporters.datasets.formats import writers
from exporters.datasets.options import Write
from exporters.datasets.validating import checking_messages
from exporters.datasets.validating import validate as validating
from exporters.datasets.validating.rules import RULES
from exporters.datasets.validating.validate import validate

from ..formats.conversations import CLOCK, WEATHER, assistant, corrected, user, with_image, with_tools
from ..training_files import PNG, good, good_pair, image, padded, report, sft

ASKED = user("Time?")


def test_ten_examples_are_needed(tmp_path: Path) -> None:
    found = report(tmp_path, *(good(number) for number in range(9)))
    assert [(finding.line, finding.rule, finding.where) for finding in found.findings] == [
        (0, "too_few_examples", "9 examples")
    ]
    assert not found.ok
    assert report(tmp_path, *(good(number) for number in range(10))).ok
    assert report(tmp_path).totals == {"too_few_examples": 1}
    assert report(tmp_path, good(1), examples_min=1).ok
    assert not report(tmp_path, examples_min=1).ok


def test_kinds_are_not_mixed(tmp_path: Path) -> None:
    assert padded(tmp_path, good_pair(1)) == [("mixed_kinds", "")]
    assert padded(tmp_path, good(99), good_pair) == [("mixed_kinds", "")]
    found = report(tmp_path, *(good(number) for number in range(10)), kind="preference")
    assert found.totals == {"mixed_kinds": 10}
    assert found.examples == {"supervised": 10}


def test_limits_of_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validating, "FILE_BYTES_MAX", 700)
    assert report(tmp_path, *(good(number) for number in range(10))).totals == {"file_too_large": 1}
    monkeypatch.setattr(validating, "FILE_BYTES_MAX", 100_000)
    monkeypatch.setattr(validating, "LINE_BYTES_MAX", 200)
    assert padded(tmp_path, sft(user("x" * 200), assistant("1"))) == [("line_too_long", "")]
    assert padded(tmp_path, sft(user("x" * 5000), assistant("1"))) == [("line_too_long", "")]
    monkeypatch.setattr(checking_messages, "IMAGE_BYTES_MAX", 30)
    data = "data:image/png;base64," + "x" * 44
    assert padded(tmp_path, sft(image(data), assistant("1"))) == [
        ("image_too_large", "messages[0].content[0].image_url.url")
    ]
    assert padded(tmp_path, sft(image(data[:-4]), assistant("1"))) == []


def test_a_long_example_is_cut_off_by_the_model_that_it_is_for(tmp_path: Path) -> None:
    line = sft(user("word " * 20_000), assistant("1"))
    assert padded(tmp_path, line) == []
    assert padded(tmp_path, line, model="gpt-3.5-turbo-0125") == [("too_many_tokens", "")]
    assert padded(tmp_path, line, model="ft:gpt-3.5-turbo-0125:me::x") == [("too_many_tokens", "")]
    assert padded(tmp_path, sft(user("word " * 60_000), assistant("1"))) == [("too_many_tokens", "")]


def test_many_examples_with_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validating, "IMAGE_EXAMPLES_MAX", 10)
    lines = [sft(user(str(n)), image(PNG), assistant("1")) for n in range(11)]
    assert report(tmp_path, *lines).totals == {"too_many_image_examples": 1}
    assert report(tmp_path, *lines[:10]).totals == {}


def test_a_byte_order_mark_is_found_and_its_line_read(tmp_path: Path) -> None:
    found = report(tmp_path, b"\xef\xbb\xbf" + json.dumps(good(0)).encode(), *(good(n) for n in range(1, 10)))
    assert [(finding.line, finding.rule) for finding in found.findings] == [(1, "byte_order_mark")]
    assert found.examples == {"supervised": 10}


def test_lines_are_compared(tmp_path: Path) -> None:
    lines = [good(number) for number in range(10)]
    again = sft(user("What is 3?"), assistant("It is three."))
    found = report(tmp_path, *lines, lines[4], again, lines[4], again)
    assert [(finding.line, finding.rule, finding.where) for finding in found.findings] == [
        (11, "duplicate", "line 5"),
        (12, "contradiction", "line 4"),
        (13, "duplicate", "line 5"),
        (14, "duplicate", "line 12"),
    ]
    assert (found.errors, found.warnings) == (0, 4)


def test_other_tools_make_another_question(tmp_path: Path) -> None:
    lines = [sft(ASKED, assistant("1"), tools=[CLOCK]), sft(ASKED, assistant("2"), tools=[WEATHER])]
    assert report(tmp_path, *lines, *(good(n) for n in range(8))).totals == {}


def test_of_each_rule_the_first_findings_are_told_and_all_are_counted(tmp_path: Path) -> None:
    lines = [sft(user(str(n)), assistant("")) for n in range(20)] + [sft(user("x"), assistant("1"), id=1)]
    found = report(tmp_path, *lines, each_max=3)
    assert found.totals == {"unknown_field": 1, "empty_answer": 20}
    assert [(finding.line, finding.rule) for finding in found.findings] == [
        (1, "empty_answer"),
        (2, "empty_answer"),
        (3, "empty_answer"),
        (21, "unknown_field"),
    ]
    assert (found.errors, found.warnings) == (1, 20)


def test_a_report_counts_and_is_json_without_text_of_the_file(tmp_path: Path) -> None:
    secret = "swordfish ann@acme.io"
    found = report(tmp_path, b"\r", sft(user(secret), assistant(secret), **{secret: 1}))
    told = json.loads(msgspec.json.encode(found))
    assert (told["lines"], told["examples"], told["bytes"]) == (2, {"supervised": 1}, found.bytes)
    assert told["tokens"] == told["tokens_max"] == round(2 * len(secret) / 3.6) + 8
    [private] = [finding for finding in told["findings"] if finding["rule"] == "private_text"]
    assert private == {"line": 2, "where": "2 EMAIL", "rule": "private_text", **RULES["private_text"]._asdict()}
    assert "swordfish" not in json.dumps(told)


def test_what_is_written_passes(tmp_path: Path) -> None:
    made = writers(Write(mask="last"), tmp_path)
    for number in range(10):
        for writer in made:
            writer.write("train", corrected(number))
    made[0].write("train", with_tools())
    made[0].write("train", with_image())
    for writer in made:
        writer.close()
    for file in ("train.jsonl", "preferences.train.jsonl"):
        assert validate(tmp_path / file).findings == []


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="cannot be read"):
        validate(tmp_path / "none.jsonl")
    with pytest.raises(DatasetError, match="cannot be read"):
        validate(tmp_path)
    with pytest.raises(DatasetError, match="Unpack it first"):
        validate(tmp_path / "train.jsonl.zst")
