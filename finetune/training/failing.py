"""What libraries raise when a run cannot go on, in one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import FinetuneError
from .options import LoraOptions


class Exhausted(FinetuneError):
    """There was not enough memory. The same run may go on with smaller batches."""


@contextmanager
def one_line(options: LoraOptions) -> Iterator[None]:
    """Raises `FinetuneError` in place of what PyTorch raises without memory, of a full or failing disk, and of what
    Weights & Biases raises without a network or with a wrong key."""
    from safetensors import SafetensorError

    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if _lacks_room(error):
            raise FinetuneError(
                "A checkpoint cannot be written: the disk is full or fails. The last whole one is kept."
            ) from error
        if not lacks_memory(error):
            raise
        raise Exhausted(_try(options)) from error
    except SafetensorError as error:
        raise FinetuneError(f"Weights cannot be written or read: {' '.join(str(error).split())}.") from error
    except OSError as error:
        what = f"{error.filename or 'A file'} cannot be written or read"
        raise FinetuneError(f"{what}: {error.strerror or error}.") from error
    except Exception as error:
        if type(error).__module__.partition(".")[0] != "wandb":
            raise
        said = str(error).strip().partition("\n")[0].rstrip(".")
        raise FinetuneError(f"Weights & Biases: {said}. With WANDB_MODE=offline it is written here only.") from error


def lacks_memory(error: BaseException) -> bool:
    """PyTorch's allocator for CPUs has no error of its own: it is known by its words."""
    import torch

    said = str(error).lower()
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or (
        isinstance(error, RuntimeError)
        and any(text in said for text in ("not enough memory", "out of memory", "can't allocate memory"))
    )


def _lacks_room(error: BaseException) -> bool:
    """What `torch.save` says when less was written than it gave: there is no error of the system in it."""
    return "inline_container" in str(error) or "PytorchStreamWriter" in str(error)


def _try(options: LoraOptions) -> str:
    ways = []
    if options.batch_size > 1:
        ways.append(f"--batch-size {options.batch_size // 2}")
    if not options.gradient_checkpointing:
        ways.append("--gradient-checkpointing")
    anew = [f"--max-length {max(options.max_length // 2, 8)}"]
    if not options.qlora:
        anew.append("--qlora")
    begun = f"Go on with --resume and {' or '.join(ways)}; or begin" if ways else "Begin"
    return f"There is not enough memory. {begun} anew with {' or '.join(anew)}."
