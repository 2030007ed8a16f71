r"""Image evolution: a neural ODE turns an embedding of the image into a distance map.

    h(0) = lambda(I),   h' = f(h, t)  for t in [0, 1],   phi = s w * psi(h(1)),   segmentation {phi > 0}    (1)

lambda is one of the embeddings below, f a U-Net (networks/node_unet.py), psi a 1 x 1 convolution and s the half-width
of the narrow band, the unit in which psi answers. No contour is given. f begins at zero, psi does not: an untrained
evolution regresses phi = s psi(lambda(I)).

h lives on a grid that is coarser than the image by the embedding's stride k, and psi gives k x k values for each of its
points: every pixel keeps a value of its own, and f, which is asked several times, is cheap. What the k x k values have
that repeats from point to point is no distance but a pattern, and w, a mean over k and then 2 pixels along each axis,
takes out just that: it is 1 at the frequency 0, and 0 at all multiples of 1 / k.

Reference: Valle et al., Neural ODEs for Image Segmentation with Level Sets (2019), equation 4. Not from the paper: what
lambda is (it does not say), the coarser grid, the encoder.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.networks.continuous_unet import cropped, padded
from pipeline.networks.efficientnet_lite import EfficientNetLite
from pipeline.networks.node_unet import MIDPOINT, NodeUNet
from pipeline.networks.recorded import EDGE, Recorded
from pipeline.ode.solve import Solver
from pipeline.ode.solvers import Counts

HALVINGS = 16  # of the grid of h, by f
GROUPS = 8


class FoldedEmbedding(nn.Module):
    """lambda of (1): the image folded 2 x 2 into channels, one convolution; (B, in_channels, H, W) -> stride 2.

    channels: of h, a multiple of 8 (GroupNorm).
    """

    stride = 2
    multiple = stride * HALVINGS  # sizes that lambda and f take

    def __init__(self, *, in_channels: int = 1, channels: int = 32) -> None:
        super().__init__()
        self.in_channels, self.channels = in_channels, channels
        convolution = nn.Conv2d(self.stride**2 * in_channels, channels, 3, padding=1)
        self.layer = nn.Sequential(convolution, nn.GroupNorm(GROUPS, channels), nn.GELU())

    def forward(self, image: Tensor) -> Tensor:
        return self.layer(F.pixel_unshuffle(image, self.stride))


class EncoderEmbedding(nn.Module):
    """lambda of (1): EfficientNet-lite's features at strides 4, 8, ..., by 1 x 1 convolutions, summed at stride 4.

    Image (B, in_channels, H, W), -1 ... 1. encoder, levels: as in EfficientNetLite, levels from 2 on; call
    `embedding.encoder.load_imagenet()` before training. channels: of h, a multiple of 8 (GroupNorm).
    """

    stride = 4
    multiple = stride * HALVINGS

    def __init__(self, *, in_channels: int = 3, channels: int = 48, encoder: str = "lite0", levels: int = 4) -> None:
        super().__init__()
        self.in_channels, self.channels = in_channels, channels
        self.encoder = EfficientNetLite(encoder, in_channels=in_channels, levels=levels)
        self.lateral = nn.ModuleList(nn.Conv2d(width, channels, 1) for width in self.encoder.channels[1:])
        self.norm = nn.GroupNorm(GROUPS, channels)

    def forward(self, image: Tensor) -> Tensor:
        finest, *coarser = (
            lateral(feature) for lateral, feature in zip(self.lateral, self.encoder(image)[1:], strict=True)
        )
        for each in coarser:
            finest = finest + F.interpolate(each, finest.shape[2:], mode="bilinear")
        return self.norm(finest)


class ImageEvolution(Recorded):
    """Image (B, in_channels, H, W) of any size -> signed distance (B, out_channels, H, W), in pixels, positive inside.

    embedding: lambda of (1). features: widths of f (BasicUNet's six numbers, multiples of 8).
    band: s in (1), in pixels; the same number as the loss's.
    """

    def __init__(
        self,
        *,
        embedding: FoldedEmbedding | EncoderEmbedding,
        out_channels: int = 1,
        features: Sequence[int] = (24, 24, 48, 64, 64, 24),
        band: float = 4.0,
        solver: Solver = MIDPOINT,
    ) -> None:
        super().__init__()
        self.embedding, self.band = embedding, band
        self.example_shape = (1, embedding.in_channels, EDGE, EDGE)
        self.flow = NodeUNet(embedding.channels, features=features, solver=solver)
        self.projection = nn.Conv2d(embedding.channels, out_channels * embedding.stride**2, 1)

    def forward(self, image: Tensor, counts: Counts | None = None) -> Tensor:
        """phi of (1); `counts` receives the evaluations of f."""
        return self._distance(self.flow(self._start(image), counts), image)

    def trajectory(self, image: Tensor) -> tuple[list[float], Tensor]:
        """Times from 0 to 1 and s psi(h(t)) at them, (times, B, out_channels, H, W)."""
        times, states = self.flow.trajectory(self._start(image))
        return times, torch.stack([self._distance(state, image) for state in states])

    def _start(self, image: Tensor) -> Tensor:
        return self.embedding(padded(image, self.embedding.multiple))

    def _distance(self, state: Tensor, image: Tensor) -> Tensor:
        k = self.embedding.stride
        return cropped(without_pattern(self.band * F.pixel_shuffle(self.projection(state), k), k), image)


def without_pattern(distance: Tensor, k: int) -> Tensor:
    """w * distance of (1), (B, C, H, W); beyond the border all is as at it. k: even."""
    whole = F.pad(distance, (k // 2,) * 4, mode="replicate")
    return F.avg_pool2d(F.avg_pool2d(whole, k, stride=1), 2, stride=1)
