"""What a network costs: parameters, multiply-adds, evaluations of its differential equations; and networks of one cost.

Multiply-adds, not floating-point operations (two each), of convolutions and matrix products; norms and activations are
left out, as is usual. They are those of one sample at a stated size and with the solvers that the network has now.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from pipeline.errors import InputError
from pipeline.networks.node_unet import NodeUNet
from pipeline.ode.blocks import ODEBlock

TOLERANCE = 0.05


@dataclass(frozen=True, kw_only=True)
class Cost:
    """size: of the input, without the batch: (channels, *spatial). evaluations: of f, over all blocks."""

    parameters: int
    multiply_adds: int
    evaluations: int
    size: tuple[int, ...]


def cost(network: nn.Module, size: Sequence[int]) -> Cost:
    """The cost of one sample of `size`, (channels, *spatial), noise: an adaptive solver's evaluations depend on it.

    The network runs once, in evaluation mode and without gradients, where it stands, and is left as it was.
    """
    evaluations = 0

    def count(*_: object) -> None:
        nonlocal evaluations
        evaluations += 1

    device = next(network.parameters()).device
    image = torch.rand(1, *size, generator=torch.Generator().manual_seed(0)).to(device)
    fields = [part.field for part in network.modules() if isinstance(part, ODEBlock)]
    fields += [part.unet for part in network.modules() if isinstance(part, NodeUNet)]
    hooks = [field.register_forward_hook(count) for field in fields]
    training, counter = network.training, FlopCounterMode(display=False)
    try:
        with torch.no_grad(), counter:
            network.eval()(image)
    finally:
        network.train(training)
        for hook in hooks:
            hook.remove()
    return Cost(
        parameters=parameters(network),
        multiply_adds=counter.get_total_flops() // 2,
        evaluations=evaluations,
        size=tuple(size),
    )


def parameters(network: nn.Module) -> int:
    """How many numbers the network learns."""
    return sum(weight.numel() for weight in network.parameters() if weight.requires_grad)


def matching_filters(build: Callable[[list[int]], nn.Module], target: int, *, like: Sequence[int]) -> list[int]:
    """Filters in the proportions of `like` with which build(filters) has `target` parameters, within 5 %.

    They let two blocks be compared at equal parameters rather than at equal filters. build is called a dozen times, on
    no device (meta). InputError: no whole numbers in these proportions come as near.
    """

    def scaled(widest: int) -> list[int]:
        return [max(1, round(filters * widest / max(like))) for filters in like]

    def size(widest: int) -> int:
        with torch.device("meta"):
            return parameters(build(scaled(widest)))

    above = 1
    while size(above) < target:
        above *= 2
    below = above // 2  # too few, or 0
    while above - below > 1:
        middle = (below + above) // 2
        below, above = (below, middle) if size(middle) >= target else (middle, above)
    nearest = min(filter(None, (below, above)), key=lambda widest: abs(size(widest) - target))
    if abs(size(nearest) - target) > TOLERANCE * target:
        raise InputError(
            f"filters {scaled(nearest)} give {size(nearest)} parameters, not {target} within {TOLERANCE:.0%}: "
            "take other proportions (like) or a larger target"
        )
    return scaled(nearest)
