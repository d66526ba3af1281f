"""A language model that is built on the spot: a random Llama of two layers, with a tokenizer and a chat template.

    folder = build(tmp_path / "base")           # as transformers saves one
    folder = build(tmp_path / "base", template=MARKED)

It knows nothing and learns fast: a step of training takes some milliseconds.
"""

from __future__ import annotations

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
