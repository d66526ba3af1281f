"""What it runs on: device, number format, and whether this process is the one that writes.

`accelerate launch` starts one process for each device, and each runs the whole command. All of them compute; the first
alone makes the run's folder, writes files and speaks.
"""

from __future__ import annotations

import resource
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import FinetuneError
from .options import LoraOptions

if TYPE_CHECKING:
    import torch

_Result = TypeVar("_Result")


class Machine:
    """Raises `FinetuneError` when the options want what it has not."""

    def __init__(self, options: LoraOptions) -> None:
        import torch
        from accelerate import PartialState

        cuda = torch.cuda.is_available()
        if options.device == "cuda" and not cuda:
            raise FinetuneError("--device cuda: PyTorch finds no GPU here. auto takes what there is.")
        self.cpu = options.device == "cpu" or not cuda
        self._state = PartialState(cpu=self.cpu)
        self.device: torch.device = self._state.device
        self.processes: int = self._state.num_processes
        self.main: bool = self._state.is_main_process
        if not self.cpu and self.processes == 1 and torch.cuda.device_count() > 1:
            raise FinetuneError(
                f"There are {torch.cuda.device_count()} GPUs. One: CUDA_VISIBLE_DEVICES=0 penstock finetune lora ... "
                "All: accelerate launch -m proxy finetune lora ..."
            )
        self.dtype: torch.dtype = _dtype(options, self.cpu)

    @property
    def named(self) -> str:
        """The device in words."""
        import torch

        threads = torch.get_num_threads()
        name = f"CPU, {threads} thread{'s' * (threads > 1)}" if self.cpu else torch.cuda.get_device_name(self.device)
        return f"{self.processes} × {name}" if self.processes > 1 else name

    @property
    def dtype_name(self) -> str:
        return str(self.dtype).removeprefix("torch.")

    def memory_bytes(self) -> int:
        """What the device has in all; 0: not known."""
        import torch

        if not self.cpu:
            return int(torch.cuda.get_device_properties(self.device).total_memory)
        try:
            with open("/proc/meminfo") as file:
                return int(file.readline().split()[1]) * 1024
        except (OSError, ValueError, IndexError):
            return 0

    def memory_bytes_peak(self) -> int:
        """The most that was used so far: of the GPU, or of this process on the CPU."""
        import torch

        if not self.cpu:
            return int(torch.cuda.max_memory_allocated(self.device))
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

    def first(self, do: Callable[[], _Result]) -> _Result:
        """What the first process finds by it, in all of them. Raises in all of them the `FinetuneError` it met."""
        if self.processes == 1:
            return do()
        from accelerate.utils import broadcast_object_list

        found: list[Any] = [None, ""]
        if self.main:
            try:
                found[0] = do()
            except FinetuneError as error:
                found[1] = str(error)
        broadcast_object_list(found)
        if found[1]:
            raise FinetuneError(found[1])
        result: _Result = found[0]
        return result

    def any(self, here: bool) -> bool:
        """Whether it is so in any process. All of them must ask."""
        if self.processes == 1:
            return here
        import torch

        flag = torch.tensor([int(here)], device=self.device)
        torch.distributed.all_reduce(flag, op=torch.distributed.ReduceOp.MAX)
        return bool(flag.item())

    def wait(self) -> None:
        """For all processes to come here."""
        self._state.wait_for_everyone()


def _dtype(options: LoraOptions, cpu: bool) -> torch.dtype:
    import torch

    if options.dtype != "auto":
        chosen: torch.dtype = getattr(torch, options.dtype)
        if chosen == torch.bfloat16 and not cpu and not torch.cuda.is_bf16_supported(including_emulation=False):
            raise FinetuneError("--dtype bfloat16: this GPU has it not. auto takes what it has.")
        return chosen
    # A CPU counts in bfloat16 too, but most do it more slowly.
    return torch.bfloat16 if not cpu and torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
