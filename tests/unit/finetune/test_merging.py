"""A merged model computes what base and adapter compute together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from finetune.errors import FinetuneError
from finetune.merging import merge
from finetune.training.bases import Base, find_base, load_model
from tests import tiny_gguf, tiny_llama

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    # peft asks transformers by a name that has a new one.
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),
]


def adapted(model: Any, folder: Path, **kwargs: Any) -> Any:
    import torch
    from peft import LoraConfig, get_peft_model

    made = get_peft_model(
        model, LoraConfig(**{"r": 4, "target_modules": "all-linear", "task_type": "CAUSAL_LM"} | kwargs)
    )
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(5)
        for name, weight in made.named_parameters():
            if "lora_" in name:
                weight.normal_(0, 0.3)
    made.save_pretrained(folder, save_embedding_layers=False)
    return made.eval()


def logits(model: Any) -> Any:
    import torch

    with torch.no_grad():
        return model(torch.tensor([[5, 77, 300, 12, 9]])).logits


def loaded(base: Base) -> Any:
    import torch

    return load_model(base, dtype=torch.float32, device="cpu").eval()


@pytest.mark.parametrize("kwargs", [{}, {"use_dora": True}, {"use_rslora": True}], ids=str)
def test_the_merged_model_computes_the_same(kwargs: dict[str, Any], tiny_base: Path, tmp_path: Path) -> None:
    base = find_base(str(tiny_base))
    before = logits(loaded(base))
    wanted = logits(adapted(loaded(base), tmp_path / "adapter", **kwargs))
    assert (wanted - before).abs().max() > 0.5
    merge(loaded(base), tmp_path / "adapter", tiny_llama.tokenizer(), tmp_path / "merged")
    merged = find_base(str(tmp_path / "merged"))
    assert (logits(loaded(merged)) - wanted).abs().max() < 1e-4
    assert sorted(path.name for path in tmp_path.iterdir()) == ["adapter", "merged"]


def test_a_base_that_is_a_gguf_becomes_a_plain_model(tmp_path: Path) -> None:
    path = tiny_gguf.write(tiny_llama.model().float(), tiny_llama.tokenizer(), tmp_path / "base.gguf")
    base = find_base(str(path))
    from transformers import AutoModelForCausalLM, AutoTokenizer

    def as_transformers_has_it() -> Any:
        return AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file="base.gguf").eval()

    wanted = logits(adapted(loaded(base), tmp_path / "adapter"))
    merge(as_transformers_has_it(), tmp_path / "adapter", tiny_llama.tokenizer(), tmp_path / "merged")
    assert (logits(AutoModelForCausalLM.from_pretrained(tmp_path / "merged")) - wanted).abs().max() < 1e-4
    assert AutoTokenizer.from_pretrained(tmp_path / "merged").chat_template == tiny_llama.PLAIN


def test_weights_in_4_bits_take_nothing_in(tiny_base: Path, tmp_path: Path) -> None:
    model = tiny_llama.model()
    model.is_loaded_in_4bit = True
    with pytest.raises(FinetuneError, match="full precision"):
        merge(model, tmp_path / "adapter", tiny_llama.tokenizer(), tmp_path / "merged")


def test_what_does_not_go_together_is_said_in_a_line(tiny_base: Path, tmp_path: Path) -> None:
    adapted(tiny_llama.model(), tmp_path / "adapter")
    from transformers import LlamaConfig, LlamaForCausalLM

    other = LlamaForCausalLM(
        LlamaConfig(vocab_size=384, hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2)
    )
    with pytest.raises(FinetuneError, match="does not go with this base") as raised:
        merge(other, tmp_path / "adapter", tiny_llama.tokenizer(), tmp_path / "merged")
    assert "\n" not in str(raised.value)
    with pytest.raises(FinetuneError, match="does not go with this base"):
        merge(tiny_llama.model(), tmp_path / "nowhere", tiny_llama.tokenizer(), tmp_path / "merged")
    (tmp_path / "merged").mkdir()
    with pytest.raises(FinetuneError, match="is there already"):
        merge(tiny_llama.model(), tmp_path / "adapter", tiny_llama.tokenizer(), tmp_path / "merged")
