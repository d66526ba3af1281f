"""`[[models]]` as somebody writes it: one line for each fault, and a word on what is probably not meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.commands.check import understood
from proxy.configuration import ConfigurationError, load, problems
from proxy.settings import Settings

UPSTREAMS = """
[[upstreams]]
name = "openai"
base_url = "https://api.openai.com/v1"
[[upstreams]]
name = "local"
base_url = "http://127.0.0.1:8000/v1"
provider = "openai"
models = ["llama"]
"""
BOT = '[[models]]\nname = "bot"\n'
BASE = '[[models.variants]]\nname = "base"\nmodel = "gpt-5-mini"\nweight = 90\n'
TUNED = '[[models.variants]]\nmodel = "tuned"\nupstream = "local"\nweight = 10\n'


def settings(tmp_path: Path, text: str) -> Settings:
    path = tmp_path / "penstock.toml"
    path.write_text(UPSTREAMS + text)
    return load(path, {}, {})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (BOT, "models[0].variants: none has a weight"),
        (BOT + BASE.replace("90", "0"), "models[0].variants: none has a weight"),
        (BOT + BASE.replace("90", "-1"), "models[0].variants[0].weight: must be at least 0"),
        (BOT + BASE.replace("90", "nan"), "models[0].variants[0].weight: must be at least 0"),
        (BOT + BASE + BOT + BASE, 'models[1].name: models[0] is already called "bot"'),
        (BOT + BASE + BASE, 'models[0].variants[1].name: variants[0] is already called "base"'),
        (BOT + BASE + TUNED.replace('"local"', '"lokal"'), 'models[0].variants[1].upstream: there is no'),
        (BOT + 'baseline = "bass"\n' + BASE, 'models[0].baseline: there is no variant "bass", only base'),
        (BOT + BASE.replace("gpt-5-mini", ""), "models[0].variants[0].model: must not be empty"),
        (BOT + BASE.replace('"base"', '"\\u00e9"'), "models[0].variants[0].name: write visible ASCII"),
        (BOT.replace("bot", " bot") + BASE, "models[0].name: write visible ASCII"),
        (
            BOT + BASE + '[[models]]\nname = "other"\n' + BASE.replace("gpt-5-mini", "bot"),
            'models[1].variants[0].model: "bot" is an alias itself',
        ),
        (BOT + BASE + 'prune = [""]', "models[0].variants[0].prune: an empty text"),
        (BOT + 'stiky = "none"\n' + BASE, "models[0].stiky: unknown key. Did you mean sticky?"),
        (BOT + BASE + 'wieght = 1', "models[0].variants[0].wieght: unknown key. Did you mean weight?"),
    ],
)  # fmt: skip
def test_a_fault_is_one_line(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        settings(tmp_path, text)
    (line,) = raised.value.lines
    assert line.startswith(f"{tmp_path}/penstock.toml: {says}")


def test_an_alias_may_have_the_name_of_its_own_model(tmp_path: Path) -> None:
    made = settings(tmp_path, BOT.replace("bot", "gpt-5-mini") + BASE + TUNED)
    assert [line for line in problems(made) if line.startswith("models")] == []


def test_an_alias_that_hides_a_model_is_told(tmp_path: Path) -> None:
    made = settings(tmp_path, BOT.replace("bot", "llama") + BASE)
    assert "models[0].name: hides the model llama of local, which nobody reaches" in problems(made)


def test_an_upstream_that_a_variant_names_is_reached_whatever_its_patterns_say(tmp_path: Path) -> None:
    assert any("never reached" in line for line in problems(settings(tmp_path, BOT + BASE)))
    assert not any("never reached" in line for line in problems(settings(tmp_path, BOT + BASE + TUNED)))


@pytest.mark.parametrize(
    ("address", "key", "told"),
    [("http://127.0.0.1:8000", "", False), ("https://gpu.example", "", True), ("https://gpu.example", "k", False)],
)
def test_callers_keys_do_not_go_where_nobody_sent_them_without_a_word(
    tmp_path: Path, address: str, key: str, told: bool
) -> None:
    (tmp_path / "k").write_text("sk-gpu")
    text = UPSTREAMS.replace("http://127.0.0.1:8000", address)
    if key:
        text = text.replace('models = ["llama"]', 'models = ["llama"]\napi_key = "file:k"')
    path = tmp_path / "penstock.toml"
    path.write_text(text + BOT + BASE + TUNED)
    found = [line for line in problems(load(path, {}, {})) if line.startswith("models[0].variants[1].upstream: local")]
    assert bool(found) is told


def test_check_shows_aliases_with_their_shares(tmp_path: Path) -> None:
    shown = dict(understood(settings(tmp_path, BOT + BASE + TUNED)))
    assert shown["alias"] == "bot  base 90% (gpt-5-mini), tuned 10% (tuned at local)  sticky by session"
