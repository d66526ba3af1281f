"""The card says what the manifest says, loads as a Hugging Face dataset, and cannot be broken by what callers named."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from exporters.datasets.describing.card import CARD, card
from exporters.datasets.describing.manifest import Manifest
from exporters.datasets.describing.recipe import command, in_words, warnings
from exporters.datasets.options import Arrange, Clean, Decontaminate, Deduplicate, Scrub, Select, Write
from exporters.datasets.reasons import SAYS, Reason

from ..made import made, options, row

ROWS = [row(number) for number in range(40)] + [
    row(40, "Hello?", ""),
    row(41, "How many?", "Two.", correction="Three."),
    row(42, "Write to ann@example.com", "To ann@example.com."),
]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Manifest]:
    return made(tmp_path_factory.mktemp("root"), ROWS)


def front_matter(text: str) -> dict[str, Any]:
    _, matter, _ = text.split("---\n", 2)
    found: dict[str, Any] = yaml.safe_load(matter)
    return found


def changed(manifest: Manifest, **fields: Any) -> Manifest:
    return msgspec.structs.replace(manifest, **fields)


def test_the_front_matter_names_the_files_of_each_split(dataset: tuple[Path, Manifest]) -> None:
    folder, manifest = dataset
    found = front_matter((folder / CARD).read_text())
    assert found["pretty_name"] == "plans"
    assert found["size_categories"] == ["n<1K"]
    default, preferences = found["configs"]
    assert {one["split"]: one["path"] for one in default["data_files"]} == {
        split: f"{split}.parquet" for split in manifest.splits
    }
    assert preferences["config_name"] == "preferences"
    assert [one["path"] for one in preferences["data_files"]] == ["preferences.train.parquet"]
    assert all((folder / one["path"]).is_file() for config in found["configs"] for one in config["data_files"])


def test_the_funnel_adds_up_to_what_the_manifest_says(dataset: tuple[Path, Manifest]) -> None:
    folder, manifest = dataset
    text = (folder / CARD).read_text()
    assert f"| selected | {manifest.selected:,} |" in text
    for name, count in manifest.dropped.items():
        assert f"| {SAYS[Reason[name.upper()]]} | −{count:,} |" in text
    assert f"| **written** | **{manifest.written:,}** |" in text


def test_the_pictures_are_those_that_were_drawn(dataset: tuple[Path, Manifest]) -> None:
    folder, _ = dataset
    text = (folder / CARD).read_text()
    drawn = {path.name for path in (folder / "plots").iterdir()}
    assert drawn == {"funnel.png", "tokens.png", "timeline.png"}
    assert all(f"](plots/{name})" in text for name in drawn)


def test_names_that_callers_chose_stay_within_their_quotes(dataset: tuple[Path, Manifest]) -> None:
    text = card(changed(dataset[1], prompts={"a`b\n# Heading | x": 1}))
    assert "# Heading" not in [line[:9] for line in text.splitlines()]
    assert "`a'b # Heading | x` 1" in text


def test_kinds_of_private_text_are_counted(dataset: tuple[Path, Manifest]) -> None:
    assert "| EMAIL | 2 |" in (dataset[0] / CARD).read_text()
    clean = card(changed(dataset[1], scrubbed={}))
    assert "none was found" in clean
    bare = changed(dataset[1], options=options(scrub=Scrub(enabled=False)))
    assert "**not** replaced" in card(bare)
    assert any("--no-scrub" in text for text in warnings(bare))


def test_the_command_is_there_to_be_copied() -> None:
    chosen = options(select=Select(where="model = 'a b'", models=("gpt-5*",)))
    words = shlex.split(command(chosen))
    assert words[:8] == ["penstock", "dataset", "build", "plans", "--where", "model = 'a b'", "--model", "gpt-5*"]


@pytest.mark.parametrize(
    ("chosen", "says"),
    [
        (options(select=Select(corrections="replace")), "the correction is the answer."),
        (options(deduplicate=Deduplicate(near=0.7)), "from a Jaccard similarity of 0.7"),
        (options(deduplicate=Deduplicate(exact=False, near=0, keep_prefixes=True)), "Duplicates are kept."),
        (options(decontaminate=Decontaminate(benchmarks=("mmlu",), files=("held.txt",))), "`mmlu`, `held.txt`"),
        (options(arrange=Arrange(by="time")), "The newest calls are test"),
        (options(write=Write(mask="last")), "Only the last answer"),
        (options(write=Write(prune=("a", "b"))), "2 static texts are cut"),
    ],
)
def test_what_was_asked_for_is_said_in_words(chosen: Any, says: str) -> None:
    assert any(says in text for text in in_words(chosen)), [*in_words(chosen)]


def test_what_is_odd_is_said_first(dataset: tuple[Path, Manifest]) -> None:
    assert warnings(dataset[1]) == []
    few = changed(dataset[1], splits={"train": dataset[1].splits["test"]}, selected=10_000, dropped={"prefix": 9_000})
    found = warnings(few)
    assert any("Fewer than 10" in text for text in found)
    assert any("No example is in validation" in text for text in found)
    assert any("beginning of a longer conversation" in text for text in found)
    assert card(few).index("> **Note:**") < card(few).index("## How it was made")


def test_languages_are_named_when_they_were_asked_for(dataset: tuple[Path, Manifest]) -> None:
    assert "language" not in front_matter(card(dataset[1]))
    asked = changed(dataset[1], options=options(clean=Clean(languages=("en", "de"))))
    assert front_matter(card(asked))["language"] == ["en", "de"]


def test_what_was_done_to_it_is_told(dataset: tuple[Path, Manifest]) -> None:
    told = card(changed(dataset[1], lineage=[{"action": "forget", "examples": 3, "left_out": 1}]))
    assert "- **forget**: examples 3, left out 1" in told


def test_what_a_format_could_not_say_is_said(dataset: tuple[Path, Manifest]) -> None:
    manifest = dataset[1]
    assert not [text for text in warnings(manifest) if "no way to say" in text]
    fewer = [
        msgspec.structs.replace(file, lines=file.lines - 2) if file.path == "train.sharegpt.jsonl" else file
        for file in manifest.files
    ]
    [told] = [text for text in warnings(changed(manifest, files=fewer)) if "no way to say" in text]
    assert f"sharegpt have {manifest.written - 2} of the {manifest.written} examples" in told
