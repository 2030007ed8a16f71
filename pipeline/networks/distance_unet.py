r"""A U-Net that regresses the signed distance of an object: the regression of the level-set paper.

    phi = s * U(I),   segmentation {phi > 0}                                                                (1)

U is MONAI's BasicUNet with GroupNorm. A distance map is smooth, so U works on the image folded 2 x 2 into channels
(space to depth, exact and free) and unfolds its output: every pixel still gets a value of its own, and the most
expensive level, the one at full resolution, is not computed. s, the half-width of the narrow band, is the unit in which
U answers; its last bias starts at -2, "far outside", which is the truth for nearly all pixels and saves the first
epochs.

Reference: Valle et al., Neural ODEs for Image Segmentation with Level Sets (2019), section 4.4.1 ("UNet, regression").
Not from the paper: the folding, the start of the bias, the widths (the paper gives 5M parameters and no more).
"""

from __future__ import annotations

from collections.abc import Sequence

from monai.networks.nets import BasicUNet
from torch import Tensor, nn
from torch.nn import functional as F


class DistanceUNet(nn.Module):
    """(B, in_channels, H, W) -> (B, out_channels, H, W), signed distance in pixels, positive inside.

    features: widths of the five levels and of the last convolutions, as in BasicUNet; multiples of 8 (GroupNorm).
    band: s in (1), in pixels; the same number as the loss's.
    H and W must be even (ValueError): the configuration pads or resizes to such a size.
    """

    def __init__(
        self,
        *,
        in_channels: int = 1,
        out_channels: int = 1,
        features: Sequence[int] = (24, 48, 96, 192, 192, 24),
        band: float = 4.0,
    ) -> None:
        super().__init__()
        self.band, self.in_channels = band, in_channels
        self.unet = BasicUNet(
            spatial_dims=2,
            in_channels=4 * in_channels,
            out_channels=4 * out_channels,
            features=features,
            norm=("group", {"num_groups": 8}),
        )
        last = self.unet.final_conv
        nn.init.constant_(last.bias, -2.0)

    def forward(self, image: Tensor) -> Tensor:
        if image.shape[-2] % 2 or image.shape[-1] % 2:
            raise ValueError(f"image {list(image.shape)} must have an even height and width: pad it by one pixel")
        return self.band * F.pixel_shuffle(self.unet(F.pixel_unshuffle(image, 2)), 2)
