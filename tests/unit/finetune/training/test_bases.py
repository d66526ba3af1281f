"""Where training begins: each kind of base, and each thing that can be missing of one, said in a line."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from finetune.errors import FinetuneError
from finetune.training.bases import find_base, load_model, load_tokenizer
from tests import tiny_llama


@pytest.fixture
def base(tiny_base: Path, tmp_path: Path) -> Path:
    """One that may be broken."""
    return Path(shutil.copytree(tiny_base, tmp_path / "base"))


def loaded(source: str, template: str) -> None:
    import torch

    found = find_base(source)
    load_tokenizer(found, template)
    load_model(found, dtype=torch.float32, device="cpu")


def refused(source: str | Path, template: str = "") -> str:
    with pytest.raises(FinetuneError) as caught:
        loaded(str(source), template)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_folder_is_found_by_its_absolute_path(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(base.parent)
    found = find_base("base")
    assert (found.kind, found.source, found.path) == ("folder", str(base), base)


def test_a_gguf_is_the_same_model(tmp_path: Path, tiny_base: Path, one_thread: None) -> None:
    import torch

    file = tiny_llama.build_gguf(tmp_path / "tiny.gguf")
    found = find_base(str(tmp_path))  # a folder with nothing but one
    assert (found.kind, found.path) == ("gguf", file)
    plain = find_base(str(tiny_base))
    text = "Where is my parcel? 🦜"
    ids = load_tokenizer(plain)(text, return_tensors="pt").input_ids
    tokenizer = load_tokenizer(found)
    assert tokenizer(text, add_special_tokens=False, return_tensors="pt").input_ids.tolist() == ids.tolist()
    assert tokenizer.chat_template == tiny_llama.PLAIN
    with torch.inference_mode():
        one, other = (load_model(b, dtype=torch.float32, device="cpu")(ids).logits for b in (plain, found))
    assert torch.allclose(one, other, atol=1e-4)


@pytest.mark.parametrize(
    ("missing", "said"),
    [("config.json", "no config.json"), ("model.safetensors", "no weights"), ("tokenizer*.json", "no tokenizer")],
)
def test_what_is_missing_of_a_folder_is_named(base: Path, missing: str, said: str) -> None:
    for path in base.glob(missing):
        path.unlink()
    assert said in refused(base)


def test_a_base_that_is_nowhere_is_said() -> None:
    assert "There is no folder and no file" in refused("./nowhere")
    assert "There is no home for ~nobody.at.all/base" in refused("~nobody.at.all/base")


def test_a_base_without_a_chat_template_says_how_to_give_one(tmp_path: Path) -> None:
    tiny_llama.build(tmp_path / "base", template="")
    assert "--chat-template FILE" in refused(tmp_path / "base")
    (tmp_path / "chat.jinja").write_text(tiny_llama.MARKED)
    given = load_tokenizer(find_base(str(tmp_path / "base")), str(tmp_path / "chat.jinja"))
    assert given.chat_template == tiny_llama.MARKED
    assert "nothing.jinja cannot be read" in refused(tmp_path / "base", str(tmp_path / "nothing.jinja"))


def test_an_architecture_that_is_not_known_is_said(base: Path) -> None:
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps({**config, "model_type": "perceptron9000"}))
    assert "perceptron9000" in refused(base)


def test_weights_that_are_cut_off_are_said(base: Path) -> None:
    weights = base / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    assert re.search(r"cannot be trained: ", refused(base))


def test_a_file_that_is_no_gguf_and_one_that_is_cut_off_are_said(tmp_path: Path) -> None:
    (tmp_path / "x.gguf").write_bytes(b"PK\x03\x04 something else")
    assert "is no GGUF" in refused(tmp_path / "x.gguf")
    whole = tiny_llama.build_gguf(tmp_path / "y.gguf").read_bytes()
    (tmp_path / "x.gguf").write_bytes(whole[: len(whole) // 2])
    assert "cannot be read" in refused(tmp_path / "x.gguf")


def test_a_name_on_the_hub_without_a_network_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # nobody listens there
    assert "the hub cannot be reached" in refused("nobody/nothing-at-all")
