r"""DeepLabV3+: features at stride 16, seen at several scales at once, and refined by features at stride 4.

    F_4, F_16 = ResNet(image),  its last stage dilated instead of strided                                   (1)
    z = 1x1([1x1(F_16), 3x3_6(F_16), 3x3_12(F_16), 3x3_18(F_16), mean(F_16)])                               (2)
    logits = 1x1(3x3(3x3([48 channels of F_4, z enlarged to stride 4])))   enlarged to the image            (3)

3x3_d is dilated by d. (2) is atrous spatial pyramid pooling. All parts are MONAI's: its ResNet, whose convolutions are
as torchvision's, and its Convolution.

Reference: Chen, Zhu, Papandreou, Schroff, Adam, Encoder-Decoder with Atrous Separable Convolution for Semantic Image
Segmentation, ECCV 2018, section 3. Not implemented: the Xception backbone, separable convolutions, output stride 8.
"""

from __future__ import annotations

from typing import Literal

import torch
from monai.networks.blocks import Convolution
from monai.networks.nets import ResNet
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.errors import InputError

# kind of block, and blocks in each stage
BACKBONES: dict[str, tuple[Literal["basic", "bottleneck"], list[int]]] = {
    "resnet18": ("basic", [2, 2, 2, 2]),
    "resnet50": ("bottleneck", [3, 4, 6, 3]),
    "resnet101": ("bottleneck", [3, 4, 23, 3]),
}
PLANES = [64, 128, 256, 512]  # of a stage's 3 x 3 convolutions; a bottleneck gives four times as many channels
DILATIONS = (6, 12, 18)  # of (2), at stride 16
WIDTH, LOW_WIDTH = 256, 48


class DeepLabV3Plus(nn.Module):
    """Image (B, in_channels, H, W) -> logits (B, out_channels, H, W), of any size.

    With 3 and 1 channels, 40.3 million parameters; 16.6 million with resnet18. In training a batch needs two pictures
    at least, for batch normalisation sees one value a channel in the mean of (2). InputError: no such backbone.
    """

    def __init__(self, *, in_channels: int = 3, out_channels: int = 1, backbone: str = "resnet50") -> None:
        super().__init__()
        if backbone not in BACKBONES:
            raise InputError(f"backbone is {backbone!r}, it must be one of {', '.join(BACKBONES)}")
        kind, blocks = BACKBONES[backbone]
        self.backbone = _resnet(kind, blocks, in_channels)
        low, *_, deep = (planes * (4 if kind == "bottleneck" else 1) for planes in PLANES)  # channels of F_4 and F_16
        _dilate(self.backbone.layer4)
        self.scales = nn.ModuleList([_layer(deep, WIDTH, kernel=1)])
        self.scales.extend(_layer(deep, WIDTH, kernel=3, dilation=dilation) for dilation in DILATIONS)
        self.mean = _layer(deep, WIDTH, kernel=1)
        self.join = nn.Sequential(_layer((2 + len(DILATIONS)) * WIDTH, WIDTH, kernel=1), nn.Dropout(0.1))
        self.low = _layer(low, LOW_WIDTH, kernel=1)
        self.refine = nn.Sequential(_layer(WIDTH + LOW_WIDTH, WIDTH, kernel=3), _layer(WIDTH, WIDTH, kernel=3))
        self.head = nn.Conv2d(WIDTH, out_channels, 1)

    def forward(self, image: Tensor) -> Tensor:
        low, deep = self.features(image)
        mean = self.mean(deep.mean(dim=(2, 3), keepdim=True)).expand(-1, -1, *deep.shape[2:])
        z = self.join(torch.cat([*(scale(deep) for scale in self.scales), mean], dim=1))  # (2)
        refined = self.refine(torch.cat([self.low(low), _enlarged(z, low)], dim=1))
        return _enlarged(self.head(refined), image)

    def features(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """(1): at strides 4 and 16."""
        net = self.backbone
        low = net.layer1(net.maxpool(net.act(net.bn1(net.conv1(image)))))
        return low, net.layer4(net.layer3(net.layer2(low)))


def _resnet(kind: Literal["basic", "bottleneck"], blocks: list[int], in_channels: int) -> ResNet:
    """As torchvision's. Not by name: MONAI's resnet18 has shortcuts that pass no gradient (its type A)."""
    return ResNet(
        kind,
        blocks,
        PLANES,
        spatial_dims=2,
        n_input_channels=in_channels,
        conv1_t_stride=2,
        shortcut_type="B",
        bias_downsample=False,
        feed_forward=False,
    )


def _dilate(stage: nn.Module) -> None:
    """Every stride of a ResNet's stage becomes 1, and its convolutions after that reach twice as far."""
    for part in stage.modules():
        if isinstance(part, nn.Conv2d):
            if part.kernel_size == (3, 3) and part.stride == (1, 1):
                part.dilation, part.padding = (2, 2), (2, 2)
            part.stride = (1, 1)


def _layer(inputs: int, outputs: int, *, kernel: int, dilation: int = 1) -> nn.Module:
    return Convolution(2, inputs, outputs, kernel_size=kernel, dilation=dilation, norm="BATCH", act="RELU", bias=False)


def _enlarged(values: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(values, like.shape[2:], mode="bilinear", align_corners=False)
