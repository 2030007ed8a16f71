"""A rival of the picture bundles: MONAI's FlexibleUNet decoder on the encoder of EncodedContinuousUNet.

MONAI's FlexibleUNet fetches its encoders' weights from the network; this one takes those that the bundles begin with.
    python -m monai.bundle run --config_file CONFIGS/train.yaml --dataset_dir DIR --output_dir OUT \\
      --network_def "{'_target_': 'flexible_rival.FlexibleRival', 'in_channels': 1}"
with tests/benchmarks in PYTHONPATH.
"""

from __future__ import annotations

from monai.networks.nets.flexible_unet import SegmentationHead, UNetDecoder
from torch import Tensor, nn

from pipeline.networks.efficientnet_lite import EfficientNetLite

DECODER_CHANNELS = (256, 128, 64, 32, 16)  # FlexibleUNet's default


class FlexibleRival(nn.Module):
    """Image (B, in_channels, H, W), -1 ... 1, sizes multiples of 32 -> logits (B, 1, H, W)."""

    def __init__(self, *, in_channels: int = 3) -> None:
        super().__init__()
        self.encoder = EfficientNetLite("lite0", in_channels=in_channels)
        self.decoder = UNetDecoder(
            spatial_dims=2,
            encoder_channels=[in_channels, *self.encoder.channels],
            decoder_channels=DECODER_CHANNELS,
            act=("relu", {"inplace": True}),
            norm=("batch", {"eps": 1e-3, "momentum": 0.1}),
            dropout=0.0,
            bias=False,
            upsample="nontrainable",
            pre_conv="default",
            interp_mode="nearest",
            align_corners=None,
            is_pad=True,
        )
        self.head = SegmentationHead(spatial_dims=2, in_channels=DECODER_CHANNELS[-1], out_channels=1, act=None)

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.decoder([image, *self.encoder(image)], skip_connect=4))
