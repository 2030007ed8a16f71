r"""The blocks that a U-Net of one frame can be built of: five of the literature beside the differential equations.

    plain             L(L(x)),   L = act(conv(norm))
    residual          x + conv(norm(act(conv(norm x)))):   one Euler step of first_order
    dense             1x1(x, a, b),   a = L(x),   b = L(x, a)
    inception         1x1(L1(x), L3(x), L5(x)),   Lk with a kernel of k
    pyramid_pooling   act(conv(norm x, p1 x, p2 x, p4 x)),   pn: mean over a grid of n x n, 1x1, interpolated back
    first_order, second_order, augmented   see pipeline/ode/blocks.py

Every block takes and gives (B, channels, *spatial), or two such parts (x, v) where it is of second order or augmented;
all normalise each sample by itself before each convolution and use one activation, so that a table compares blocks and
nothing else.

Reference: Cheng et al., Continuous U-Net (2024), section 2.1 and table 3, which names the blocks (PLN, RSE, DSE, INC,
PSP, FO, DB) after Ronneberger 2015, He 2016, Huang 2017, Szegedy 2015, Zhao 2017. Not from the paper, which gives no
formulas: depths and widths of the five, chosen so that one block costs about as much as another.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.errors import InputError
from pipeline.ode.blocks import AugmentedBlock, FirstOrderBlock, SampleNorm, SecondOrderBlock, convolution
from pipeline.ode.solve import Solver

BlockName = Literal[
    "plain", "residual", "dense", "inception", "pyramid_pooling", "first_order", "second_order", "augmented"
]
POOLED_GRIDS = (1, 2, 4)
LINEAR = {2: "bilinear", 3: "trilinear"}


def _layer(inputs: int, outputs: int, *, spatial_dims: int, kernel: int = 3) -> nn.Sequential:
    return nn.Sequential(
        SampleNorm(), convolution(inputs, outputs, spatial_dims=spatial_dims, kernel=kernel), nn.SiLU()
    )


class PlainBlock(nn.Sequential):
    """Two layers of norm, convolution, activation."""

    def __init__(self, channels: int, *, spatial_dims: int = 2) -> None:
        super().__init__(*(_layer(channels, channels, spatial_dims=spatial_dims) for _ in range(2)))


class ResidualBlock(nn.Module):
    """x + f(x), with the f that first_order integrates, at t = 0."""

    def __init__(self, channels: int, *, spatial_dims: int = 2) -> None:
        super().__init__()
        norm, kernel = SampleNorm(), {"spatial_dims": spatial_dims}
        first, last = convolution(channels, channels, **kernel), convolution(channels, channels, **kernel)
        self.branch = nn.Sequential(norm, first, nn.SiLU(), norm, last)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.branch(x)


class DenseBlock(nn.Module):
    """Two layers that see all that came before them, and a 1 x 1 convolution over everything."""

    def __init__(self, channels: int, *, spatial_dims: int = 2) -> None:
        super().__init__()
        self.first = _layer(channels, channels, spatial_dims=spatial_dims)
        self.second = _layer(2 * channels, channels, spatial_dims=spatial_dims)
        self.merge = convolution(3 * channels, channels, spatial_dims=spatial_dims, kernel=1)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.cat([x, self.first(x)], dim=1)
        return self.merge(torch.cat([x, self.second(x)], dim=1))


class InceptionBlock(nn.Module):
    """Kernels of 1, 3 and 5 side by side, merged by a 1 x 1 convolution."""

    def __init__(self, channels: int, *, spatial_dims: int = 2) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            _layer(channels, channels, spatial_dims=spatial_dims, kernel=kernel) for kernel in (1, 3, 5)
        )
        self.merge = convolution(3 * channels, channels, spatial_dims=spatial_dims, kernel=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.merge(torch.cat([branch(x) for branch in self.branches], dim=1))


class PyramidPoolingBlock(nn.Module):
    """The means over grids of 1, 2 and 4 cells an axis, convolved and laid beside x."""

    def __init__(self, channels: int, *, spatial_dims: int = 2) -> None:
        super().__init__()
        self.mode = LINEAR[spatial_dims]
        self.pool = F.adaptive_avg_pool2d if spatial_dims == 2 else F.adaptive_avg_pool3d
        self.branches = nn.ModuleList(
            convolution(channels, channels, spatial_dims=spatial_dims, kernel=1) for _ in POOLED_GRIDS
        )
        self.norm = SampleNorm()
        self.merge = convolution((1 + len(POOLED_GRIDS)) * channels, channels, spatial_dims=spatial_dims)

    def forward(self, x: Tensor) -> Tensor:
        parts = [self.norm(x)]  # but not the means: a norm would erase that over the whole image
        for grid, branch in zip(POOLED_GRIDS, self.branches, strict=True):
            parts.append(F.interpolate(branch(self.pool(x, grid)), size=x.shape[2:], mode=self.mode))
        return F.silu(self.merge(torch.cat(parts, dim=1)))


Discrete = PlainBlock | ResidualBlock | DenseBlock | InceptionBlock | PyramidPoolingBlock
DISCRETE: dict[str, type[Discrete]] = {
    "plain": PlainBlock,
    "residual": ResidualBlock,
    "dense": DenseBlock,
    "inception": InceptionBlock,
    "pyramid_pooling": PyramidPoolingBlock,
}
SOLVED: dict[str, type[FirstOrderBlock | SecondOrderBlock | AugmentedBlock]] = {
    "first_order": FirstOrderBlock,
    "second_order": SecondOrderBlock,
    "augmented": AugmentedBlock,
}
OF_TWO_PARTS = ("second_order", "augmented")


def unet_block(name: str, channels: int, *, spatial_dims: int, solver: Solver) -> nn.Module:
    """A block by its name; the discrete ones ask no solver. InputError: no such block."""
    if name in SOLVED:
        return SOLVED[name](channels, spatial_dims=spatial_dims, solver=solver)
    if name in DISCRETE:
        return DISCRETE[name](channels, spatial_dims=spatial_dims)
    raise InputError(f"block is {name!r}, it must be one of {', '.join((*DISCRETE, *SOLVED))}")


def state_parts(name: str) -> int:
    """2 for a block whose state is (x, v), 1 for one whose state is x."""
    return 2 if name in OF_TWO_PARTS else 1
