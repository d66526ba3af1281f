"""What is learnt of a conversation: found out by decoding the tokens that are, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from finetune.dataset import Asked, Conversation, Preference
from finetune.errors import FinetuneError
from finetune.training.conversations import UNLEARNT, Counted, Encoder, Example
from tests import tiny_llama

USER = {"role": "user", "content": "Where is it? 🦜"}
ARR = {"role": "assistant", "content": "  Arr, aboard!"}
MORE = {"role": "user", "content": "Sure?"}
AYE = {"role": "assistant", "content": "Aye."}
CALL = {
    "role": "assistant",
    "content": None,
    "tool_calls": [{"id": "1", "type": "function", "function": {"name": "find", "arguments": '{"n": 17}'}}],
}
RESULT = {"role": "tool", "tool_call_id": "1", "content": "in the hold"}
TOOLS = [{"type": "function", "function": {"name": "find", "parameters": {"type": "object"}}}]


def encoder(template: str = tiny_llama.PLAIN, mask: Any = "assistant", **options: Any) -> Encoder:
    return Encoder(tiny_llama.tokenizer(template), mask=mask, **{"max_length": 512, **options})


def learnt(found: Example) -> list[str]:
    """Each stretch of tokens that is learnt, decoded."""
    tokenizer = tiny_llama.tokenizer()
    assert all(label in (UNLEARNT, token) for token, label in zip(found.ids, found.labels, strict=True))
    stretches: list[list[int]] = [[]]
    for token, label in zip(found.ids, found.labels, strict=True):
        if label == UNLEARNT:
            stretches.append([])
        else:
            stretches[-1].append(token)
    return [tokenizer.decode(stretch) for stretch in stretches if stretch]


def conversation(*messages: dict[str, Any], tools: Any = ()) -> Conversation:
    return Conversation(messages=list(messages), tools=list(tools))


@pytest.fixture(params=[tiny_llama.PLAIN, tiny_llama.MARKED], ids=["prefixes", "marks"])
def template(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_the_answer_and_its_end_are_learnt_and_nothing_else(template: str) -> None:
    assert learnt(encoder(template).encode(conversation(USER, ARR))) == ["  Arr, aboard!<|im_end|>"]


def test_each_answer_of_several_turns_is_learnt(template: str) -> None:
    found = encoder(template).encode(conversation({"role": "system", "content": "Pirate."}, USER, ARR, MORE, AYE))
    assert learnt(found) == ["  Arr, aboard!<|im_end|>", "Aye.<|im_end|>"]


def test_calls_of_tools_are_learnt_and_their_results_are_not(template: str) -> None:
    found = encoder(template).encode(conversation(USER, CALL, RESULT, AYE, tools=TOOLS))
    assert learnt(found) == ['<call>find {"n": 17}</call><|im_end|>', "Aye.<|im_end|>"]


def test_tools_are_in_what_the_model_reads() -> None:
    found = encoder().encode(conversation(USER, ARR, tools=TOOLS))
    assert '"name": "find"' in tiny_llama.tokenizer().decode(found.ids)


def test_an_answer_of_weight_0_is_read_and_not_learnt(template: str) -> None:
    found = encoder(template).encode(conversation(USER, {**ARR, "weight": 0}, MORE, {**AYE, "weight": 1}))
    assert learnt(found) == ["Aye.<|im_end|>"]
    assert "Arr, aboard!" in tiny_llama.tokenizer().decode(found.ids)


def test_the_mask_last_learns_the_last_answer(template: str) -> None:
    assert learnt(encoder(template, "last").encode(conversation(USER, ARR, MORE, AYE))) == ["Aye.<|im_end|>"]


def test_the_mask_all_learns_every_turn_but_answers_of_weight_0(template: str) -> None:
    whole = encoder(template, "all").encode(conversation(USER, ARR))
    assert whole.labels == whole.ids
    found = encoder(template, "all").encode(conversation(USER, {**ARR, "weight": 0}, MORE, AYE))
    text = "".join(learnt(found))
    assert "Arr" not in text
    assert "Where is it? 🦜" in text
    assert text.endswith("Sure?<|im_end|>\n<|im_start|>assistant\nAye.<|im_end|>\n")


def test_both_ways_of_finding_answers_give_the_same_tokens() -> None:
    line = conversation(USER, ARR, MORE, {**AYE, "weight": 0}, MORE, CALL)
    plain, marked = encoder(tiny_llama.PLAIN), encoder(tiny_llama.MARKED)
    assert (plain.template.how, marked.template.how) == ("prefixes", "marks")
    assert plain.encode(line) == marked.encode(line)


def test_an_answer_to_nothing_is_not_learnt_where_prefixes_find_answers() -> None:
    assert learnt(encoder().encode(conversation(ARR, USER, AYE))) == ["Aye.<|im_end|>"]


def test_a_template_without_prefixes_is_refused_in_a_line() -> None:
    with pytest.raises(FinetuneError, match=r"--chat-template FILE") as caught:
        encoder(tiny_llama.UNSTABLE).encode(conversation(USER, ARR, MORE, AYE))
    assert "\n" not in str(caught.value)


def test_a_conversation_that_the_template_refuses_is_said_in_a_line() -> None:
    template = "{{ raise_exception('Roles must alternate') }}"
    with pytest.raises(FinetuneError, match="Roles must alternate"):
        encoder(template).encode(conversation(USER, ARR))


def test_a_template_that_trl_knows_takes_the_marks_of_trl() -> None:
    from trl.chat_template_utils import qwen2_5_chat_template

    found = encoder(qwen2_5_chat_template)
    assert found.template.how == "trl"
    example = found.encode(conversation(USER, ARR, MORE, CALL, tools=TOOLS))
    assert learnt(example) == [
        "  Arr, aboard!<|im_end|>",
        '<tool_call>\n{"name": "find", "arguments": {"n": 17}}\n</tool_call><|im_end|>',
    ]


def test_a_template_that_wants_arguments_as_text_gets_them() -> None:
    template = tiny_llama.PLAIN.replace("(call.function.arguments | tojson)", "call.function.arguments")
    found = encoder(template).encode(conversation(USER, CALL))
    assert learnt(found) == ['<call>find {"n": 17}</call><|im_end|>']


def test_an_opened_thought_of_the_template_is_not_taken_for_the_answer() -> None:
    template = tiny_llama.PLAIN.replace("'<|im_start|>assistant\n'", "'<|im_start|>assistant\n<think>'")
    assert learnt(encoder(template).encode(conversation(USER, ARR))) == ["  Arr, aboard!<|im_end|>"]


def test_parts_of_text_are_joined_and_instructions_of_developers_are_the_systems() -> None:
    parts = {"role": "developer", "content": [{"type": "text", "text": "Be a "}, {"type": "text", "text": "pirate."}]}
    found = tiny_llama.tokenizer().decode(encoder().encode(conversation(parts, USER, ARR)).ids)
    assert found.startswith("<|im_start|>system\nBe a pirate.<|im_end|>")


def test_a_long_example_is_cut_and_counted() -> None:
    counted = Counted()
    [found] = encoder(max_length=40).examples([conversation(USER, ARR, MORE, AYE)], counted)
    assert len(found.ids) == len(found.labels) == 40
    assert (counted.lines, counted.taken, counted.cut, counted.tokens) == (1, 1, 1, 40)
    assert counted.left_out() == "1 cut to the length"


def test_a_long_example_is_dropped_and_counted_when_that_is_asked_for() -> None:
    counted = Counted()
    assert encoder(max_length=40, too_long="drop").examples([conversation(USER, ARR, MORE, AYE)], counted) == []
    assert (counted.taken, counted.too_long) == (0, 1)


def test_an_example_of_which_a_cut_leaves_nothing_to_learn_is_left_out() -> None:
    counted = Counted()
    assert encoder(max_length=20).examples([conversation(USER, ARR)], counted) == []
    assert (counted.cut, counted.too_long) == (0, 1)


def test_images_and_examples_without_a_learnt_turn_are_left_out_and_counted() -> None:
    image = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:"}}]}
    counted = Counted()
    lines = [conversation(image, ARR), conversation(USER, {**ARR, "weight": 0}), conversation(USER, ARR)]
    assert len(encoder().examples(lines, counted)) == 1
    assert (counted.lines, counted.images, counted.nothing_learnt, counted.taken) == (3, 1, 1, 1)
    assert counted.left_out() == "1 left out with images, 1 left out with nothing to learn"


def preference(*asked: dict[str, Any], chosen: Any = AYE, rejected: Any = ARR) -> Preference:
    return Preference(input=Asked(messages=list(asked)), preferred_output=[chosen], non_preferred_output=[rejected])


def test_a_pair_is_a_question_and_two_answers_with_their_ends(template: str) -> None:
    [pair] = encoder(template).pairs([preference(USER, ARR, MORE)], Counted())
    decode = tiny_llama.tokenizer().decode
    assert decode(pair.prompt).endswith("Sure?<|im_end|>\n<|im_start|>assistant\n")
    assert decode(pair.chosen) == "Aye.<|im_end|>\n"
    assert decode(pair.rejected) == "  Arr, aboard!<|im_end|>\n"
    assert learnt(pair.preferred()) == ["Aye.<|im_end|>\n"]


def test_what_both_answers_begin_with_is_theirs_and_not_the_questions() -> None:
    [pair] = encoder().pairs([preference(USER, chosen={**AYE, "content": "Aye, sir."})], Counted())
    [same] = encoder().pairs([preference(USER, chosen=ARR, rejected={**ARR, "content": "  Arr, no!"})], Counted())
    assert same.prompt == pair.prompt
    assert same.chosen[:3] == same.rejected[:3]


def test_long_pairs_are_cut_or_left_out_and_counted() -> None:
    counted = Counted()
    long = {"role": "assistant", "content": "Aye, " * 30}
    lines = [preference(USER, chosen=long), preference({"role": "user", "content": "x" * 90})]
    [pair] = encoder(max_length=60).pairs(lines, counted)
    assert len(pair.prompt) + len(pair.chosen) == 60
    assert (counted.lines, counted.taken, counted.cut, counted.too_long) == (2, 1, 1, 1)
