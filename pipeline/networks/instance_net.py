r"""A fully convolutional network of one real-valued output, which deep variational instance segmentation trains.

    F_i = EfficientNet-lite's features at strides 2, 4, ..., 2^n,   z_n = conv(F_n, p_n)                    (1)
    z_i = conv(1x1 F_i, interpolated z_(i+1), p_i)   for i = n - 1, ..., 0 (F_0 the image);   f = 1x1(z_0)  (2)
    z_i <- relu(z_i + norm conv3x3 conv(z_i))        as often as level i is refined                          (3)

conv is MONAI's convolution with batch normalisation and ReLU. The scale of (3)'s norm begins at 0: a refinement begins
as the identity (z is not negative), so that a network can go on from the weights of one without it.

p_i are the position channels, if there are any: sine and cosine of 2 pi y / P and of 2 pi x / P at the pixels of
level i. A convolution treats equal objects alike wherever they lie; f has to give two that touch different values, and
p tells it which is which. Periodic channels do so without knowing the size of the image, so that a tile that begins at
a multiple of P gives what the whole image gives there.

Nothing in evaluation looks at the whole image (batch normalisation is a fixed map then): f at a pixel depends on the
pixels around it alone, which makes tiles exact. The paper ends in a ReLU, which is in the loss here and in the grouping
(losses/dvis.py says why); the last bias begins at 1, so that no term begins dead.

Reference: Yuan, Chen, Li (NeurIPS 2020), section 4: an encoder and the upsampling branch of a feature pyramid network.
Not from the paper: EfficientNet-lite (its ResNets' weights cannot be had), full resolution, position channels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from monai.networks.blocks import Convolution
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.errors import InputError
from pipeline.networks.continuous_unet import cropped, padded
from pipeline.networks.efficientnet_lite import EfficientNetLite
from pipeline.networks.recorded import EDGE, Recorded

START_BIAS = 1.0
POSITIONS = 4  # channels: sine and cosine of rows and of columns


class InstanceNet(Recorded):
    """Image (B, in_channels, H, W), -1 ... 1, -> f (B, out_channels, H, W), before any ReLU; any size.

    out_channels: 1 for the map of instances; more for a rival of classes on the same network.
    encoder: lite0, lite1 or lite2; `network.encoder.load_imagenet()` before training.
    filters: channels of z at strides 1, 2, 4 ...: two to six numbers; one level of the encoder for each but the first.
    position_period: P in pixels, a multiple of 2^n; None: no position channels.
    refinements: of each level, the finest first; () is none. Small objects are few pixels, which one convolution sees.
    InputError: no such encoder, too few or too many filters, a period against its rule, refinements of no level.
    """

    def __init__(
        self,
        *,
        in_channels: int = 3,
        out_channels: int = 1,
        encoder: str = "lite0",
        filters: Sequence[int] = (16, 24, 32, 48, 64),
        position_period: int | None = None,
        refinements: Sequence[int] = (),
    ) -> None:
        super().__init__()
        self.example_shape = (1, in_channels, EDGE, EDGE)
        self.encoder = EfficientNetLite(encoder, in_channels=in_channels)
        depth = len(filters) - 1
        if not 1 <= depth <= len(self.encoder.channels):
            raise InputError(f"filters is {list(filters)}, it must have two to six numbers, for strides 1, 2, 4 ...")
        if position_period is not None and (position_period <= 0 or position_period % 2**depth):
            raise InputError(f"position_period is {position_period}, it must be a multiple of {2**depth}")
        if len(refinements) > depth + 1 or any(number < 0 for number in refinements):
            raise InputError(f"refinements is {list(refinements)}, at most a number for each of {depth + 1} levels")
        self.encoder.levels = self.encoder.levels[:depth]
        self.position_period = position_period
        places = 0 if position_period is None else POSITIONS
        features = [in_channels, *self.encoder.channels[:depth]]
        below = [*filters[1:], 0]
        self.skips = nn.ModuleList(
            nn.Identity() if level in (0, depth) else nn.Conv2d(features[level], filters[level], 1)
            for level in range(depth + 1)
        )
        arriving = [features[level] if level in (0, depth) else filters[level] for level in range(depth + 1)]
        self.merges = nn.ModuleList(
            Convolution(2, a + b + places, out, act="RELU", norm="BATCH", adn_ordering="NA")
            for a, b, out in zip(arriving, below, filters, strict=True)
        )
        self.refinements = nn.ModuleList(
            nn.Sequential(*(Refinement(channels) for _ in range(number)))
            for channels, number in zip(filters, refinements, strict=False)
        )
        self.head = nn.Conv2d(filters[0], out_channels, 1)
        if out_channels == 1 and self.head.bias is not None:
            nn.init.constant_(self.head.bias, START_BIAS)

    def start_from(self, weights: Mapping[str, Tensor]) -> InstanceNet:
        """Load trained weights; a last layer of another number of outputs is not taken, and stays as it is.

        So a map of instances can begin with what a network of classes has learned of their borders. Weights of a
        network that refines no level leave (3) as it is; a network without position channels does without theirs.
        """
        own = self.state_dict()
        if self.position_period is None:
            weights = {name: _without_positions(tensor, own.get(name)) for name, tensor in weights.items()}
        kept = {name for name in weights if name.startswith("head.") and weights[name].shape != own[name].shape}
        if not any(name.startswith("refinements.") for name in weights):
            kept |= {name for name in own if name.startswith("refinements.")}
        self.load_state_dict({**weights, **{name: own[name] for name in kept}})
        return self

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.features(image))

    def features(self, image: Tensor) -> Tensor:
        """z_0 of (2), (B, filters[0], H, W): what f is a linear map of."""
        whole = padded(image, self.encoder.stride)
        features = [whole, *self.encoder(whole)]
        coarser: list[Tensor] = []  # z of the level before: the coarsest has none
        for level in reversed(range(len(features))):
            parts = [self.skips[level](features[level])]
            parts += [F.interpolate(z, scale_factor=2, mode="bilinear") for z in coarser]
            if self.position_period is not None:
                parts.append(_positions(parts[0], stride=2**level, period=self.position_period))
            z = self.merges[level](torch.cat(parts, dim=1))
            coarser = [self.refinements[level](z) if level < len(self.refinements) else z]
        return cropped(coarser[0], image)


class Refinement(nn.Module):
    """Equation (3), once: z (B, channels, H, W) -> the same shape."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = Convolution(2, channels, channels, act="RELU", norm="BATCH", adn_ordering="NA")
        self.last = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        nn.init.zeros_(self.norm.weight)

    def forward(self, z: Tensor) -> Tensor:
        return F.relu(z + self.norm(self.last(self.first(z))))


def _without_positions(kernel: Tensor, own: Tensor | None) -> Tensor:
    """The kernel of a convolution that saw position channels too, which come last, without them."""
    if own is None or kernel.ndim != 4 or kernel.shape[1] != own.shape[1] + POSITIONS:
        return kernel
    return kernel[:, : own.shape[1]]


def _positions(like: Tensor, *, stride: int, period: int) -> Tensor:
    """(B, 4, H, W) for a level (B, C, H, W): sine and cosine of the rows' and the columns' place in the image."""
    batch, _, height, width = like.shape
    down, across = (
        (torch.arange(n, device=like.device, dtype=torch.float32) + 0.5) * (2 * math.pi * stride / period)
        for n in (height, width)
    )
    rows = torch.stack([down.sin(), down.cos()])[:, :, None].expand(2, height, width)
    columns = torch.stack([across.sin(), across.cos()])[:, None].expand(2, height, width)
    return torch.cat([rows, columns]).to(like.dtype).expand(batch, POSITIONS, height, width)
