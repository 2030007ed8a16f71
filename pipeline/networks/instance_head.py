r"""The second stage of deep variational instance segmentation: is a candidate an object, and how well does it fit one?

    crops   RoIAlign of the features and of the candidate's mask on its box, widened by a margin on each side   (1)
    S_cls   probability that the candidate is an object;  S_iou  its IoU with the object that it fits best      (2)
    score   alpha S_iou + (1 - alpha) S_cls                                                                     (3)

RoIAlign divides a box into bins and takes in each the mean of bilinear samples at fixed places: nothing is rounded to
pixels. A sample of a map at (y, x), the first pixel's centre at (1/2, 1/2), beyond the map its nearest pixel's value.

Reference: Yuan, Chen, Li (NeurIPS 2020), section 4 and its supplement's 4; RoIAlign: He et al., Mask R-CNN (ICCV 2017).
As in the paper: seven layers. Not from the paper, which is silent: their widths, the margin, the 14 x 14 bins.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from monai.networks.blocks import Convolution
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.networks.instance_net import InstanceNet
from pipeline.networks.recorded import Recorded

SAMPLES = 2  # along each axis of a bin
NORM = ("GROUP", {"num_groups": 1})  # a candidate's score depends on no other's, and what is dark stays dark


@dataclass(frozen=True, eq=False, kw_only=True)
class Candidates:
    """Objects that may overlap: each is the pixels of one number in one of several maps. All on one device.

    maps: (M, H, W), whole numbers. map, number: (N,) which. boxes: (N, 4), float32, as in `roi_align`, around them.
    """

    maps: Tensor
    map: Tensor
    number: Tensor
    boxes: Tensor


def roi_align(features: Tensor, boxes: Tensor, *, size: int) -> Tensor:
    """Features (C, H, W) in boxes (N, 4) -> (N, C, size, size).

    boxes: top, left, bottom, right in pixels, edges rather than centres: the whole map is (0, 0, H, W).
    """
    rows, columns = _samples(boxes, size)
    height, width = features.shape[-2:]
    down, across = 2 * rows / height - 1, 2 * columns / width - 1
    shape = (len(boxes), size * SAMPLES, size * SAMPLES)
    grid = torch.stack([across[:, None, :].expand(shape), down[:, :, None].expand(shape)], dim=-1).to(features.dtype)
    below = grid.reshape(1, -1, shape[2], 2)  # each box below the one before: the map is not copied
    sampled = F.grid_sample(features[None], below, padding_mode="border", align_corners=False)[0]
    return F.avg_pool2d(sampled.unflatten(1, shape[:2]).movedim(1, 0), SAMPLES)


def aligned_masks(candidates: Candidates, boxes: Tensor, *, size: int) -> Tensor:
    """(N, 1, size, size): the share of a bin's samples that lie in pixels of the candidate; beyond the map is none."""
    rows, columns = _samples(boxes, size)
    height, width = candidates.maps.shape[-2:]
    inside = ((rows >= 0) & (rows < height))[:, :, None] & ((columns >= 0) & (columns < width))[:, None, :]
    y, x = rows.long().clamp(0, height - 1)[:, :, None], columns.long().clamp(0, width - 1)[:, None, :]
    found = candidates.maps[candidates.map[:, None, None], y, x] == candidates.number[:, None, None]
    return F.avg_pool2d((found & inside)[:, None].float(), SAMPLES)


def _samples(boxes: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Where the samples of (N, 4) boxes lie: rows and columns, (N, size * SAMPLES) each."""
    places = (torch.arange(size * SAMPLES, device=boxes.device) + 0.5) / (size * SAMPLES)
    top, left, bottom, right = boxes[:, :, None].unbind(dim=1)
    return top + (bottom - top) * places, left + (right - left) * places


class InstanceHead(nn.Module):
    """Seven layers: crops (N, in_channels + 1, size, size), the mask last, -> logits of S_cls and S_iou, (N, 2).

    in_channels: of the features. margin: by which a box is widened on each side, as a share of its own size.
    alpha: of (3); 0 is the classification alone.
    """

    def __init__(
        self,
        *,
        in_channels: int = 20,
        filters: Sequence[int] = (32, 48, 64),
        size: int = 14,
        margin: float = 0.25,
        alpha: float = 0.5,
    ) -> None:
        super().__init__()
        self.size, self.margin, self.alpha = size, margin, alpha
        widths = [in_channels + 1, *(width for width in filters for _ in range(2))]
        self.layers = nn.Sequential(
            *(
                Convolution(2, a, b, strides=2 if k in (2, 4) else 1, act="RELU", norm=NORM, adn_ordering="NA")
                for k, (a, b) in enumerate(pairwise(widths))
            )
        )
        self.last = nn.Linear(filters[-1], 2)

    def forward(self, features: Tensor, candidates: Candidates) -> Tensor:
        """Logits (N, 2) of candidates. features: (in_channels, H, W)."""
        boxes = candidates.boxes
        height, width = (boxes[:, 2:] - boxes[:, :2]).unbind(dim=1)
        wide = boxes + self.margin * torch.stack([-height, -width, height, width], dim=1)
        crops = roi_align(features, wide, size=self.size)
        masks = aligned_masks(candidates, wide, size=self.size)
        return self.last(self.layers(torch.cat([crops, masks.to(crops)], dim=1)).mean(dim=(2, 3)))

    def scores(self, logits: Tensor) -> Tensor:
        """Equation (3), (N,)."""
        classified, overlap = logits.sigmoid().unbind(dim=1)
        return self.alpha * overlap + (1 - self.alpha) * classified


class VerifiedInstanceNet(Recorded):
    """A map network and a head: image (B, C, H, W) -> (B, 1 + filters + C, H, W), f and the head's features.

    The features are what the network's last layer sees, and the image: fixed maps, which tile as f does. The head
    itself runs on candidates, where these are known: inference/verification.py. The map network is trained by itself,
    before, and learns nothing here.
    """

    def __init__(self, *, network: InstanceNet, head: InstanceHead) -> None:
        super().__init__()
        self.example_shape = network.example_shape
        self.network, self.head = network, head

    def start_from(self, weights: Mapping[str, Tensor]) -> VerifiedInstanceNet:
        """Load trained weights: of both, or of a map network or its rival alone, as `InstanceNet.start_from` does."""
        if any(name.startswith("network.") for name in weights):
            self.load_state_dict(weights)
        else:
            self.network.start_from(weights)
        return self

    def train(self, mode: bool = True) -> VerifiedInstanceNet:
        super().train(mode)
        self.network.eval()  # its norms keep what they have learned
        return self

    def forward(self, image: Tensor) -> Tensor:
        with torch.no_grad():
            features = self.network.features(image)
            return torch.cat([self.network.head(features), features, image.to(features)], dim=1)
