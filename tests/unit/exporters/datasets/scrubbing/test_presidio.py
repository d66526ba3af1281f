"""The engine that knows names: with the real Presidio and a small model made on the spot, where they are installed."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from exporters.datasets.errors import DatasetError
from exporters.datasets.example import Example
from exporters.datasets.options import Scrub
from exporters.datasets.scrubbing.scrub import Scrubber

installed = pytest.mark.skipif(
    importlib.util.find_spec("presidio_analyzer") is None, reason="presidio-analyzer (the extra pii) is not installed"
)


def test_without_presidio_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "presidio_analyzer", None)
    with pytest.raises(DatasetError, match=r"pip install 'penstock\[pii\]'"):
        Scrubber(Scrub(engine="presidio"))


@installed
def test_without_a_model_it_says_which_to_download() -> None:
    with pytest.raises(DatasetError, match="python -m spacy download en_core_web_lg"):
        Scrubber(Scrub(engine="presidio"))


@installed
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_names_and_places_are_replaced_with_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import spacy

    model = spacy.blank("en")
    names = [{"label": "PERSON", "pattern": "Jane Doe"}, {"label": "GPE", "pattern": "Berlin"}]
    model.add_pipe("entity_ruler").add_patterns(names)
    model.to_disk(tmp_path / "model")
    monkeypatch.setenv("PENSTOCK_SPACY_MODEL", str(tmp_path / "model"))
    arguments = '{"to": "Jane Doe", "at": [1, "in Berlin"]}'
    told = Example(
        request_id="r",
        timestamp_ns=1,
        messages=[
            {"role": "user", "content": "Jane Doe of Berlin, jane@example.com, on 12 March 2026, [PERSON_4]"},
            {"role": "assistant", "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": arguments}}]},
        ],
    )
    assert Scrubber(Scrub(engine="presidio")).scrub(told) == {"PERSON": 2, "LOCATION": 2, "EMAIL": 1}
    assert told.messages[0]["content"] == "[PERSON_5] of [LOCATION_1], [EMAIL_1], on 12 March 2026, [PERSON_4]"
    after = told.messages[1]["tool_calls"][0]["function"]["arguments"]
    assert after == '{"to": "[PERSON_5]", "at": [1, "in [LOCATION_1]"]}'
