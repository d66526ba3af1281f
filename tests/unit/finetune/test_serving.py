"""What serves a run, what is made for it, and what is said to whoever wants to ask it."""

from __future__ import annotations

import os
import threading
import tomllib
from pathlib import Path
from typing import Any

import pytest

from finetune.errors import FinetuneError
from finetune.run import Run, RunFile, Trained
from finetune.serving import Offer, engine_of, prepare, serve, untuned, vllm_command
from tests import tiny_gguf, tiny_llama

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    # peft asks transformers by a name that has a new one.
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),
]


def trained(root: Path, base: Path | str, *, method: Any = "lora", adapter: bool = True, **lora: Any) -> Run:
    """A finished run whose adapter is real."""
    run = Run.create(
        root,
        RunFile(
            name="support-v1-lora",
            method=method,
            state="finished",
            dataset=Trained(name="support-v1", folder="/nowhere", sha256=""),
            base=str(base),
            arguments={"rank": 4},
            dtype="float32",
        ),
    )
    if adapter:
        from peft import LoraConfig, get_peft_model

        config = LoraConfig(**{"r": 4, "target_modules": ["q_proj"], "task_type": "CAUSAL_LM"} | lora)
        get_peft_model(tiny_llama.model(), config).save_pretrained(run.adapter, save_embedding_layers=False)
        tiny_llama.tokenizer().save_pretrained(run.adapter)
    return run


@pytest.fixture
def gguf(tmp_path: Path) -> Path:
    return tiny_gguf.write(tiny_llama.model(), tiny_llama.tokenizer(), tmp_path / "base.gguf")


def test_a_gguf_is_served_by_llama_cpp_and_a_folder_by_transformers(
    tiny_base: Path, gguf: Path, tmp_path: Path
) -> None:
    assert engine_of(trained(tmp_path / "one", gguf)) == "llama.cpp"
    run = trained(tmp_path / "other", tiny_base)
    assert engine_of(run) == "transformers"
    assert engine_of(run, "vllm") == "vllm"
    with pytest.raises(FinetuneError, match="needs a GGUF"):
        engine_of(run, "llama.cpp")


def test_an_adapter_that_llama_cpp_cannot_load_is_served_merged(gguf: Path, tmp_path: Path) -> None:
    run = trained(tmp_path / "runs", gguf, use_dora=True)
    assert engine_of(run) == "transformers"
    with pytest.raises(FinetuneError, match="DoRA"):
        engine_of(run, "llama.cpp")


def test_what_cannot_be_served_is_said_in_a_line(tiny_base: Path, tmp_path: Path) -> None:
    run = trained(tmp_path / "one", tiny_base, adapter=False)
    run.file.state = "interrupted"
    with pytest.raises(FinetuneError, match=r"is interrupted and has no adapter yet.*--resume"):
        engine_of(run)
    hosted = trained(tmp_path / "two", "gpt-4.1", method="hosted", adapter=False)
    hosted.file.model = "ft:gpt-4.1:acme"
    with pytest.raises(FinetuneError, match=r"ask there for ft:gpt-4\.1:acme"):
        engine_of(hosted)
    gone = trained(tmp_path / "three", tmp_path / "gone")
    with pytest.raises(FinetuneError, match=r"is gone from .*gone"):
        prepare(gone, "transformers")
    with pytest.raises(FinetuneError, match="prints the command"):
        serve(gone, host="127.0.0.1", port=0, stop=threading.Event(), ready=lambda _: None, engine="vllm")


def test_what_an_engine_needs_is_made_once_for_each_adapter(gguf: Path, tmp_path: Path) -> None:
    run = trained(tmp_path / "runs", gguf)
    assert prepare(run, "llama.cpp") == run.gguf_adapter
    made = run.gguf_adapter.stat().st_ino
    prepare(run, "llama.cpp")
    assert run.gguf_adapter.stat().st_ino == made
    later = run.gguf_adapter.stat().st_mtime_ns + 1_000_000_000
    os.utime(run.adapter / "adapter_model.safetensors", ns=(later, later))
    prepare(run, "llama.cpp")
    assert run.gguf_adapter.stat().st_ino != made


def test_what_is_there_is_served_from_a_folder_that_cannot_be_written_to(gguf: Path, tmp_path: Path) -> None:
    run = trained(tmp_path / "runs", gguf)
    made = prepare(run, "llama.cpp")
    (run.folder / ".lock").unlink()
    (run.folder / ".lock").mkdir()  # nobody can hold it
    assert prepare(run, "llama.cpp") == made


def test_base_and_adapter_are_merged_with_the_tokenizer_of_the_run(tiny_base: Path, tmp_path: Path) -> None:
    run = trained(tmp_path / "runs", tiny_base)
    assert prepare(run, "transformers") == run.merged
    mark = run.merged / "mark"
    mark.touch()
    prepare(run, "transformers")
    assert mark.exists()
    assert {"model.safetensors", "tokenizer.json", "chat_template.jinja"} <= {one.name for one in run.merged.iterdir()}
    later = max(one.stat().st_mtime_ns for one in run.merged.iterdir()) + 1_000_000_000
    os.utime(run.adapter / "adapter_model.safetensors", ns=(later, later))
    prepare(run, "transformers")
    assert not mark.exists()


def test_a_run_that_somebody_works_on_is_left_alone(tiny_base: Path, tmp_path: Path) -> None:
    run = trained(tmp_path / "runs", tiny_base)
    with run.held(), pytest.raises(FinetuneError, match="Another process"):
        prepare(run, "transformers")


def test_vllm_gets_base_and_adapter_or_what_was_merged(tiny_base: Path, gguf: Path, tmp_path: Path) -> None:
    run = trained(tmp_path / "one", tiny_base)
    assert vllm_command(run, host="127.0.0.1", port=8000, name="my bot") == (
        f"vllm serve {tiny_base} --enable-lora --max-lora-rank 8 --lora-modules 'my bot={run.adapter}' "
        "--host 127.0.0.1 --port 8000"
    )
    for merged in (trained(tmp_path / "two", gguf), trained(tmp_path / "three", tiny_base, use_dora=True)):
        assert vllm_command(merged, host="127.0.0.1", port=8000) == (
            f"vllm serve {merged.merged} --served-model-name support-v1-lora --host 127.0.0.1 --port 8000"
        )
        assert (merged.merged / "config.json").is_file()


def test_what_is_to_be_pasted_is_what_penstock_reads() -> None:
    offer = Offer("llama.cpp", "http://127.0.0.1:8000/v1", 'it\'s "v1"')
    (upstream,) = tomllib.loads(offer.upstream())["upstreams"]
    assert upstream == {
        "name": 'it\'s "v1"',
        "base_url": "http://127.0.0.1:8000/v1",
        "models": ['it\'s "v1"'],
        "batch": "none",
    }
    import json
    import shlex

    words = shlex.split(offer.curl())
    assert words[1] == "http://127.0.0.1:8000/v1/chat/completions"
    assert json.loads(words[-1])["model"] == 'it\'s "v1"'


def test_the_base_alone_is_served_by_what_can_load_it(tiny_base: Path, gguf: Path, tmp_path: Path) -> None:
    """Also where the adapter needs another engine."""
    assert untuned(trained(tmp_path / "one", gguf, use_dora=True)) == ("llama.cpp", gguf)
    run = trained(tmp_path / "other", tiny_base)
    assert untuned(run) == ("transformers", tiny_base)
    with pytest.raises(FinetuneError, match="needs a GGUF"):
        untuned(run, "llama.cpp")
    with pytest.raises(FinetuneError, match=r"is a GGUF, which llama\.cpp serves"):
        untuned(trained(tmp_path / "third", gguf), "transformers")
    with pytest.raises(FinetuneError, match="is on the hub"):
        untuned(trained(tmp_path / "hub", "nobody/nothing"))
