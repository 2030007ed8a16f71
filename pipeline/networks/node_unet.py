r"""A neural ordinary differential equation on the pixels of an image, whose right side is a U-Net.

    y' = f(y, t),   y(0) -> y(1),   f = U-Net of (y, t)                                                     (1)

Time enters f as one more channel, constant over the image. The last convolution of f starts at zero, so that an
untrained network is the identity, bit for bit, whatever the solver (section 3.3 of the paper). f is smooth (GELU,
bilinear upsampling) but for its max-pooling, and normalises by groups: nothing in it depends on the batch, or on how
often the solver asks.

Reference: Valle et al., Neural ODEs for Image Segmentation with Level Sets (2019), sections 3.3, 3.5 and 4.4
("NodeUNet"). Not from the paper: the widths, the activation, time as a channel.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.networks.nets import BasicUNet
from torch import Tensor, nn

from pipeline.ode.solve import Solver, integrate, trajectory
from pipeline.ode.solvers import Counts

MIDPOINT = Solver(method="midpoint", steps=2)


class NodeUNet(nn.Module):
    """The flow (1): (B, channels, *spatial) -> the same shape.

    channels: of the state. features: the five widths of f and that of its last convolutions, as in MONAI's BasicUNet;
        multiples of 8 (GroupNorm).
    solver: how (1) is integrated; an attribute that may be changed after training.
    """

    def __init__(
        self,
        channels: int,
        *,
        spatial_dims: int = 2,
        features: Sequence[int] = (16, 16, 32, 64, 64, 16),
        solver: Solver = MIDPOINT,
    ) -> None:
        super().__init__()
        self.solver = solver
        self.unet = BasicUNet(
            spatial_dims=spatial_dims,
            in_channels=channels + 1,
            out_channels=channels,
            features=features,
            act="gelu",
            norm=("group", {"num_groups": 8}),
            upsample="nontrainable",
        )
        last = self.unet.final_conv
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    def field(self, t: float, y: Tensor) -> Tensor:
        """f(y, t) of (1)."""
        time = torch.full_like(y[:, :1], t)
        return self.unet(torch.cat([y, time], dim=1))

    def forward(self, y: Tensor, counts: Counts | None = None) -> Tensor:
        """y(1); `counts` receives the evaluations of f. StepLimitError: dopri5 that does not arrive."""
        return integrate(_Field(self), y, self.solver, counts=counts)

    def trajectory(self, y: Tensor) -> tuple[list[float], Tensor]:
        """The times of the solver's grid and the states at them, (times, B, channels, *spatial)."""
        return trajectory(self.field, y, self.solver)


class _Field(nn.Module):
    """`field` as a module, which the adjoint asks for its weights; made anew, so that the flow's own keep their names.

    It holds the flow and not the U-Net, so that whoever replaces `field` is heard.
    """

    def __init__(self, flow: NodeUNet) -> None:
        super().__init__()
        self.flow = flow

    def forward(self, t: float, y: Tensor) -> Tensor:
        return self.flow.field(t, y)
