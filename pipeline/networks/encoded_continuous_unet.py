r"""A continuous U-Net on an ImageNet encoder: the features of EfficientNet-lite, read by second-order blocks.

    z_i = (x_i, v_i) = 1x1(F_i) for the features F_i at stride 2^i,   z_0 = conv(image)                     (1)
    z <- B(z_n);   then B(1x1(z_i, interpolated z)) for i = n-1, ..., 0;   logits = 1x1(z)                  (2)

B solves x' = v, v' = f(x, v, t) (pipeline/ode/blocks.py) and (2) is the way up of networks/continuous_unet.py: only the
way down is the encoder's, so that v is g of the encoder's features on each level. Batch normalisation stays in the
encoder, outside every f. n is 5 with the whole encoder; its last level, at stride 32, holds three quarters of all
weights, and n = 4 leaves it out.

Not from the papers: Cheng et al. (2024) train from nothing. Made because a few hundred images teach a decoder, but not
what an image looks like.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from pipeline.errors import InputError
from pipeline.networks.continuous_unet import Decoder, Frame, cropped, padded
from pipeline.networks.efficientnet_lite import LEVELS, EfficientNetLite
from pipeline.networks.recorded import EDGE, Recorded
from pipeline.networks.unet_blocks import BlockName
from pipeline.ode.blocks import RK4, convolution
from pipeline.ode.solve import Solver


class EncodedContinuousUNet(Recorded):
    """Image (B, in_channels, H, W), -1 ... 1, -> logits (B, out_channels, H, W); any size, as ContinuousUNet.

    encoder: lite0, lite1 or lite2; call `network.encoder.load_imagenet()` before training.
    filters: channels of x at strides 1, 2, 4, ..., up to 32. The default and lite0 have 3.68 million parameters,
        0.98 million without the last number.
    block, solver: as in ContinuousUNet; a discrete block makes the same network without differential equations.

    InputError: fewer than two or more than six filters, no such encoder or block.
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
        if not 2 <= len(filters) <= 1 + LEVELS:
            raise InputError(
                f"filters is {list(filters)}, it must have two to six numbers, for strides 1, 2, ... up to {2**LEVELS}"
            )
        self.example_shape = (1, in_channels, EDGE, EDGE)
        self.encoder = EfficientNetLite(encoder, in_channels=in_channels, levels=len(filters) - 1)
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
        whole = padded(image, self.encoder.stride)
        features = zip(self.states, self.encoder(whole), strict=True)
        states = [self.start(whole), *(state(feature) for state, feature in features)]
        states[-1] = self.deepest(states[-1])
        return cropped(self.head(self.decoder(states)), image)

    def start_from(self, weights: Mapping[str, Tensor]) -> EncodedContinuousUNet:
        """Take what fits of a trained network's weights, one with more levels, say; the rest keeps its start.

        InputError: nothing fits.
        """
        own = self.state_dict()
        fitting = {name: each for name, each in weights.items() if name in own and own[name].shape == each.shape}
        if not fitting:
            raise InputError("the weights are those of another kind of network: none of them fits")
        self.load_state_dict(fitting, strict=False)
        return self
