r"""A continuous U-Net on an ImageNet encoder: the features of EfficientNet-lite, read by second-order blocks.

    z_i = (x_i, v_i) = 1x1(F_i) for the features F_i at stride 2^i,   z_0 = conv(image)                     (1)
    z <- B(z_5);   then B(1x1(z_i, interpolated z)) for i = 4, ..., 0;   logits = 1x1(z)                    (2)

B solves x' = v, v' = f(x, v, t) (pipeline/ode/blocks.py) and (2) is the way up of networks/continuous_unet.py: only the
way down is the encoder's, so that v is g of the encoder's features on each level. Batch normalisation stays in the
encoder, outside every f.

Not from the papers: Cheng et al. (2024) train from nothing. Made because a few hundred images teach a decoder, but not
what an image looks like.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from pipeline.errors import InputError
from pipeline.networks.continuous_unet import Decoder, Frame, cropped, padded
from pipeline.networks.efficientnet_lite import STRIDE, EfficientNetLite
from pipeline.networks.unet_blocks import BlockName
from pipeline.ode.blocks import RK4, convolution
from pipeline.ode.solve import Solver


class EncodedContinuousUNet(nn.Module):
    """Image (B, in_channels, H, W), -1 ... 1, -> logits (B, out_channels, H, W); any size, as ContinuousUNet.

    encoder: lite0, lite1 or lite2; call `network.encoder.load_imagenet()` before training.
    filters: channels of x at strides 1, 2, 4, 8, 16, 32. The default and lite0 have 3.68 million parameters.
    block, solver: as in ContinuousUNet; a discrete block makes the same network without differential equations.

    InputError: filters that are not six, no such encoder or block.
    """

    def __init__(
        self,
        *,
        in_channels: int = 3,
        out_channels: int = 1,
        encoder: str = "lite0",
        filters: Sequence[int] = (8, 16, 24, 40, 80, 112),
        block: BlockName = "second_order",
        solver: Solver = RK4,
    ) -> None:
        super().__init__()
        self.encoder = EfficientNetLite(encoder, in_channels=in_channels)
        if len(filters) != 1 + len(self.encoder.channels):
            raise InputError(f"filters is {list(filters)}, it must have six numbers, for strides 1 to {STRIDE}")
        frame = Frame(spatial_dims=2, block=block, mixed=False, solver=solver)
        widths = [frame.parts * channels for channels in filters]
        self.start = convolution(in_channels, widths[0], spatial_dims=2)
        self.states = nn.ModuleList(
            convolution(features, width, spatial_dims=2, kernel=1)
            for features, width in zip(self.encoder.channels, widths[1:], strict=True)
        )
        self.deepest = frame.block(filters[-1])
        self.decoder = Decoder(filters, frame=frame)
        self.head = convolution(widths[0], out_channels, spatial_dims=2, kernel=1)

    def forward(self, image: Tensor) -> Tensor:
        whole = padded(image, STRIDE)
        features = zip(self.states, self.encoder(whole), strict=True)
        states = [self.start(whole), *(state(feature) for state, feature in features)]
        states[-1] = self.deepest(states[-1])
        return cropped(self.head(self.decoder(states)), image)
