"""Who is asked, and behind what."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from finetune.dataset import Message
from finetune.errors import FinetuneError
from finetune.evaluation.examples import Example
from finetune.evaluation.prompting import Contestant, contestants

SHOWN: list[Message] = [
    {"role": "system", "content": "Answer as in these examples."},
    {"role": "user", "content": "Where is it?"},
    {"role": "assistant", "content": "In the hold."},
]
QUESTION: list[Message] = [{"role": "user", "content": "And now?"}]


def prompt(path: Path, messages: Any = SHOWN) -> Path:
    path.write_text(json.dumps({"messages": messages}))
    return path


def example(messages: list[Message]) -> Example:
    return Example(id="test:1", messages=messages, reference={"role": "assistant", "content": "x"})


def test_models_are_asked_as_they_are_and_then_behind_their_prompts(tmp_path: Path) -> None:
    one, other = prompt(tmp_path / "a=b.json"), prompt(tmp_path / "c", [*SHOWN, *QUESTION])
    found = contestants(("base", "tuned"), (f"tuned={one}", f"ft:gpt:x={other}"))
    assert [*found] == ["base", "tuned", "tuned+few-shot", "ft:gpt:x+few-shot"]
    assert found["tuned"] == Contestant("tuned")
    assert found["tuned+few-shot"] == Contestant("tuned", SHOWN)
    assert found["ft:gpt:x+few-shot"] == Contestant("ft:gpt:x", [*SHOWN, *QUESTION])


def test_the_question_follows_and_its_own_instructions_come_first() -> None:
    own: list[Message] = [{"role": "system", "content": "Be brief."}, {"role": "developer", "content": "Now."}]
    assert Contestant("m").asked(example(QUESTION)) == example(QUESTION)
    assert Contestant("m", SHOWN).asked(example(QUESTION)) == example([*SHOWN, *QUESTION])
    assert Contestant("m", SHOWN).asked(example([*own, *QUESTION])) == example([*own, *SHOWN[1:], *QUESTION])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("base", "as MODEL=FILE"),
        ("=x", "as MODEL=FILE"),
        ("base=", "as MODEL=FILE"),
        ("base=none.json", "none.json cannot be read: No such file"),
        ("base=.", "cannot be read: Is a directory"),
        ("base=bad.json", "bad.json is no prompt"),
        ("base=list.json", "list.json is no prompt"),
        ("base=empty.json", "empty.json holds no examples. Make one: penstock finetune advise"),
        ("base=odd.json", "odd.json holds no examples"),
    ],
)
def test_what_is_no_prompt_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str, said: str) -> None:
    monkeypatch.chdir(tmp_path)
    Path("bad.json").write_bytes(b"\xff")
    Path("list.json").write_text("[1]")
    prompt(Path("empty.json"), SHOWN[:1])
    prompt(Path("odd.json"), [{"content": "x"}])
    with pytest.raises(FinetuneError, match=f"{said}"):
        contestants(("base",), (given,))


def test_a_model_has_one_prompt(tmp_path: Path) -> None:
    path = prompt(tmp_path / "p.json")
    with pytest.raises(FinetuneError, match=r"there is a base\+few-shot already"):
        contestants(("base",), (f"base={path}", f"base={path}"))
