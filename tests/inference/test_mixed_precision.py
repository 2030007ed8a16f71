"""The network computes in bfloat16, the loss in float32."""

from __future__ import annotations

import pytest
import torch

from pipeline.inference.mixed_precision import MixedPrecisionInferer
from pipeline.numerics import precision


@pytest.mark.parametrize(
    ("enabled", "has", "dtype"),
    [(True, True, torch.bfloat16), (False, True, torch.float32), (True, False, torch.float32)],
)
def test_the_network_sees_the_precision_that_was_asked_for_and_the_processor_has_and_the_loss_float32(
    enabled: bool, has: bool, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "has_bfloat16", lambda device_type: has)
    seen = []
    linear = torch.nn.Linear(4, 2)

    def network(x: torch.Tensor) -> torch.Tensor:
        seen.append(linear(x).dtype)
        return linear(x)

    out = MixedPrecisionInferer(enabled=enabled)(torch.ones(1, 4), network)
    assert (seen, out.dtype) == ([dtype], torch.float32)
    out.sum().backward()
    assert linear.weight.grad is not None and linear.weight.grad.dtype == torch.float32
