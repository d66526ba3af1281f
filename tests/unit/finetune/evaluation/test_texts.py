"""Words, labels and how much of them two texts share."""

from __future__ import annotations

import pytest

from finetune.evaluation.texts import detected_labels, exact_match, label_of, rouge_l, token_f1, words


@pytest.mark.parametrize(
    ("said", "wanted", "same"),
    [
        ("Paris.", "paris", True),
        ("  Two\n words ", "two words", True),
        ("Straße", "STRASSE", True),
        ("３", "3", True),
        ("-5", "5", False),
        ("3.14", "314", False),
        ("the cat", "cat", False),
        ("", "x", False),
    ],
)
def test_what_is_exactly_the_same(said: str, wanted: str, same: bool) -> None:
    assert exact_match(said, wanted) is same


@pytest.mark.parametrize(
    ("said", "wanted", "f1"),
    [
        ("the gate is open", "the gate is shut", 0.75),
        ("open gate", "gate open", 1.0),
        ("gate", "gate gate gate", 0.5),
        ("", "gate", 0.0),
        ("!?", "!?", 1.0),
        ("A", "The", 0.0),
        ("水門開", "水門閉", 2 / 3),
    ],
)
def test_words_in_common(said: str, wanted: str, f1: float) -> None:
    assert token_f1(said, wanted) == pytest.approx(f1)


@pytest.mark.parametrize(
    ("said", "wanted", "f1"),
    [
        ("a b c d", "a c b d", 0.75),
        ("d c b a", "a b c d", 0.25),
        ("Ворота открыты", "ворота закрыты", 0.5),
        ("", "a", 0.0),
    ],
)
def test_words_in_order(said: str, wanted: str, f1: float) -> None:
    assert rouge_l(said, wanted) == pytest.approx(f1)


def test_words_are_those_of_any_language() -> None:
    assert words("Größe_Zwei, l'été: 東京 3") == ["grösse", "zwei", "l", "été", "東", "京", "3"]
    assert words("हिन्दी में लिखा है, كِتَاب") == ["हिन्दी", "में", "लिखा", "है", "كِتَاب"]


def test_labels_are_few_short_and_met_often() -> None:
    assert detected_labels(["Refund.", "refund", "other", "Other", "refund", "other"]) == ("other", "refund")
    assert detected_labels(["refund"] * 9) == (), "one is no choice"
    assert detected_labels(["a", "b", "c", "a", "b", "d"]) == (), "not met often"
    assert detected_labels(["this is far too long for a label", "refund"] * 5) == ()


def test_the_label_of_an_answer() -> None:
    labels = ["refund", "refund request", "other", "C"]
    said = ["Refund", "It is a refund request.", "other or refund", "The answer is (C).", "nothing of that", "refunds"]
    assert [label_of(one, labels) for one in said] == ["refund", "refund request", "", "c", "", ""]
