"""The settings as they are documented, and as they are converted."""

from __future__ import annotations

import tomllib

import msgspec
import pytest

from proxy.setting_docs import as_markdown, describe
from proxy.settings import Settings


def test_every_setting_has_a_meaning_in_words() -> None:
    undocumented = [f"{one.section} {one.key}" for one in describe() if not one.doc]
    assert undocumented == []


def test_every_key_is_described_once_and_is_a_key() -> None:
    found = [(one.section, one.key) for one in describe()]
    assert len(found) == len(set(found))
    assert ("[server]", "port") in found
    assert ("[[upstreams]]", "base_url") in found
    assert ('[prices."MODEL"]', "tiers") in found


def test_documented_defaults_are_the_defaults() -> None:
    """Each default as it is printed, read back as TOML, is the one that no file gives."""
    required = {"[[upstreams]]": 'name = "a"\nbase_url = "b"\n'}
    required['[prices."MODEL"]'] = "input = 1.0\n"
    required |= {"[[models]]": 'name = "a"\n', "[[models.variants]]": 'model = "a"\n'}
    above = {"[[models.variants]]": '[[models]]\nname = "a"\n'}
    for one in describe():
        if one.default in ("", "required"):
            continue
        given, section = required.get(one.section, ""), above.get(one.section, "") + one.section
        default = one.default.partition(" (")[0]
        without = msgspec.convert(tomllib.loads(f"{section}\n{given}"), Settings)
        written = msgspec.convert(tomllib.loads(f"{section}\n{given}{one.key} = {default}"), Settings)
        assert written == without, one


def test_the_tables_of_the_readme() -> None:
    text = as_markdown()
    assert "| `port` | whole number from 0 to 65535 | `4100` | Where the API is served; 0 takes a free one. |" in text
    assert "| `name` | text | required |" in text
    assert "| `body_bytes_max` | whole number from 1 | `536870912 (512 MiB)` |" in text
    assert '| `batch` | `provider`, `local`, `none` | `"provider"` |' in text
    assert "After `load`" not in text
    assert text.count("|---|---|---|---|") == 15


def test_settings_do_not_change() -> None:
    with pytest.raises(AttributeError):
        Settings().server.port = 1  # type: ignore[misc]
