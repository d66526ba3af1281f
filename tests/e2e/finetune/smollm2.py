"""SmolLM2-135M with its weights dequantised, for llama.cpp and for PyTorch, and an adapter that changes it much.

transformers reads the same GGUF in a minute; this takes seconds.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from tests.e2e.model import weights

LAYERS, HEADS, KEY_HEADS = 30, 9, 3


def read() -> tuple[Any, dict[str, Any]]:
    """The reader, and every tensor in F32 under its GGUF name."""
    import gguf

    reader = gguf.GGUFReader(weights())
    return reader, {one.name: gguf.dequantize(one.data, one.tensor_type).astype(np.float32) for one in reader.tensors}


def write_dequantised(reader: Any, tensors: dict[str, Any], path: Path) -> Path:
    """The same GGUF with nothing quantised."""
    import gguf

    writer = gguf.GGUFWriter(path, "llama")
    for name, field in reader.fields.items():
        if name.startswith("GGUF.") or name in ("general.architecture", "general.file_type"):
            continue
        kind = field.types[0]
        writer.add_key_value(
            name, field.contents(), kind, field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None
        )
    for name, values in tensors.items():
        writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def in_torch(tensors: dict[str, Any]) -> Any:
    """The same weights as transformers' model."""
    import gguf
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=49152, hidden_size=576, intermediate_size=1536, num_hidden_layers=LAYERS, num_attention_heads=HEADS,
        num_key_value_heads=KEY_HEADS, max_position_embeddings=8192, rms_norm_eps=1e-5, tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 100000.0}, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, LAYERS)
    with torch.device("meta"):
        model = LlamaForCausalLM(config)
    found = {}
    for name in model.state_dict():
        if name == "lm_head.weight":
            continue
        values = tensors[names.get_name(name, try_suffixes=(".weight",))]
        if name.endswith(("q_proj.weight", "k_proj.weight")):  # the other way round than `interleaved`
            heads = HEADS if "q_proj" in name else KEY_HEADS
            size = values.shape[0] // heads
            values = values.reshape(heads, size // 2, 2, -1).swapaxes(1, 2).reshape(values.shape)
        found[name] = torch.from_numpy(np.ascontiguousarray(values))
    model.load_state_dict(found, strict=False, assign=True)
    model.tie_weights()
    model.model.rotary_emb = type(model.model.rotary_emb)(config)
    return model.eval()


def adapted(model: Any, folder: Path) -> Any:
    """With an adapter on every linear layer, whose weights are the same each time."""
    import torch
    from peft import LoraConfig, get_peft_model

    made = get_peft_model(model, LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM"))
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(3)
        for name, weight in made.named_parameters():
            if "lora_" in name:
                weight.normal_(0, 0.07)
    made.save_pretrained(folder, save_embedding_layers=False)
    assert json.loads((folder / "adapter_config.json").read_text())["r"] == 8
    return made.eval()
