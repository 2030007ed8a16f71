"""Several trained networks as one: the folds of a cross-validation, whose answers are averaged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn


class Ensemble(nn.Module):
    """The mean of what `networks` give to the same inputs: of logits or distances, not yet decided."""

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        super().__init__()
        if not networks:
            raise ValueError("networks is empty: an ensemble has one at least")
        self.networks = nn.ModuleList(networks)

    def forward(self, *inputs: Any) -> Tensor:
        first, *others = self.networks
        total = cast(Tensor, first(*inputs))
        for network in others:  # one answer more at a time, not all at once
            total = torch.add(total, network(*inputs))
        return total / len(self.networks)
