"""An adapter in llama.cpp computes what it computes in peft: the same probabilities of the next token."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from finetune.errors import FinetuneError
from finetune.gguf_adapter import refusal, write_gguf_adapter
from tests import tiny_gguf, tiny_llama

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    # peft asks transformers by a name that has a new one.
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),
]

PROMPT = "how do I reset my password?"
LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
SIZES: dict[str, Any] = {
    "vocab_size": 384,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "tie_word_embeddings": True,
    "eos_token_id": 2,
    "pad_token_id": 0,
    "bos_token_id": None,
}
CLOSE = 0.05
"""Of log probabilities: llama.cpp rounds otherwise in attention. What the adapters change is 10 to 100 times more."""
MORE: dict[str, dict[str, Any]] = {
    "qwen3": {"head_dim": 32},
    "gemma": {"head_dim": 16},
    "gemma2": {"head_dim": 16, "query_pre_attn_scalar": 16},
    "gemma3_text": {"head_dim": 16, "query_pre_attn_scalar": 16},
    "mistral": {"sliding_window": None},
}


def random_model(kind: str) -> Any:
    """Weights large enough that logits differ, the same each time."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model(kind, **SIZES | MORE.get(kind, {}))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        model = AutoModelForCausalLM.from_config(config, attn_implementation="eager")
        with torch.no_grad():
            for name, weight in model.named_parameters():
                weight.normal_(0, 0.2)
                if name.endswith("norm.weight") and not kind.startswith("gemma"):
                    weight += 1
    return model.eval()


def tuned(model: Any, folder: Path, **kwargs: Any) -> Any:
    """The model with an adapter whose every weight counts, saved into `folder`."""
    import torch
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(**{"r": 4, "lora_alpha": 8, "target_modules": LINEAR, "task_type": "CAUSAL_LM"} | kwargs)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(11)
        made = get_peft_model(model, config)
        with torch.no_grad():
            for name, weight in made.named_parameters():
                if "lora_" in name:
                    weight.normal_(0, 0.3)
    made.save_pretrained(folder)
    return made.eval()


def by_torch(model: Any, tokens: list[int]) -> list[float]:
    import torch

    with torch.no_grad():
        logits = model(torch.tensor([tokens])).logits[0, -1]
    return [float(one) for one in torch.log_softmax(logits.float(), -1)]


def by_llama_cpp(base: Path, tokens: list[int], adapter: Path | None = None) -> list[float]:
    """Log probabilities of all tokens that may come next."""
    import xllamacpp

    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(base)
    parameters.n_ctx = 256
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = 0
    parameters.verbosity = 0
    parameters.warmup = False
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = 1
    parameters.cache_type_k = parameters.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    if adapter is not None:
        lora = xllamacpp.CommonAdapterLoraInfo()
        lora.path, lora.scale = str(adapter), 1.0
        parameters.lora_adapters = [lora]
    server = xllamacpp.Server(parameters)
    # A reply without text, which the end or half of a character is, comes without probabilities; those of a reply are
    # the model's, whatever the grammar says.
    asked = {"prompt": tokens, "max_tokens": 1, "logprobs": SIZES["vocab_size"], "grammar": "root ::= [a-z]+"}
    reply = server.handle_completions(asked)
    del server
    chances = reply["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
    found = {one["id"]: one["logprob"] for one in chances}
    return [found[number] for number in range(SIZES["vocab_size"])]


def far(one: list[float], other: list[float]) -> float:
    return max(abs(a - b) for a, b in zip(one, other, strict=True))


@pytest.fixture(scope="session")
def tokenizer() -> Any:
    return tiny_llama.tokenizer()


@pytest.mark.parametrize("kind", ["llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text"])
def test_llama_cpp_computes_what_peft_computes(kind: str, tokenizer: Any, tmp_path: Path) -> None:
    model = random_model(kind)
    tokens = tokenizer(PROMPT)["input_ids"]
    base = tiny_gguf.write(model, tokenizer, tmp_path / "base.gguf")
    before = by_torch(model, tokens)
    assert far(before, by_llama_cpp(base, tokens)) < CLOSE, "the bases differ already"

    after = by_torch(tuned(model, tmp_path / "adapter"), tokens)
    write_gguf_adapter(tmp_path / "adapter", model.config.to_dict(), tmp_path / "adapter.gguf")
    assert far(before, after) > 4, "an adapter that does nothing shows nothing"
    assert far(after, by_llama_cpp(base, tokens, tmp_path / "adapter.gguf")) < CLOSE


@pytest.mark.parametrize(
    "kwargs",
    [
        {"use_rslora": True, "lora_alpha": 3},
        {"r": 3, "lora_alpha": 7},
        {"target_modules": ["q_proj"]},
        {"target_modules": ["k_proj"], "layers_to_transform": [1]},
        {"rank_pattern": {"q_proj": 2, "layers.1.mlp.up_proj": 7}, "alpha_pattern": {"k_proj": 24, "down_proj": 1}},
    ],
    ids=str,
)
def test_the_product_is_scaled_as_in_training(kwargs: dict[str, Any], tokenizer: Any, tmp_path: Path) -> None:
    model = random_model("llama")
    tokens = tokenizer(PROMPT)["input_ids"]
    base = tiny_gguf.write(model, tokenizer, tmp_path / "base.gguf")
    before = by_torch(model, tokens)
    after = by_torch(tuned(model, tmp_path / "adapter", **kwargs), tokens)
    write_gguf_adapter(tmp_path / "adapter", model.config.to_dict(), tmp_path / "adapter.gguf")
    assert far(before, after) > 0.3
    assert far(after, by_llama_cpp(base, tokens, tmp_path / "adapter.gguf")) < CLOSE


def test_the_base_may_be_told_in_four_ways(tokenizer: Any, tmp_path: Path) -> None:
    model = random_model("qwen3")
    base = tiny_gguf.write(model, tokenizer, tmp_path / "base.gguf")
    model.save_pretrained(tmp_path / "base")
    tuned(model, tmp_path / "adapter")
    made = []
    for told in (model.config.to_dict(), tmp_path / "base", tmp_path / "base" / "config.json", base):
        write_gguf_adapter(tmp_path / "adapter", told, tmp_path / "adapter.gguf")
        made.append((tmp_path / "adapter.gguf").read_bytes())
    assert len(set(made)) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["adapter", "adapter.gguf", "base", "base.gguf"]


@pytest.mark.filterwarnings("ignore")  # of peft, about what is asked for here
@pytest.mark.parametrize(
    ("kwargs", "says"),
    [
        ({"use_dora": True}, "DoRA"),
        ({"modules_to_save": ["norm"]}, "trained whole"),
        ({"trainable_token_indices": [1, 2]}, "trained tokens"),
        ({"lora_bias": True, "target_modules": ["q_proj"]}, "biases of its own"),
        ({"bias": "all"}, "trained biases"),
        ({"target_modules": ["q_proj", "embed_tokens"], "ensure_weight_tying": True}, "no adapters of lm_head"),
    ],
    ids=str,
)
def test_what_llama_cpp_cannot_compute_is_refused_in_a_line(kwargs: dict[str, Any], says: str, tmp_path: Path) -> None:
    model = random_model("qwen2")
    tuned(model, tmp_path / "adapter", **kwargs)
    with pytest.raises(FinetuneError, match=says) as raised:
        write_gguf_adapter(tmp_path / "adapter", model.config.to_dict(), tmp_path / "adapter.gguf")
    assert "--engine transformers" in str(raised.value)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "adapter.gguf").exists()


def test_other_architectures_and_folders_are_refused_in_a_line(tmp_path: Path) -> None:
    tuned(random_model("llama"), tmp_path / "adapter")
    out = tmp_path / "adapter.gguf"
    with pytest.raises(FinetuneError, match="Adapters of gpt2 are not written"):
        write_gguf_adapter(tmp_path / "adapter", {"model_type": "gpt2"}, out)
    with pytest.raises(FinetuneError, match="how many layers"):
        write_gguf_adapter(tmp_path / "adapter", {"model_type": "llama"}, out)
    with pytest.raises(FinetuneError, match="no adapter"):
        refusal(tmp_path)
    with pytest.raises(FinetuneError, match="what the base is"):
        write_gguf_adapter(tmp_path / "adapter", tmp_path / "nowhere", out)
    (tmp_path / "adapter" / "adapter_model.safetensors").write_bytes(b"cut")
    with pytest.raises(FinetuneError, match="can be read"):
        write_gguf_adapter(tmp_path / "adapter", SIZES | {"model_type": "llama"}, out)
    assert not out.exists()
