"""Base and adapter as one model, which any server loads without knowing of adapters."""

from __future__ import annotations

import os
import shutil
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import FinetuneError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def merge(base: PreTrainedModel, adapter: Path, tokenizer: PreTrainedTokenizerBase, out: Path) -> None:
    """Save the sum of both with the tokenizer into the folder `out`, whole or not at all.

    `base` must be in full precision: weights in 4 bits cannot bear the sum, so that of a QLoRA run is loaded anew. It
    is used up. One that came from a GGUF is saved as the plain model that it was dequantised to. Raises
    `FinetuneError`.
    """
    from peft import PeftModel

    if getattr(base, "is_loaded_in_4bit", False) or getattr(base, "is_loaded_in_8bit", False):
        raise FinetuneError("A quantised base cannot take an adapter into itself: load it in full precision.")
    if out.exists():
        raise FinetuneError(f"{out} is there already. Remove it, to merge again.")
    try:
        with warnings.catch_warnings():
            # peft asks transformers by a name that has a new one.
            warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
            merged = PeftModel.from_pretrained(base, str(adapter)).merge_and_unload(safe_merge=True)
    except (ValueError, RuntimeError, OSError) as error:
        raise FinetuneError(f"{adapter} does not go with this base: {_first_line(error)}") from error
    if hasattr(merged.config, "quantization_config"):
        del merged.config.quantization_config
    merged.hf_quantizer = None  # else transformers wants to write a GGUF's own quantisation
    _save(merged, tokenizer, out)


def _save(merged: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, out: Path) -> None:
    aside = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        merged.save_pretrained(aside)
        tokenizer.save_pretrained(aside)
        aside.rename(out)
    except OSError as error:
        raise FinetuneError(f"{out} cannot be written: {error.strerror or _first_line(error)}.") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _first_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= 200 else f"{text[:200]}…"
