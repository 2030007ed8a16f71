"""A network and what is put behind it; `_target_: torch.nn.Sequential` cannot be written in a MONAI config."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class WithOutputLayer(nn.Module):
    """prior(network(...), ...): any network whose logits pass a layer of pipeline/layers.

    What is called by position goes to the network, what is called by name (centers, at_least, ...) to the prior.
    The weights are the network's own, so a checkpoint is made of `network`, not of this module: inference, where the
    network ends in plain logits, then loads it as it is.
    """

    def __init__(self, network: nn.Module, prior: nn.Module) -> None:
        super().__init__()
        self.network, self.prior = network, prior

    def forward(self, *inputs: Any, **known: Any) -> Tensor:
        return self.prior(self.network(*inputs), **known)


class OneLogit(nn.Module):
    """A prior of two classes for a network of one logit o: (0, o) goes in, the difference of what comes out is o.

    softmax(0, o) is (1 - sigmoid(o), sigmoid(o)), so losses and thresholds of one logit hold on. A class of which
    nothing is allowed (volume 0) has a logit of -inf, in which losses are nan: CERTAIN stands for it.
    """

    CERTAIN = 1e4

    def __init__(self, prior: nn.Module) -> None:
        super().__init__()
        self.prior = prior

    def forward(self, logits: Tensor, **known: Any) -> Tensor:
        background, objects = self.prior(torch.cat([torch.zeros_like(logits), logits], dim=1), **known).split(1, dim=1)
        return (objects - background).nan_to_num(nan=torch.nan, posinf=self.CERTAIN, neginf=-self.CERTAIN)
