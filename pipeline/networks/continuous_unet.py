r"""Continuous U-Net: a U-Net whose blocks are second-order differential equations, and its siblings in the same frame.

    x0 = image, or a convolution of it,   v0 = g(x0) = 1x1(norm(act(conv(norm x0))))                        (1)
    down    z <- 1x1(mean over 2 x 2 of B(z))        up    z <- B(1x1(skip, interpolated z))                (2)
    logits = 1x1(z)

z = (x, v) is the state and B a block of networks/unet_blocks.py: for B = second_order the state flows along
x' = v, v' = f(x, v, t). The 1 x 1 convolutions of (2) are linear and keep x and v apart, so that what arrives as v is
made of velocities; `mixed` gives the published ones, which mix both and end in a softplus (velocities that are never
negative). The discrete blocks have no v and need no g; all else is the same for all.

With mixed and filters 3, 6, 12, 24, 48 on an RGB image this is the published frame around a true second order: 119 605
parameters, of which 138 let f depend on t, and 2.45 billion multiply-adds at 512 x 512 by one rk4 step. (2.51 if the
mean were taken after the 1 x 1 convolution, as published.) The default frame has 111 955 and 2.38.

Reference: Cheng et al., Continuous U-Net (2024), equation 1, table 10 (filters). Not from the paper: the linear
transitions, the lifting of other images, and g without the softplus at its end.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.errors import InputError
from pipeline.networks.recorded import EDGE, Recorded
from pipeline.networks.unet_blocks import LINEAR, BlockName, state_parts, unet_block
from pipeline.ode.blocks import RK4, SampleNorm, convolution
from pipeline.ode.solve import Solver

PAPER = (3, 6, 12, 24, 48)  # channels of x: the paper's four, and the bottleneck of the published code


class ContinuousUNet(Recorded):
    """(B, in_channels, *spatial) -> logits (B, out_channels, *spatial), any size: padded by repetition, and cropped.

    filters: channels of x on each level, finest first, the bottleneck last; two levels or more. Where filters[0] is
        in_channels, the image itself is x0, as in the paper; else a 3 x 3 convolution lifts it.
    block: a name of networks/unet_blocks.py.
    mixed: see the module; False keeps x and v apart between levels.
    solver: of every block; a block's attribute `solver` may be changed after training. Discrete blocks have none.

    InputError: fewer than two levels, a level without channels, no such block, spatial_dims other than 2 and 3.
    """

    def __init__(
        self,
        *,
        spatial_dims: int = 2,
        in_channels: int = 3,
        out_channels: int = 1,
        filters: Sequence[int] = PAPER,
        block: BlockName = "second_order",
        mixed: bool = False,
        solver: Solver = RK4,
    ) -> None:
        super().__init__()
        if len(filters) < 2 or min(filters) < 1:
            raise InputError(f"filters is {list(filters)}, it must name the channels of two levels or more")
        frame = Frame(spatial_dims=spatial_dims, block=block, mixed=mixed, solver=solver)
        self.stride = 2 ** (len(filters) - 1)
        self.example_shape = (1, in_channels, *[EDGE] * spatial_dims)
        self.start = _Start(in_channels, filters[0], frame=frame)
        self.down = nn.ModuleList(frame.transition(fine, coarse) for fine, coarse in pairwise(filters))
        self.blocks = nn.ModuleList(frame.block(channels) for channels in filters)
        self.decoder = Decoder(filters, frame=frame)
        self.head = convolution(frame.parts * filters[0], out_channels, spatial_dims=spatial_dims, kernel=1)
        self.mean = F.avg_pool2d if spatial_dims == 2 else F.avg_pool3d

    def forward(self, image: Tensor) -> Tensor:
        states = [self.blocks[0](self.start(padded(image, self.stride)))]
        for down, block in zip(self.down, self.blocks[1:], strict=True):
            states.append(block(down(self.mean(states[-1], 2))))
        return cropped(self.head(self.decoder(states)), image)


class Frame:
    """What all levels of a network share: makes their blocks and transitions."""

    def __init__(self, *, spatial_dims: int, block: str, mixed: bool, solver: Solver) -> None:
        self.spatial_dims, self.name, self.mixed, self.solver = spatial_dims, block, mixed, solver
        self.parts = state_parts(block)

    def block(self, channels: int) -> nn.Module:
        return unet_block(self.name, channels, spatial_dims=self.spatial_dims, solver=self.solver)

    def transition(self, inputs: int, outputs: int) -> nn.Module:
        """The 1 x 1 convolution of states of (2), from `inputs` to `outputs` channels a part."""
        inputs, outputs = self.parts * inputs, self.parts * outputs
        if self.mixed:
            return nn.Sequential(convolution(inputs, outputs, spatial_dims=self.spatial_dims, kernel=1), nn.Softplus())
        return convolution(inputs, outputs, spatial_dims=self.spatial_dims, kernel=1, groups=self.parts)


class Decoder(nn.Module):
    """The way up of (2): states (B, parts * filters[i], *spatial / 2^i), finest first -> the finest state.

    The coarsest state is taken as it comes; the others are skips.
    """

    def __init__(self, filters: Sequence[int], *, frame: Frame) -> None:
        super().__init__()
        self.parts, self.mode = frame.parts, LINEAR[frame.spatial_dims]
        self.up = nn.ModuleList(frame.transition(fine + coarse, fine) for fine, coarse in pairwise(filters))
        self.blocks = nn.ModuleList(frame.block(channels) for channels in filters[:-1])

    def forward(self, states: Sequence[Tensor]) -> Tensor:
        state = states[-1]
        for up, block, skip in reversed(list(zip(self.up, self.blocks, states[:-1], strict=True))):
            coarse = F.interpolate(state, scale_factor=2.0, mode=self.mode)
            state = block(up(self._joined(skip, coarse)))
        return state

    def _joined(self, skip: Tensor, coarse: Tensor) -> Tensor:
        """Both states' x before both states' v, as the groups of a transition want them."""
        halves = zip(skip.chunk(self.parts, dim=1), coarse.chunk(self.parts, dim=1), strict=True)
        return torch.cat([part for pair in halves for part in pair], dim=1)


class _Start(nn.Module):
    """(1): the image -> the finest state."""

    def __init__(self, in_channels: int, channels: int, *, frame: Frame) -> None:
        super().__init__()
        kind = {"spatial_dims": frame.spatial_dims}
        self.lift = nn.Identity() if in_channels == channels else convolution(in_channels, channels, **kind)
        self.velocity = None
        if frame.parts == 2:
            first, last = convolution(channels, channels, **kind), convolution(channels, channels, **kind, kernel=1)
            self.velocity = nn.Sequential(SampleNorm(), first, nn.SiLU(), SampleNorm(), last)

    def forward(self, image: Tensor) -> Tensor:
        x = self.lift(image)
        return x if self.velocity is None else torch.cat([x, self.velocity(x)], dim=1)


def padded(image: Tensor, multiple: int) -> Tensor:
    """The image with its last pixels repeated until every size is a multiple of `multiple`."""
    amounts = [amount for size in reversed(image.shape[2:]) for amount in (0, -size % multiple)]
    return F.pad(image, amounts, mode="replicate")


def cropped(logits: Tensor, image: Tensor) -> Tensor:
    """`logits` without what `padded` added to the image."""
    return logits[tuple([slice(None)] * 2 + [slice(size) for size in image.shape[2:]])]
