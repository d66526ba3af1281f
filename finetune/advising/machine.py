"""What this machine could train with: its GPU as the driver names it, else its processor as it multiplies."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from typing import Final

import msgspec

_PRODUCTS: Final = 256
_SIDE: Final = 64
"""Larger ones are spread over threads."""
_SECONDS: Final = 0.3
_TIMES_MIN: Final = 5
_TIMEOUT_S: Final = 10.0


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    device: str
    flops: float
    """Peak a second: of a GPU dense BF16 as its data sheet has it, of a processor measured in float32."""
    memory: float
    """Bytes of the GPU; 0 for a processor, whose memory is not the limit that counts."""
    measured: bool


GPUS: Final = (
    # (part of the driver's name, peak dense BF16 FLOP/s), from NVIDIA's data sheets.
    ("RTX 4090", 165e12),
    ("A100", 312e12),
    ("L40S", 362e12),
    ("H100", 989e12),
    ("H200", 989e12),
)


def machine(clock: Callable[[], float]) -> Machine:
    """Takes some 0.3 s where there is no GPU that is known."""
    return _gpu() or _processor(clock)


def parse(said: str) -> Machine | None:
    """Of `nvidia-smi`'s first line, `name, mebibytes`; None for a GPU that is not known."""
    name, _, memory = said.partition("\n")[0].rpartition(",")
    flops = next((flops for part, flops in GPUS if part in name), None)
    if flops is None or not memory.strip().isdigit():
        return None
    return Machine(device=name.strip(), flops=flops, memory=int(memory) * 2**20, measured=False)


def _gpu() -> Machine | None:
    command = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader,nounits"]
    try:
        asked = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return parse(asked.stdout) if asked.returncode == 0 else None


def _processor(clock: Callable[[], float]) -> Machine:
    """The best of many small products of matrices on one core, times the cores: what else runs meanwhile spoils only
    some of them."""
    import numpy as np

    left = np.ones((_PRODUCTS, _SIDE, _SIDE), dtype=np.float32)
    times: list[float] = []
    while len(times) < _TIMES_MIN or sum(times) < _SECONDS:
        began = clock()
        left @ left
        times.append(clock() - began)
    cores = len(os.sched_getaffinity(0))
    one = _PRODUCTS * 2 * _SIDE**3 / max(min(times), 1e-9)
    return Machine(device=f"this machine ({cores} cores)", flops=cores * one, memory=0, measured=True)
