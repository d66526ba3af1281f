"""Advice through the command line: the real tokenizer, prices and embedding model, over datasets of each kind."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from proxy.cli import app
from proxy.commands.failure import CommandFailed
from tests.unit.finetune.advising.talks import Talk, write

ROOT = Path("penstock-datasets")
THINGS = ("kettle", "lamp", "tent", "bike", "radio", "mug", "sofa", "drill")
FAULTS = ("arrived broken", "does not switch on", "is late", "has the wrong colour", "makes a noise")
WISHES = ("What now?", "Please help me with it.", "I want my money back.", "Can I swap it for another one?")
REMEDIES = (
    "We ship a new one with the next tide.",
    "Send it back and the doubloons return to your chest.",
    "Our crew looks into it before the sun is down.",
)
RULES = "You are the support agent of Harbour Goods.\nBe brief.\nAnswer as a pirate would, and name the order."


@pytest.fixture(autouse=True)
def somewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def pirate(dice: random.Random) -> Talk:
    thing, fault, order = dice.choice(THINGS), dice.choice(FAULTS), dice.randrange(10_000, 99_999)
    asked = f"My {thing} from order {order} {fault}. {dice.choice(WISHES)} I am {dice.choice(THINGS)}{order % 977}."
    return RULES, asked, f"Ahoy! A {thing} that {fault} is no treasure. {dice.choice(REMEDIES)} Order {order}, matey."


def ticket(dice: random.Random) -> Talk:
    thing, fault = dice.choice(THINGS), dice.randrange(3)
    asked = f"My {thing} {('was charged twice', 'is late', 'is broken')[fault]} since {dice.randrange(10_000)}"
    return "Classify.", asked, ("billing", "delivery", "damage")[fault]


def pump(dice: random.Random) -> Talk:
    name, maker = (("".join(dice.choices("bdklmnprst", k=3)) + "ara" + str(n)).capitalize() for n in (1, 2))
    answer = f"The {name} was built by {maker} in {dice.randrange(1500, 9999)} and weighs {dice.randrange(9**7)} kg."
    return "", f"What do you know of the pump {name}?", answer


def shape(dice: random.Random) -> Talk:
    thing, order = dice.choice(THINGS), dice.randrange(10_000, 99_999)
    return "Extract.", f"{thing} of {order}, {dice.choice(FAULTS)}", json.dumps({"thing": thing, "order": order})


def made(
    kind: Callable[[random.Random], Talk],
    count: int,
    name: str = "support-v1",
    root: Path = ROOT,
    model: str = "gpt-5",
    **options: Any,
) -> Path:
    dice = random.Random(name)
    talks = [kind(dice) for _ in range(count + 70)]
    models = {model: count, "(others)": 9 * count}
    return write(root / name, talks[70:], talks[:10], talks[10:70], models=models, **options)


def run(*words: str) -> Result:
    return CliRunner().invoke(app, ["finetune", "advise", *words])


def advised(*words: str) -> Any:
    result = run(*words, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.mark.parametrize(
    ("kind", "count", "aim", "way"),
    [
        (pirate, 60, "style", "few-shot"),
        (pump, 200, "knowledge", "retrieval"),
        (ticket, 200, "classification", "hosted"),
        (shape, 200, "format", "hosted"),
    ],
)
def test_the_kind_of_a_dataset_is_seen_and_the_way_is_the_matrix(kind: Any, count: int, aim: str, way: str) -> None:
    made(kind, count)
    found = advised("support-v1")
    assert (found["aim"], found["aim_stated"], found["ways"][0]["name"]) == (aim, False, way)
    assert found["measures"]["examples"] == {"train": count, "validation": 10, "test": 60}
    assert found["model"] == "gpt-5"
    assert found["costs"]["calls"][0]["usd"] > 0


def test_a_larger_one_is_for_lora_and_what_was_said_to_be_the_aim_counts() -> None:
    made(pirate, 1300)
    found = advised("support-v1")
    assert found["measures"]["distinct"] > 1000
    assert found["ways"][0]["name"] == "lora"
    assert found["next"][0].startswith("penstock finetune lora support-v1 --base ")
    found = advised("support-v1", "--aim", "knowledge")
    assert (found["aim"], found["aim_stated"], found["ways"][0]["name"]) == ("knowledge", True, "retrieval")


def test_the_screen_says_what_json_does() -> None:
    made(pirate, 150, pairs=120)
    found, shown = advised("support-v1"), run("support-v1").stdout
    for said in (
        found["ways"][0]["title"],
        *found["ways"][0]["why"],
        *found["ways"][0]["against"],
        *found["doubts"],
        *found["next"],
        f"{found['measures']['tokens']['train']:,} an epoch",
        f"{found['measures']['static']['tokens']:,.0f} of them (",
    ):
        assert said in shown
    assert [way["verdict"] for way in found["ways"][:2]] == ["do", "then"]
    assert len(found["next"]) == 2
    assert "is not known" not in shown
    made(pirate, 150, name="other", model="model-x")
    assert "What model-x costs is not known: say it in [prices] of penstock.toml." in run("other").stdout


def test_when_it_is_the_advice_a_prompt_is_written_but_never_over_another_file() -> None:
    made(pirate, 40)
    found = advised("support-v1")
    file = Path("support-v1.few-shot.json")
    assert found["few_shot_file"] == str(file)
    assert found["few_shot"]["alike_by"].startswith("wordllama")
    messages = json.loads(file.read_text())["messages"]
    assert messages == found["few_shot"]["messages"]
    assert (messages[0]["content"], len(messages)) == (RULES, 1 + 2 * 8)
    (command,) = found["next"]
    assert command == f"penstock evaluate support-v1 --split test --models gpt-5 --few-shot gpt-5={file}"
    file.write_text("mine")
    again = advised("support-v1")
    assert (file.read_text(), again["few_shot_file"]) == ("mine", "")
    assert again["next"] == ["penstock finetune advise support-v1 --few-shot support-v1.few-shot.json"]
    assert advised("support-v1", "--few-shot", str(file), "--examples", "3")["few_shot_file"] == str(file)
    assert len(json.loads(file.read_text())["messages"]) == 7


def test_a_prompt_is_written_on_request_whatever_the_advice_and_for_a_question() -> None:
    made(pirate, 150)
    assert advised("support-v1")["few_shot"] is None
    assert list(Path().glob("*.json")) == []
    words = ("--few-shot", "p.json", "--examples", "2", "--question", "My radio is late")
    assert "radio" in advised("support-v1", *words)["few_shot"]["messages"][1]["content"]
    assert advised("support-v1", "--few-shot", "p.json", "--few-shot-tokens", "120")["few_shot"]["tokens"] <= 120


def test_other_scripts_are_compared_by_words() -> None:
    talks = [("", f"Где заказ {place}?", f"Заказ {place} в пути.") for place in range(20)]
    write(Path("penstock-datasets", "russian"), talks)
    assert advised("russian")["few_shot"]["alike_by"] == "TF-IDF of words and pairs of words"


def test_the_same_dataset_gives_the_same_advice() -> None:
    made(shape, 120)
    first, second = advised("support-v1"), advised("support-v1")
    for found in (first, second):
        # The speed of a processor is measured each time.
        found["costs"]["own"] = [one for one in found["costs"]["own"] if not one["measured"]]
        found["ways"] = [{**way, "time": ""} for way in found["ways"]]
    assert first == second


def test_a_dataset_elsewhere_is_named_so_that_the_next_command_finds_it() -> None:
    made(pirate, 150, root=Path("a shelf"))
    found = advised("support-v1", "--root", "a shelf")
    assert found["next"][0].startswith("penstock finetune openai 'a shelf/support-v1' ")


def refused(*words: str) -> str:
    result = run(*words)
    assert result.exit_code
    said = str(result.exception) if isinstance(result.exception, CommandFailed) else result.output
    assert "Traceback" not in said
    return said


def test_what_cannot_be_advised_on_is_said_in_a_line() -> None:
    write(Path("penstock-datasets", "pairs"), [], pairs=30)
    write(Path("penstock-datasets", "empty"), [])
    write(Path("penstock-datasets", "odd"), [{"messages": "?"}])
    for words, said in (
        (("pairs",), "30 preference pairs and no examples in train"),
        (("empty",), "has no examples in train"),
        (("odd",), "train.jsonl:1 is no example"),
        (("nowhere",), "There is no dataset nowhere"),
        (("pairs", "--aim", "glory"), "--aim glory is none of format, style"),
        (("pairs", "--question", "How?"), "--few-shot FILE"),
    ):
        found = refused(*words)
        assert said in found
        assert len(found.strip().splitlines()) == 1


def test_a_prompt_that_cannot_be_made_is_an_error_only_where_it_was_asked_for() -> None:
    call = {"id": "1", "type": "function", "function": {"name": "find", "arguments": "{}"}}
    lines = [
        {"messages": [{"role": "user", "content": f"q{n}"}, {"role": "assistant", "tool_calls": [call]}]}
        for n in range(20)
    ]
    write(Path("penstock-datasets", "calls"), lines)
    found = advised("calls")
    assert found["few_shot"] is None
    assert any("has no example for a prompt" in doubt for doubt in found["doubts"])
    assert "has no example for a prompt" in refused("calls", "--few-shot", "p.json")
