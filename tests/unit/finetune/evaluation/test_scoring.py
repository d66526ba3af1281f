"""Which metrics apply, and what answers get."""

from __future__ import annotations

import pytest

from finetune.errors import FinetuneError
from finetune.evaluation.scoring import Scorer, is_yes_or_no
from tests.unit.finetune.evaluation.cases import answer, call, example

TOOLS = [{"type": "function", "function": {"name": "find", "parameters": {"type": "object"}}}]
FORMAT = {"type": "json_schema", "json_schema": {"schema": {"type": "object", "required": ["a"]}}}


def test_labels_are_found_and_scored() -> None:
    examples = [example("Refund" if n % 2 else "other", n) for n in range(8)]
    scorer = Scorer(examples)
    assert scorer.labels == ("other", "refund")
    assert scorer.metrics == ("label_accuracy", "exact_match", "token_f1", "rouge_l")
    assert scorer.primary(examples) == "label_accuracy"
    found = scorer.score(examples[1], answer("I would say: refund!"))
    assert (found["label_accuracy"].value, found["exact_match"].value) == (1.0, 0.0)
    assert scorer.score(examples[1], answer("dunno"))["label_accuracy"].why == "no label, or several"


def test_a_question_without_an_answer_gets_the_worst_of_each() -> None:
    examples = [example('{"a": 1}', n, response_format=FORMAT) for n in range(2)]
    scorer = Scorer(examples)
    found = scorer.score(examples[0], answer(failure="http_400"))
    assert set(found) == {"exact_match", "token_f1", "rouge_l", "json_valid", "schema_valid"}
    assert {(one.value, one.why) for one in found.values()} == {(0.0, "not answered: http_400")}


def test_json_is_compared_as_json_and_held_against_its_schema() -> None:
    examples = [example('{"a": -1, "b": 2}', n, response_format=FORMAT) for n in range(2)]
    scorer = Scorer(examples)

    def values(text: str) -> list[float]:
        found = scorer.score(examples[0], answer(text))
        return [found[name].value for name in ("exact_match", "json_valid", "schema_valid")]

    assert values('{"b":2.0,"a":-1}') == [1, 1, 1]
    assert values('{"a": 1, "b": 2}') == [0, 1, 1]
    assert values('{"b": 2}') == [0, 1, 0]
    assert values('Sure: {"a": -1, "b": 2}') == [0, 0, 0]
    assert scorer.score(examples[0], answer('{"b": 2}'))["schema_valid"].why == "required at $"


def test_a_schema_that_cannot_be_checked_is_left_out_and_said() -> None:
    broken = {"type": "json_schema", "json_schema": {"schema": {"pattern": "^\\p{Lu}"}}}
    examples = [example('"A"', n, response_format=broken if n else FORMAT) for n in range(3)]
    scorer = Scorer(examples)
    assert "schema_valid" not in scorer.score(examples[1], answer('"A"'))
    assert scorer.score(examples[1], answer('"A"'))["json_valid"].value == 1.0
    (note,) = scorer.notes
    assert note.startswith("schema_valid: not taken on 2 examples, whose schema cannot be checked. That of test:1: it")
    assert Scorer(examples, schema=True).notes == []


def test_calls_are_scored_wherever_there_are_tools() -> None:
    examples = [example([call("find", {"n": 1})], 1, tools=TOOLS), example("No need to look.", 2, tools=TOOLS)]
    scorer = Scorer(examples)
    assert scorer.primary(examples) == "tool_calls"
    right = answer("", call("find", '{"n":1}'))
    assert scorer.score(examples[0], right)["tool_calls"].value == 1
    assert scorer.score(examples[0], answer("It is 1."))["tool_calls"].why == "did not call find"
    assert scorer.score(examples[1], right)["tool_calls"].why == "called find"
    assert set(scorer.score(examples[0], right)) == {"tool_calls"}, "there are no words to compare"
    chatty = [*examples, *(example(f"words {n} and more of them", n, tools=TOOLS) for n in range(3, 9))]
    assert Scorer(chatty).primary(chatty) == "token_f1", "most do not call"


def test_a_metric_that_cannot_be_taken_is_said() -> None:
    with pytest.raises(FinetuneError, match=r"label_accuracy cannot be taken: no example has a label .*--labels"):
        Scorer([example("one"), example("two")], metrics=("label_accuracy",))
    with pytest.raises(FinetuneError, match="schema_valid cannot be taken"):
        Scorer([example("one")], metrics=("schema_valid",))
    with pytest.raises(FinetuneError, match="No answer of the examples is one of the labels yes, no"):
        Scorer([example("one")], labels=("yes", "no"))
    assert Scorer([example("one")], metrics=("token_f1",)).metrics == ("token_f1",)
    assert Scorer([example("one"), example("two")], labels=["ONE", "two"]).metrics[0] == "label_accuracy"


def test_patterns_of_ones_own_are_metrics() -> None:
    examples = [example("Ahoy! It is 1.", 1), example([call("find", {"n": 1})], 2, tools=TOOLS)]
    scorer = Scorer(examples, metrics=("token_f1",), patterns=["style=^Ahoy! .+$", "digit=[0-9]=?"])
    assert scorer.metrics == ("token_f1", "pattern:style", "pattern:digit")
    found = scorer.score(examples[0], answer("Ahoy! No number."))
    assert (found["pattern:style"].value, found["pattern:digit"].value) == (1.0, 0.0)
    assert scorer.score(examples[0], answer("Well. Ahoy! 1"))["pattern:style"].value == 0.0
    assert scorer.score(examples[0], answer(failure="http_400"))["pattern:digit"].value == 0.0
    assert "pattern:style" not in scorer.score(examples[1], answer("Ahoy! 1")), "a call has no form in words"
    assert is_yes_or_no("pattern:style")
    assert not is_yes_or_no("token_f1")


@pytest.mark.parametrize("given", ["style", "=x", "a b=x", "style=", "style=(", "style=(?=x)"])
def test_a_pattern_that_is_none_is_said(given: str) -> None:
    with pytest.raises(FinetuneError, match=r"^(--pattern takes NAME=REGEX|The pattern style cannot be used: )"):
        Scorer([example("one")], patterns=[given])


def test_patterns_have_names_of_their_own() -> None:
    with pytest.raises(FinetuneError, match="two patterns called style"):
        Scorer([example("one")], patterns=["style=a", "style=b"])
