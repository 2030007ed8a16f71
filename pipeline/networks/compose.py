"""A network and what is put behind it; `_target_: torch.nn.Sequential` cannot be written in a MONAI config."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn


class WithOutputLayer(nn.Module):
    """prior(network(...)): any network whose logits pass a layer of pipeline/layers.

    The weights are the network's own, so a checkpoint is made of `network`, not of this module: inference, where the
    network ends in plain logits, then loads it as it is.
    """

    def __init__(self, network: nn.Module, prior: nn.Module) -> None:
        super().__init__()
        self.network, self.prior = network, prior

    def forward(self, *inputs: Any) -> Tensor:
        return self.prior(self.network(*inputs))
