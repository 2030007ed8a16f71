"""bfloat16 arithmetic in training, on CPU and GPU alike (MONAI's `amp` speaks to CUDA only)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from monai.inferers import Inferer
from torch import Tensor

from pipeline.numerics.precision import autocast


class MixedPrecisionInferer(Inferer):
    """Calls the network under bfloat16 autocast and hands float32 to the loss; no gradient scaler is needed.

    A processor that has no bfloat16 computes in float32 (numerics/precision.py).
    enabled: False computes in float32 anyway, for runs that must not depend on the processor's bfloat16 units.
    """

    def __init__(self, *, enabled: bool = True) -> None:
        super().__init__()
        self.enabled = enabled

    def __call__(self, inputs: Tensor, network: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Tensor:
        with autocast(inputs.device.type, enabled=self.enabled):
            return network(inputs, *args, **kwargs).float()
