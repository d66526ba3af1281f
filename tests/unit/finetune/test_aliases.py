"""The configuration as text: what is changed is changed, and every other line stays."""

from __future__ import annotations

import difflib
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune.aliases import Aliases
from finetune.errors import FinetuneError

TEXT = '''# Ours.
[server]
port = 4100  # the usual one

[[upstreams]]
name = "openai"   # where most goes
base_url = "https://api.openai.com/v1"

# Names that callers use.
[[models]]
name = "bot"
sticky = "user"  # they talk for months

[[models.variants]]
name = "base"
model = "gpt-5-mini"
weight = 100   # all of it
prune = ["""
[[models]]
"""]
# until we have trained

[[models]]
name = "other"
[[models.variants]]
model = "x"

[prices]
x = { input = 1 }
'''


def changed(before: str, after: str) -> list[str]:
    """Lines that are new, and those that are gone."""
    lines = difflib.ndiff(before.splitlines(), after.splitlines())
    return [line for line in lines if line[0] in "+-" and line.strip() not in "+-"]


def test_a_weight_is_changed_in_its_line() -> None:
    file = Aliases(TEXT)
    file.set_variant(0, 0, "weight", 90)
    assert changed(TEXT, file.text()) == ["- weight = 100   # all of it", "+ weight = 90   # all of it"]


def test_a_variant_is_put_behind_the_others_of_its_alias_and_goes_without_a_trace() -> None:
    file = Aliases(TEXT)
    file.add_variant(0, {"name": "tuned", "model": 'a "b"', "weight": 10, "prune": ["x\ny"]})
    made = file.text()
    assert changed(TEXT, made) == [
        *("+ [[models.variants]]", '+ name = "tuned"', '+ model = "a \\"b\\""', "+ weight = 10"),
        '+ prune = ["x\\ny"]',
    ]
    assert made.index("all of it") < made.index("tuned") < made.index("# until we have trained")
    again = Aliases(made)
    again.remove_variant(0, 1)
    assert again.text() == TEXT


def test_an_upstream_is_put_behind_the_last_and_goes_without_a_trace() -> None:
    file = Aliases(TEXT)
    file.add_upstream({"name": "local", "base_url": "http://127.0.0.1:1/v1"})
    made = file.text()
    assert changed(TEXT, made) == ["+ [[upstreams]]", '+ name = "local"', '+ base_url = "http://127.0.0.1:1/v1"']
    assert made.index("local") < made.index("# Names that callers use.")
    again = Aliases(made)
    again.set_upstream("local", "base_url", "http://127.0.0.1:2/v1")
    assert "http://127.0.0.1:2/v1" in again.text()
    again.remove_upstream("local")
    assert again.text() == TEXT


@pytest.mark.parametrize("text", [TEXT, "", "# only words", "[server]\nport = 1"])
def test_an_alias_is_put_behind_the_last_or_at_the_end(text: str) -> None:
    file = Aliases(text)
    file.add_upstream({"name": "u", "base_url": "http://h/v1"})
    file.add_alias({"name": "new", "sticky": "none"}, [{"model": "a"}, {"model": "b", "weight": 3}])
    made = file.text()
    assert all(line[0] == "+" for line in changed(text, made))
    assert tomllib.loads(made)["models"][-1] == {
        "name": "new", "sticky": "none", "variants": [{"model": "a"}, {"model": "b", "weight": 3}],
    }  # fmt: skip
    assert Aliases(made).alias("new") == (2 if text == TEXT else 0)


@pytest.mark.parametrize(
    "text",
    [
        'models = [{ name = "bot", variants = [{ model = "x" }] }]\n',
        '[[models]]\nname = "bot"\nvariants = [{ model = "x" }]\n',
    ],
)
def test_a_layout_that_cannot_be_added_to_is_refused_and_weights_are_changed_all_the_same(text: str) -> None:
    file = Aliases(text)
    file.set_variant(0, 0, "weight", 5)
    assert tomllib.loads(file.text())["models"][0]["variants"] == [{"model": "x", "weight": 5}]
    file.add_variant(0, {"model": "y"})
    with pytest.raises(FinetuneError, match="cannot be changed safely"):
        file.text()


def test_the_ends_of_lines_stay_those_of_windows() -> None:
    text = TEXT.replace("\n", "\r\n")
    file = Aliases(text)
    file.set_variant(0, 0, "weight", 90)
    file.add_variant(0, {"name": "tuned", "model": "a", "weight": 10})
    file.add_upstream({"name": "local", "base_url": "http://127.0.0.1:1/v1"})
    made = file.text()
    assert made.count("\n") == made.count("\r\n") > text.count("\n")
    file.remove_variant(0, 1)
    file.remove_upstream("local")
    file.set_variant(0, 0, "weight", 100)
    assert file.text() == text


def test_what_is_no_toml_is_said() -> None:
    with pytest.raises(FinetuneError, match="not valid TOML"):
        Aliases("[")


NAMES = st.sampled_from(["a", "b", "c"])
LINES = st.lists(
    st.sampled_from(
        [
            '[[models]]\nname = "a"\n', '[[models.variants]]\nmodel = "m"\n', "# words\n", "\n", "weight = 1\n",
            '[[upstreams]]\nname = "u"\nbase_url = "h"\n', "[prices]\n", '[prices."m"]\n', "prune = [\n  'x',\n]\n",
            "prune = '''\n[[models]]\n'''\n",
        ]
    ),
    max_size=12,
)  # fmt: skip


@given(LINES, st.booleans())
def test_whatever_the_layout_the_file_says_what_was_meant_or_is_refused(pieces: list[str], upstream: bool) -> None:
    text = "".join(pieces)
    try:
        file = Aliases(text)
        if upstream:
            file.add_upstream({"name": "new", "base_url": "h"})
        if file.tables.get("models"):
            file.add_variant(0, {"model": "tuned", "weight": 1})
            file.set_variant(0, 0, "weight", 7)
        file.add_alias({"name": "new"}, [{"model": "x"}])
        made = tomllib.loads(file.text())
    except FinetuneError:
        return
    assert made == file.tables
    assert made["models"][-1] == {"name": "new", "variants": [{"model": "x"}]}
    if upstream:
        assert made["upstreams"][-1] == {"name": "new", "base_url": "h"}
