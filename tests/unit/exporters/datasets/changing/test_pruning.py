"""Static text of prompts: what is found, what must never be cut, and that a cut takes a beginning and nothing else."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporters.datasets.changing.pruning import apply, find, static, units, write_options
from exporters.datasets.changing.rewriting import read_back
from exporters.datasets.describing import manifest as manifests
from exporters.datasets.describing.manifest import read
from exporters.datasets.errors import DatasetError
from exporters.datasets.formats.messages import pruned
from exporters.datasets.progress import Silent
from tests.unit.exporters.datasets.made import made, options, row, said

SHOP = "You answer customers of a shop for garden tools.\nBe polite. Never promise a date of delivery.\n"
BANK = "You sort letters that a bank receives into the right folder.\nSay the name of the folder alone.\n"
QUESTION = "Sort this letter into one of the folders: loans, cards, complaints.\n"


@pytest.fixture(autouse=True)
def _without_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """They take a second each, and nothing here looks at them."""
    monkeypatch.setattr(manifests, "draw", lambda *_: [])


def prompt(number: int, system: str, question: str = "", **fields: Any) -> Any:
    asked = [said("system", system)] if system else []
    asked.append(said("user", question or f"Where is order number {number}?"))
    return row(number, **({"input_messages": json.dumps(asked), "prompt_name": ""} | fields))


def found_in(tmp_path: Path, rows: list[Any]) -> Any:
    folder, _ = made(tmp_path, rows, options(write=options().write.__class__(formats=("openai",))))
    return folder, find(folder, len, Silent())


def texts(found: Any) -> list[str]:
    return [one.text for one in found.beginnings]


@given(st.text(st.sampled_from("ab .\n!?\"')e.g"), max_size=60))
def test_units_joined_are_the_text(text: str) -> None:
    found = units(text)
    assert "".join(found) == text.rstrip()
    assert all(unit.strip() for unit in found)


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("You are kind. Be brief.\nAnd so on", ["You are kind.", " Be brief.", "\nAnd so on"]),
        ("Ask Dr. Lee, e.g. now. Then go.", ["Ask Dr. Lee, e.g. now.", " Then go."]),
        ("Version 1.25 is out.\n\n\nRead it", ["Version 1.25 is out.", "\n\n\nRead it"]),
        ('He said "stop." Then (really?) he went.', ['He said "stop."', " Then (really?) he went."]),
    ],
)
def test_units_are_sentences_and_lines(text: str, read: list[str]) -> None:
    assert units(text) == read


def test_what_all_prompts_begin_with_is_found(tmp_path: Path) -> None:
    rows = [prompt(number, f"{SHOP}Today is day {number}.\nThe customer is premium.") for number in range(30)]
    _, found = found_in(tmp_path, rows)
    assert texts(found) == [SHOP.rstrip()]
    (one,) = found.beginnings
    assert (one.examples, one.tokens) == (found.examples, len(SHOP.rstrip()))
    assert one.models.total() == one.examples


def test_two_templates_are_two_texts_and_the_share_says_which_are_cut(tmp_path: Path) -> None:
    rows = [prompt(number, SHOP if number % 4 else BANK) for number in range(60)]
    _, found = found_in(tmp_path, rows)
    assert sorted(texts(found)) == sorted([SHOP.rstrip(), BANK.rstrip()])
    (cut,) = found.shared_by(0.5)
    assert cut.text.startswith("You answer customers")
    assert len(found.shared_by(0.1)) == 2


def test_templates_that_begin_alike_are_told_apart(tmp_path: Path) -> None:
    both = "You are a helpful assistant who works for a large company.\n"
    rows = [prompt(number, both + (SHOP if number % 2 else BANK) + f"Number {number}") for number in range(60)]
    _, found = found_in(tmp_path, rows)
    assert texts(found) == sorted(texts(found), key=len, reverse=True)
    assert {text.strip() for text in texts(found)} == {both.strip(), (both + SHOP).strip(), (both + BANK).strip()}


@pytest.mark.parametrize("values", [("Free", "Premium"), ("Free", "Free", "Free", "Premium")])
def test_a_variable_ends_the_text_however_often_it_has_one_value(tmp_path: Path, values: Sequence[str]) -> None:
    def system(number: int) -> str:
        return f"{SHOP}The plan is {values[number % len(values)]}.\nNever say no. Sign with your name at the end."

    _, found = found_in(tmp_path, [prompt(number, system(number)) for number in range(40)])
    assert texts(found) == [SHOP.rstrip()]


def test_a_variable_at_the_end_is_no_template(tmp_path: Path) -> None:
    rows = [prompt(number, f"{SHOP}The plan is {'Free' if number % 2 else 'Premium'}.") for number in range(40)]
    _, found = found_in(tmp_path, rows)
    assert texts(found) == [SHOP.rstrip()]


def test_a_variable_at_the_beginning_leaves_nothing_to_cut(tmp_path: Path) -> None:
    days = ["Monday", "Tuesday", "Friday"]
    rows = [prompt(number, f"It is {days[number % 3]}, and you are at work today.\n{SHOP}") for number in range(30)]
    folder, found = found_in(tmp_path, rows)
    assert texts(found) == []
    with pytest.raises(DatasetError, match="nothing to cut"):
        apply(folder, tmp_path, "less", [], Silent())


def test_versions_of_a_named_prompt_are_templates_of_their_own(tmp_path: Path) -> None:
    rows = []
    for number in range(40):
        extra = " Give prices in euros." if number % 2 else " Give prices in dollars."
        version = str(number % 2)
        rows.append(prompt(number, SHOP.rstrip() + extra, prompt_name="shop", prompt_version=version))
    _, found = found_in(tmp_path, rows)
    assert {text.rpartition(" ")[2] for text in texts(found)} == {"euros.", "dollars."}


def test_the_only_question_of_the_user_may_begin_with_static_text_too(tmp_path: Path) -> None:
    rows = [prompt(number, "", f"{QUESTION}Dear bank, this is letter {number}.") for number in range(30)]
    folder, found = found_in(tmp_path, rows)
    assert [(one.role, one.text) for one in found.beginnings] == [("user", QUESTION.rstrip())]
    apply(folder, tmp_path, "less", found.beginnings, Silent())
    asked = [example.messages[0]["content"] for _, example in read_back(tmp_path / "less")]
    assert all(text.startswith("Dear bank") for text in asked)


def test_examples_of_how_to_answer_are_not_touched(tmp_path: Path) -> None:
    def few_shot(number: int) -> Any:
        turns = [said("user", f"{QUESTION}I want loan {number % 3}."), said("assistant", "loans")]
        asked = [*turns, said("user", f"{QUESTION}Dear bank, this is letter {number}.")]
        return row(number, input_messages=json.dumps(asked), prompt_name="")

    _, found = found_in(tmp_path, [few_shot(number) for number in range(30)])
    assert texts(found) == []


def test_a_whole_question_is_never_cut(tmp_path: Path) -> None:
    rows = [
        prompt(number, SHOP, f"{QUESTION}Number {number}" if number % 2 else QUESTION.rstrip()) for number in range(30)
    ]
    folder, found = found_in(tmp_path, rows)
    apply(folder, tmp_path, "less", found.beginnings, Silent())
    asked = Counter(
        message["content"].partition(" ")[0]
        for _, example in read_back(tmp_path / "less")
        for message in example.messages
        if message["role"] == "user"
    )
    assert asked.keys() <= {"Number", "Sort"}
    assert asked["Sort"] > 0


def test_applied_the_rule_is_in_the_manifest_and_the_tokens_are_fewer(tmp_path: Path) -> None:
    rows = [prompt(number, f"{SHOP}Today is day {number}.") for number in range(30)]
    folder, found = found_in(tmp_path, rows)
    before = read(folder)
    for one in found.beginnings:
        one.tokens = 2
    after = apply(folder, tmp_path, "less", found.shared_by(0.5), Silent())
    assert after.options.write.prune == (SHOP.rstrip(),)
    assert after.lineage[-1]["action"] == "prune"
    assert (after.lineage[-1]["examples"], after.lineage[-1]["tokens_saved"]) == (before.written, 2 * before.written)
    assert after.tokens.total == before.tokens.total - 2 * before.written
    assert after.written == before.written


def test_what_is_pruned_is_not_pruned_again(tmp_path: Path) -> None:
    folder, found = found_in(tmp_path, [prompt(number, SHOP) for number in range(30)])
    apply(folder, tmp_path, "less", found.beginnings, Silent())
    with pytest.raises(DatasetError, match="pruned already"):
        find(tmp_path / "less", len, Silent())


SENTENCES = [
    "You are kind and brief.",
    "\nAlways say what the price is.",
    " The plan is Free.",
    " Goodbye",
    "\n\nName: Bob",
]


@given(st.lists(st.lists(st.sampled_from(SENTENCES), min_size=1, max_size=6), min_size=1, max_size=30))
def test_a_cut_takes_a_beginning_and_nothing_else(made_of: list[list[str]]) -> None:
    prompts = Counter("".join(parts) for parts in made_of)
    found = list(static(prompts, 2))
    texts = tuple(sorted(found, key=lambda text: -len(text)))
    for text in prompts:
        messages = [{"role": "system", "content": text}, {"role": "user", "content": "Hello"}]
        left = pruned(messages, texts)
        rest = left[0]["content"] if len(left) == 2 else ""
        assert text.endswith(rest)
        cut = text[: len(text) - len(rest)]
        assert cut == "" or cut.rstrip() in {one.rstrip() for one in texts}
        assert left[-1] == messages[-1]


@given(st.lists(st.lists(st.sampled_from(SENTENCES), min_size=1, max_size=6), min_size=2, max_size=30))
def test_every_text_is_shared_by_as_many_as_was_said(made_of: list[list[str]]) -> None:
    prompts = Counter("".join(parts) for parts in made_of)
    for text in static(prompts, 3):
        assert sum(times for one, times in prompts.items() if one.startswith(text)) >= 3
        assert len(text) >= 40


def test_longer_texts_are_tried_first(tmp_path: Path) -> None:
    both = "You are a helpful assistant who works for a large company.\n"
    rows = [prompt(number, both + (SHOP if number % 2 else f"Order {number}.")) for number in range(40)]
    _, found = found_in(tmp_path, rows)
    write = write_options(options().write, reversed(found.beginnings))
    assert [*write.prune] == sorted(write.prune, key=len, reverse=True)
    assert len(write.prune) == 2
