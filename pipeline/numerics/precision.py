"""bfloat16 arithmetic, on processors that have it: elsewhere it is emulated, and slower than float32 by far.

Measured on a CPU without it (AVX2): a training step of networks/instance_net.py took 20 s in bfloat16 and 1.5 s in
float32. A CPU that has it trains 2.5 times faster than in float32.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import cache

import torch

logger = logging.getLogger(__name__)

_OF_CPUS = ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16")  # x86-64, then Arm


def autocast(device_type: str, *, enabled: bool = True) -> torch.autocast:
    """A block that computes in bfloat16 if `enabled` and the device has it, else in float32; which is logged once."""
    return torch.autocast(device_type, dtype=torch.bfloat16, enabled=enabled and has_bfloat16(device_type))


@cache
def has_bfloat16(device_type: str) -> bool:
    """Whether the processors of this type compute in bfloat16 themselves; of an unknown type it is supposed."""
    if device_type == "cuda":
        there = torch.cuda.is_bf16_supported(including_emulation=False)
    elif device_type == "cpu":
        asked: Callable[[], Mapping[str, object]] = getattr(torch.cpu, "get_capabilities", dict)  # not in older torch
        capabilities = asked()
        there = any(capabilities.get(name, False) for name in _OF_CPUS)
    else:
        there = True
    if not there:
        logger.info("%s has no bfloat16 arithmetic: float32 is used", device_type)
    return there
