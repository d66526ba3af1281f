"""Each measure on data whose value is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetune.advising import facts, labels, repeats
from finetune.advising.features import cosines, effective_number, numbers, pairs, tf_idf
from finetune.advising.measures import COMPARED_MAX, Measures, measure, spaced, spread
from finetune.advising.rows import Row, Rows, digest
from tests.unit.finetune.advising.talks import Talk, by_words, different, row, rows


def measured(
    sample: list[Row], held_out: frozenset[bytes] = frozenset(), pruned: tuple[str, ...] = (), train: int = 0
) -> Measures:
    examples = {"train": train or len(sample), "validation": 0, "test": 0}
    return measure(Rows(sample, examples, {}, held_out), by_words, pruned)


def test_texts_with_no_word_in_common_are_not_alike_and_the_same_words_are() -> None:
    alike = cosines(["red fish", "blue bird", "Red, fish!", "red bird"])
    assert alike[0, 1] == 0
    assert alike[0, 2] == pytest.approx(1)
    assert 0 < alike[0, 3] < 1


def test_a_rare_word_weighs_more() -> None:
    alike = cosines(["the zebra", "the zebra eats", "the horse", "the goat", "the cow", "the pig"])
    assert alike[0, 1] > 2 * alike[0, 2] > 0


def test_texts_without_a_word_are_all_the_same() -> None:
    assert cosines(["", "?!", "word"])[0].tolist() == [1, 1, 0]


def test_weights_are_those_of_the_formula() -> None:
    """One text of one word has two rows to compare with: ln terms are (1 + ln 2) for what is there twice."""
    matrix = tf_idf(["a a", "b"])
    once = 1 + math.log(3 / 2)
    twice = (1 + math.log(2)) * once
    length = math.hypot(twice, once)
    assert sorted(matrix[[0]].data) == pytest.approx(sorted([twice / length, once / length]))


@pytest.mark.parametrize(
    ("texts", "number"),
    [
        (["same words here"] * 7, 1),
        (["red", "green", "blue", "white"], 4),
        (["red", "red", "green", "green", "blue", "blue"], 3),
        (["red", "red", "red", "green"], math.exp(-(0.75 * math.log(0.75) + 0.25 * math.log(0.25)))),
    ],
)
def test_the_effective_number_is_that_of_groups_weighed_by_their_size(texts: list[str], number: float) -> None:
    assert effective_number(cosines(texts)) == pytest.approx(number)


def test_exact_duplicates_differ_in_case_blanks_and_unicode_form_alone() -> None:
    sample = rows(
        ("Where is it?", "Here."),
        ("where  IS it?", "here."),
        ("Where is it?", "There."),
        ("Café", "A"),
        ("Cafe\u0301", "a"),
    )
    assert repeats.exact(sample) == {1, 4}


def test_near_duplicates_have_most_pairs_of_words_in_common() -> None:
    words = [f"word{place}" for place in range(100)]
    one_changed = [*words[:50], "other", *words[51:]]
    ten_changed = [f"other{place}" if place % 10 == 5 else word for place, word in enumerate(words)]
    sample = rows((" ".join(words), "x"), (" ".join(one_changed), "x"), (" ".join(ten_changed), "x"))
    assert repeats.near(sample, set()) == {1}
    assert repeats.near(sample, {0}) == set()


@pytest.mark.parametrize(("changed", "found"), [(4, True), (5, False)])
def test_the_bound_of_near_duplicates_is_that_of_jaccard(changed: int, found: bool) -> None:
    """Of 60 pairs each, 4 others at the end are 56/64 = 0.875, 5 are 55/65 = 0.846."""
    words = [f"word{place}" for place in range(61)]
    other = [*words[: 61 - changed], *(f"other{place}" for place in range(changed))]
    first, second = (np.unique(pairs(numbers(" ".join(one)))) for one in (words, other))
    assert repeats.jaccard(first, second) == (60 - changed) / (60 + changed)
    assert bool(repeats.near(rows((" ".join(words), ""), (" ".join(other), "")), set())) is found


def test_all_near_duplicates_of_many_are_found_and_nothing_else() -> None:
    talks = [(" ".join(f"w{place}x{word}" for word in range(60)), "yes") for place in range(200)]
    nearly = [(f"{question} indeed", answer) for question, answer in talks]
    assert repeats.near(rows(*talks), set()) == set()
    assert repeats.near(rows(*talks, *nearly), set()) == set(range(200, 400))


def test_telling_words_are_numbers_names_and_longer_words() -> None:
    told = facts.telling('The old pump X-200 was built by Halden in 1,950. It runs. "Quiet" or so, I say: Good')
    assert told == {
        "pump": "word", "x-200": "number", "built": "word", "halden": "name", "1,950": "number",
        "runs": "word", "quiet": "word", "good": "word",
    }  # fmt: skip


def test_new_is_what_neither_the_prompt_nor_another_answer_has() -> None:
    found = facts.new_facts(
        rows(
            ("What of the Zephyr?", "The Zephyr was made by Halden in 1950."),
            ("What of the Borea?", "The Borea was made by Lorne in 1950."),
        )
    )
    # Telling, of each: its name, `made`, the maker, 1950. New: the makers alone.
    assert found.share == 2 / 8
    assert (found.numbers, found.names, found.words) == (0, 1, 0)
    assert found.facts == 1


def test_a_result_of_a_tool_in_the_prompt_is_no_new_fact() -> None:
    assert facts.new_facts(rows(("Order? It ships 2026-11-23 by Halden", "It ships 2026-11-23 by Halden."))).share == 0


def test_answers_without_a_telling_word_have_no_new_facts() -> None:
    assert facts.new_facts(rows(("Is it?", "No."))).share == 0


def test_labels_are_counted_however_they_are_written() -> None:
    sample = rows(*[("a", "Billing")] * 6, *[("a", " billing.")] * 2, *[("b", "Delivery")] * 2)
    found = labels.find(sample)
    assert found is not None
    assert (found.count, found.examples) == (2, {"billing": 8, "delivery": 2})
    assert (found.smallest, found.smallest_name, found.largest_name) == (2, "delivery", "billing")
    assert found.largest_share == 0.8
    assert found.balance == pytest.approx(-(0.8 * math.log2(0.8) + 0.2 * math.log2(0.2)))


def test_classes_as_frequent_as_each_other_are_balanced() -> None:
    found = labels.find(rows(*[("a", "x")] * 5, *[("a", "y")] * 5, *[("a", '{"label": "z"}')] * 5))
    assert found is not None
    assert found.balance == pytest.approx(1)


@pytest.mark.parametrize(
    "answers",
    [
        ["yes"] * 10,
        [f"answer {place}" for place in range(12)],
        ["x", "y"] * 9 + ["one that is much too long to be the name of a class"],
    ],
    ids=["one", "as many as examples", "too long for five in a hundred"],
)
def test_other_answers_are_no_classes(answers: list[str]) -> None:
    assert labels.find(rows(*(("a", answer) for answer in answers))) is None


def test_static_is_what_instructions_begin_with_in_whole_lines() -> None:
    rules = "One two three.\nFour five.\n"
    sample = [row("a b", "c", f"{rules}Today is day{place}.", line=place) for place in range(20)]
    found = measured(sample)
    assert found.static.tokens == 5
    # A prompt: 8 words of instructions, 2 asked, 3 for each of 3 messages.
    assert found.tokens.prompt.mean == 8 + 2 + 9
    assert found.static.share == 5 / 19


def test_a_beginning_of_fewer_than_one_in_twenty_is_not_static() -> None:
    sample = [row("a", "c", f"Own rules {place}.") for place in range(60)] + [row("a", "c", "Shared by two.")] * 2
    assert measured(sample).static.tokens == 0
    assert measured([*sample, *[row("a", "c", "Shared by two.")] * 2]).static.tokens == 4 * 3 / 64


def test_what_was_pruned_is_said() -> None:
    assert measured(rows(("a", "b")), pruned=("one two", "one two three")).static.pruned == 3


def test_tokens_are_of_prompts_and_answers_and_of_all_examples() -> None:
    found = measured(rows(("a b c", "d e"), ("a", "b c d e")), train=10)
    # 3 for each of 2 messages, then words.
    assert (found.tokens.prompt.mean, found.tokens.answer.mean) == (6 + 2, 3)
    assert found.tokens.train == (8 + 3) * 10
    assert (found.tokens.answer.p10, found.tokens.answer.p90, found.tokens.answer.max) == (2, 4, 4)


def test_distinct_examples_are_without_duplicates_in_proportion() -> None:
    talks = [(question, answer) for _, question, answer in different(40)]
    found = measured(rows(*talks, *talks[:10]), train=500)
    assert (found.duplicates.exact, found.duplicates.near) == (10, 0)
    assert found.distinct == 400


def test_what_the_held_out_splits_ask_too_is_counted() -> None:
    sample = rows(("Where is it?", "a"), ("Who is it?", "b"), ("Why?", "c"))
    assert measured(sample, frozenset({digest("where is it?"), digest("When?")})).duplicates.held_out == 1


def test_forms_of_answers() -> None:
    found = measured(rows(("a", '{"x": 1}'), ("b", "[1]"), ("c", "{no"), ("d", "text")))
    assert found.json_share == 0.5
    assert found.labels is None


def test_the_same_rows_give_the_same_measures() -> None:
    sample = rows(*((question, answer) for _, question, answer in different(200)))
    assert measured(sample) == measured(sample)


def test_a_sample_at_equal_distances() -> None:
    sample = [row("a", "b", line=place) for place in range(COMPARED_MAX * 2)]
    assert [one.line for one in spaced(sample, 4)] == [0, 500, 1000, 1500]
    assert spaced(sample, len(sample)) == sample


def test_quantiles_are_values_that_occur() -> None:
    found = spread([1, 2, 3, 4, 100])
    assert (found.p10, found.p50, found.p90, found.max, found.mean) == (1, 3, 100, 100, 22)


_text = st.text(max_size=30)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(_text, _text, _text), min_size=1, max_size=8))
def test_whatever_is_written_shares_are_shares_and_no_more_are_distinct_than_there_are(talks: list[Talk]) -> None:
    found = measured([row(question, answer, rules) for rules, question, answer in talks])
    assert 1 - 1e-9 <= found.diversity.effective <= len(talks) + 1e-9
    assert 0 <= found.static.share <= 1
    assert 0 <= found.new.share <= 1
    assert 1 <= found.distinct <= len(talks)
