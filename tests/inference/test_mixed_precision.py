"""The network computes in bfloat16, the loss in float32."""

from __future__ import annotations

import pytest
import torch

from pipeline.inference.mixed_precision import MixedPrecisionInferer


@pytest.mark.parametrize(("enabled", "dtype"), [(True, torch.bfloat16), (False, torch.float32)])
def test_the_network_sees_the_precision_that_was_asked_for_and_the_loss_float32(
    enabled: bool, dtype: torch.dtype
) -> None:
    seen = []
    linear = torch.nn.Linear(4, 2)

    def network(x: torch.Tensor) -> torch.Tensor:
        seen.append(linear(x).dtype)
        return linear(x)

    out = MixedPrecisionInferer(enabled=enabled)(torch.ones(1, 4), network)
    assert (seen, out.dtype) == ([dtype], torch.float32)
    out.sum().backward()
    assert linear.weight.grad is not None and linear.weight.grad.dtype == torch.float32
