"""A language model that is built on the spot: a random Llama of two layers, with a tokenizer and a chat template.

    folder = build(tmp_path / "base")           # as transformers saves one
    folder = build(tmp_path / "base", template=MARKED)

It knows nothing and learns fast: a step of training takes some milliseconds.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

PLAIN = (
    "{% if tools %}<|im_start|>system\nTools: {{ tools | tojson }}<|im_end|>\n{% endif %}"
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message.role + '\n' }}"
    "{% if message.content %}{{ message.content }}{% endif %}"
    "{% for call in message.tool_calls or [] %}"
    "{{ '<call>' + call.function.name + ' ' + (call.function.arguments | tojson) + '</call>' }}"
    "{% endfor %}"
    "{{ '<|im_end|>\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
"""ChatML with tools, without the marks that say which part a model generates."""

MARKED = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message.role + '\n' }}"
    "{% if message.role == 'assistant' %}{% generation %}"
    "{% if message.content %}{{ message.content }}{% endif %}"
    "{% for call in message.tool_calls or [] %}"
    "{{ '<call>' + call.function.name + ' ' + (call.function.arguments | tojson) + '</call>' }}"
    "{% endfor %}"
    "{{ '<|im_end|>' }}{% endgeneration %}{{ '\n' }}"
    "{% else %}{{ message.content + '<|im_end|>\n' }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
"""The same, with them."""

UNSTABLE = (
    "{{ 'Turns: ' + (messages | length | string) + '\n' }}"
    "{% for message in messages %}{{ '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>\n' }}"
    "{% endfor %}"
)
"""Without marks, and what stands first depends on what comes later: no answer can be found in it."""

_TEXT = (
    "the order was sent on monday and will be with you by friday, thank you for your patience",
    "how do I reset my password? open settings, choose account, and press reset",
    "my parcel is broken, can I have my money back? of course, we are sorry for that",
    '<call>find_order {"number": 17}</call> system user assistant tool',
)


def tokenizer(template: str = PLAIN) -> Any:
    """A byte-level BPE of 384 tokens that any text can be said in."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.train_from_iterator(
        _TEXT,
        trainers.BpeTrainer(
            vocab_size=384,
            special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    made = PreTrainedTokenizerFast(
        tokenizer_object=backend, eos_token="<|im_end|>", pad_token="<|endoftext|>", model_max_length=512
    )
    made.chat_template = template or None
    return made


def model(seed: int = 0) -> Any:
    """Random weights, the same for the same seed."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(
            LlamaConfig(
                vocab_size=384,
                hidden_size=64,
                intermediate_size=128,
                num_hidden_layers=2,
                num_attention_heads=4,
                num_key_value_heads=2,
                max_position_embeddings=512,
                tie_word_embeddings=True,
                eos_token_id=2,
                pad_token_id=0,
                bos_token_id=None,
            )
        )


def build(folder: Path, *, template: str = PLAIN, seed: int = 0) -> Path:
    """Save one into `folder`, and give that back. An empty template leaves it out."""
    model(seed).save_pretrained(folder)
    tokenizer(template).save_pretrained(folder)
    return folder


def build_gguf(file: Path, *, template: str = PLAIN, seed: int = 0) -> Path:
    """The same model as a GGUF, as llama.cpp's converter writes it. Gives the file back."""
    import gguf
    import numpy as np

    made, words = model(seed), tokenizer(template)
    config, kinds = made.config, gguf.TokenType
    backend = words.backend_tokenizer
    ids = sorted(words.get_vocab().items(), key=lambda item: item[1])
    writer = gguf.GGUFWriter(str(file), "llama")
    writer.add_name("tiny")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_dimension_count(config.hidden_size // config.num_attention_heads)
    writer.add_vocab_size(config.vocab_size)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list([token for token, _ in ids])
    writer.add_token_types([kinds.CONTROL if token.startswith("<|") else kinds.NORMAL for token, _ in ids])
    writer.add_token_merges([" ".join(merge) for merge in _merges(backend)])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(0)
    writer.add_add_bos_token(False)
    if template:
        writer.add_chat_template(template)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    for name, tensor in made.state_dict().items():
        if name == "lm_head.weight":  # tied
            continue
        data = tensor.numpy().astype(np.float32)
        heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}.get(name.split(".")[-2])
        if heads:  # llama.cpp turns neighbours, transformers halves
            data = data.reshape(heads, 2, data.shape[0] // heads // 2, -1).swapaxes(1, 2).reshape(data.shape)
        writer.add_tensor(names.get_name(name, try_suffixes=(".weight",)), np.ascontiguousarray(data))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def _merges(backend: Any) -> list[list[str]]:
    merges: list[list[str]] = json.loads(backend.to_str())["model"]["merges"]
    return merges
