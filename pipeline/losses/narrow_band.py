r"""Mean squared error of two signed distance maps inside a soft narrow band around their contours.

    L(p, q) = mean over pixels of (tanh(p / s) - tanh(q / s))^2                                             (1)

p is the predicted and q the true signed distance, s the half-width of the band, all in one unit (pixels). tanh
saturates where both maps agree to be far inside or outside, so that the loss looks at the contour; s -> infinity gives
plain MSE (times s^-2), s = 1 starves contours that are far away of gradient. The paper names the tanh of the evolved
map only; the target is squashed too, otherwise |q| > 1 could not be reached.

`OverlapBandLoss` adds what the map segments, {p > 0}, since (1) alone learns it slowly:

    L(p, q) = cross-entropy and 1 - Dice of sigmoid(p) and {q > 0} + w (1)                                  (2)

with p in pixels: sigmoid(p) is a mask whose edge is a pixel or two wide.

Reference: Valle et al., Neural ODEs for Image Segmentation with Level Sets (2019), section 3.2; (2) is not from there.
"""

from __future__ import annotations

import torch
from monai.losses import DiceCELoss
from torch import Tensor, nn


def narrow_band_error(prediction: Tensor, target: Tensor, band: float) -> Tensor:
    """Squared difference of the squashed maps, per pixel, without reduction; shapes must be equal."""
    return (torch.tanh(prediction / band) - torch.tanh(target / band)).square()


class NarrowBandLoss(nn.Module):
    """Loss (1) on maps of shape (B, C, *spatial).

    band: s, in the unit of the maps. The default of 4 pixels puts two thirds of the weight within 3 pixels of the
    contour.
    """

    def __init__(self, *, band: float = 4.0) -> None:
        super().__init__()
        if band <= 0:
            raise ValueError(f"band is {band}, it must be a positive length in the unit of the distance maps")
        self.band = band

    def forward(self, prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """Scalar loss in float32; `mask` (broadcastable, 1 = counts) leaves padded pixels out. 0 if nothing counts."""
        if prediction.shape != target.shape:
            raise ValueError(
                f"prediction {tuple(prediction.shape)} and target {tuple(target.shape)} must be equal in shape"
            )
        error = narrow_band_error(prediction.float(), target.float(), self.band)
        if mask is None:
            return error.mean()
        weight = mask.to(error).expand_as(error)
        return (error * weight).sum() / weight.sum().clamp(min=1)


class OverlapBandLoss(nn.Module):
    """Loss (2) on maps of shape (B, 1, *spatial), in pixels.

    band: as in NarrowBandLoss; weight: w. Dice is taken over the whole batch, so that images without the object count
    by their false pixels and no more.
    """

    def __init__(self, *, band: float = 4.0, weight: float = 10.0) -> None:
        super().__init__()
        self.near, self.weight = NarrowBandLoss(band=band), weight
        self.overlap = DiceCELoss(sigmoid=True, batch=True)

    def forward(self, prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """Scalar loss in float32; `mask` (broadcastable, 1 = counts) leaves padded pixels out. 0 if nothing counts."""
        near = self.near(prediction, target, mask)
        p, inside = prediction.float(), (target > 0).float()
        if mask is not None:
            counts = mask.expand_as(p) > 0
            if not counts.any():
                return near
            p, inside = p[counts][None, None], inside[counts][None, None]  # where a pixel lies is nothing to (2)
        return self.overlap(p, inside) + self.weight * near
