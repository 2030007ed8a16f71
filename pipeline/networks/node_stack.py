r"""NodeStack: neural ODEs one after the other, each followed by squeeze and excitation, then a look at several scales.

    z = N(conv3(fold_4(I))),   z <- E(B(z)),   z <- E(B(N(conv3(z))))  ...                                  (1)
    B: z' = f(z, t) for t in [0, 1],   f = conv1(L(conv3, grouped)(G(conv1)(z, t)))                         (2)
    phi = s conv1(A(z)),   enlarged to the image;   segmentation {phi > 0}                                  (3)

fold_4 takes blocks of 4 x 4 pixels for channels (exact). The first stage works at stride 4, the others at stride 8,
each from the third on dilated twice as far as the one before, as in DeepLabV3. N and G are GroupNorm and GELU; L is
LayerNorm, over all channels and pixels of a sample, and GELU: GroupNorm where a convolution has no groups, LayerNorm
where it has some. Time is one more channel of f, and the last convolution of f starts at zero: an untrained B is the
identity. E (squeeze and excitation) and A (atrous spatial pyramid pooling) are MONAI's, A with GroupNorm for BatchNorm:
no norm depends on the batch.

Reference: Valle et al., Neural ODEs for Image Segmentation with Level Sets (2019), sections 3.3, 3.5 and 4.3. Not from
the paper, which gives "41M" and no more: everything in (1) to (3) that its words do not say. Not implemented: volumes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.networks.blocks import ChannelSELayer, SimpleASPP
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.errors import InputError
from pipeline.networks.continuous_unet import cropped, padded
from pipeline.networks.node_unet import MIDPOINT
from pipeline.ode.blocks import ODEBlock
from pipeline.ode.solve import Solver

FOLD, STRIDE = 4, 8  # of the first stage, of the others
SQUEEZED = 16  # E narrows the channels by this
DILATIONS = (1, 6, 12, 18)  # of A
GROUPS = 8  # of GroupNorm
PAPER = (256, 512, 1024, 1024)  # widths with which three blocks a stage have the paper's 41 million parameters


class GroupedField(nn.Module):
    """f of (2): t and (B, channels, H, W) -> the same shape; 0 when untrained. groups: of its 3 x 3 convolution."""

    def __init__(self, channels: int, *, groups: int, dilation: int = 1) -> None:
        super().__init__()
        grouped = nn.Conv2d(channels, channels, 3, padding=dilation, dilation=dilation, groups=groups)
        self.first = nn.Sequential(nn.Conv2d(channels + 1, channels, 1), nn.GroupNorm(GROUPS, channels), nn.GELU())
        self.grouped = nn.Sequential(grouped, nn.GroupNorm(1, channels), nn.GELU())  # one group: LayerNorm
        self.last = nn.Conv2d(channels, channels, 1)
        for weight in self.last.parameters():
            nn.init.zeros_(weight)

    def forward(self, t: float, z: Tensor) -> Tensor:
        return self.last(self.grouped(self.first(torch.cat([z, torch.full_like(z[:, :1], t)], dim=1))))


class NodeStack(nn.Module):
    """Image (B, in_channels, H, W) of any size -> signed distance (B, out_channels, H, W), in pixels, positive inside.

    widths: channels of the stages, multiples of 8 and of `groups`; blocks: differential equations of each stage.
    groups: of the convolutions in f. pooled: channels of each scale of A.
    band: s in (3), in pixels; the same number as the loss's. solver: of every block.
    InputError: widths that cannot be grouped.
    """

    def __init__(
        self,
        *,
        in_channels: int = 3,
        out_channels: int = 1,
        widths: Sequence[int] = PAPER,
        blocks: int = 3,
        groups: int = 32,
        pooled: int = 256,
        band: float = 4.0,
        solver: Solver = MIDPOINT,
    ) -> None:
        super().__init__()
        if not widths or any(width % groups or width % GROUPS for width in widths):
            raise InputError(
                f"widths is {list(widths)}: name a stage or more, each a multiple of {groups} and {GROUPS}"
            )
        self.band = band
        inputs, stages = FOLD**2 * in_channels, list[nn.Module]()
        for stage, width in enumerate(widths):
            stages += _entrance(inputs, width, stride=2 if stage == 1 else 1)
            for _ in range(blocks):
                field = GroupedField(width, groups=groups, dilation=2 ** max(0, stage - 1))
                stages += [ODEBlock(field, solver), ChannelSELayer(2, width, r=SQUEEZED, acti_type_1="relu")]
            inputs = width
        self.stages = nn.Sequential(*stages)
        norm = ("group", {"num_groups": GROUPS})
        self.scales = SimpleASPP(2, inputs, pooled, (1, 3, 3, 3), DILATIONS, norm_type=norm, acti_type="gelu")
        self.projection = nn.Conv2d(len(DILATIONS) * pooled, out_channels, 1)

    def forward(self, image: Tensor) -> Tensor:
        whole = padded(image, STRIDE)
        coarse = self.projection(self.scales(self.stages(F.pixel_unshuffle(whole, FOLD))))
        return cropped(self.band * F.interpolate(coarse, whole.shape[2:], mode="bilinear"), image)


def _entrance(inputs: int, width: int, *, stride: int) -> list[nn.Module]:
    convolution = nn.Conv2d(inputs, width, 3, stride=stride, padding=1)
    return [convolution, nn.GroupNorm(GROUPS, width), nn.GELU()]
