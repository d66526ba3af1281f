"""A tiny model of transformers as a GGUF with full precision, so that llama.cpp computes the same as PyTorch.

path = write(model, tokenizer, tmp_path / "base.gguf")
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from finetune.gguf_adapter import ARCHITECTURES, interleaved

ONE_MORE = ("gemma", "gemma2", "gemma3")
"""Their norms multiply by one more than the weight, which GGUF has whole."""
SCALES = ("qwen3", "gemma3")
"""Heads of these have a size of their own."""


def write(model: Any, tokenizer: Any, path: Path) -> Path:
    """Every weight in F32 under GGUF's names, with the tokenizer and its template."""
    import gguf

    config = model.config
    architecture = ARCHITECTURES[config.model_type]
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_key_length(model.model.layers[0].self_attn.head_dim)
    writer.add_value_length(model.model.layers[0].self_attn.head_dim)
    rope = getattr(config, "rope_parameters", None) or {}
    if "rope_theta" in rope:
        writer.add_rope_freq_base(rope["rope_theta"])
    if architecture == "gemma2":
        writer.add_attn_logit_softcapping(config.attn_logit_softcapping)
        writer.add_final_logit_softcapping(config.final_logit_softcapping)
    if architecture in ("gemma2", "gemma3"):
        writer.add_sliding_window(config.sliding_window)
    _vocabulary(writer, tokenizer)
    _weights(writer, model, architecture)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _vocabulary(writer: Any, tokenizer: Any) -> None:
    import json

    import gguf

    told = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    ids = {number: text for text, number in tokenizer.get_vocab().items()}
    special = set(tokenizer.all_special_ids) | set(tokenizer.added_tokens_decoder)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list([ids[number] for number in range(len(ids))])
    writer.add_token_types(
        [gguf.TokenType.CONTROL if number in special else gguf.TokenType.NORMAL for number in range(len(ids))]
    )
    writer.add_token_merges([" ".join(pair) if isinstance(pair, list) else pair for pair in told["merges"]])
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_add_bos_token(False)
    writer.add_chat_template(tokenizer.chat_template)


def _weights(writer: Any, model: Any, architecture: str) -> None:
    import gguf

    config = model.config
    kind = next(one for one, name in gguf.MODEL_ARCH_NAMES.items() if name == architecture)
    names = gguf.get_tensor_name_map(kind, config.num_hidden_layers)
    for key, tensor in model.state_dict().items():
        if key == "lm_head.weight" and config.tie_word_embeddings:
            continue
        values = tensor.detach().float().numpy()
        if architecture == "llama" and key.endswith(("q_proj.weight", "k_proj.weight")):
            heads = config.num_attention_heads if "q_proj" in key else config.num_key_value_heads
            values = interleaved(values, heads)
        if architecture in ONE_MORE and key.endswith("norm.weight"):
            values = values + 1
        name = names.get_name(key, try_suffixes=(".weight", ".bias"))
        assert name is not None, key
        writer.add_tensor(name, np.ascontiguousarray(values))
