r"""Random transforms that know what a distance map is.

A similarity T (rotation, reflection, shift, zoom by z) of the image plane turns the signed distance phi of a mask into

    (z * phi) o T^-1                                                                                        (1)

exactly, so the distance is resampled like the image (no mask is re-thresholded, no transform recomputed) and scaled
by z.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, Randomizable
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True, kw_only=True)
class Similarity:
    """x_out = z R F x_in + shift about the image's centre; shift is a share of half the image's width."""

    zoom: float = 1.0
    angle: float = 0.0
    mirror: bool = False
    shift: tuple[float, float] = (0.0, 0.0)

    def __call__(self, image: Tensor, *, outside: float | None = None) -> Tensor:
        """Resample (C, H, W) bilinearly; beyond the border lies `outside`, or the border repeated when None."""
        c, s = math.cos(self.angle) / self.zoom, math.sin(self.angle) / self.zoom
        flip = -1.0 if self.mirror else 1.0
        pull = torch.tensor([[flip * c, flip * s], [-s, c]], dtype=image.dtype)  # the inverse: from output to input
        offset = -pull @ torch.tensor(self.shift, dtype=image.dtype)
        grid = F.affine_grid(torch.cat([pull, offset[:, None]], 1)[None], [1, *image.shape], align_corners=False)
        if outside is None:
            return F.grid_sample(image[None], grid, padding_mode="border", align_corners=False)[0]
        return F.grid_sample(image[None] - outside, grid, align_corners=False)[0] + outside


class RandSimilarityd(MapTransform, Randomizable):
    """Draws a Similarity and applies it to square images (C, H, H) and, by (1), to distance maps.

    keys: the images; distance_keys: the distance maps, in pixels.
    zoom: interval the zoom is drawn from, uniform in its logarithm; a zoom of 0.6 shows the
        patient in a field of view 1/0.6 as wide.
    max_angle in radians, max_shift as a share of half the width, each uniform; mirror: reflect every other sample
    (along x).
    outside: image value beyond the border.
    """

    def __init__(
        self,
        keys: KeysCollection,
        distance_keys: Sequence[str] = (),
        *,
        zoom: tuple[float, float] = (1.0, 1.0),
        max_angle: float = 0.0,
        max_shift: float = 0.0,
        mirror: bool = False,
        outside: float = 0.0,
    ) -> None:
        super().__init__(keys)
        if not 0 < zoom[0] <= zoom[1]:
            raise ValueError(f"zoom {zoom} must be an interval of positive numbers")
        self.distance_keys = tuple(distance_keys)
        self.zoom, self.max_angle, self.max_shift = zoom, max_angle, max_shift
        self.mirror, self.outside = mirror, outside

    def draw(self) -> Similarity:
        """The random half: a Similarity with the numbers of this sample."""
        low, high = np.log(self.zoom)
        return Similarity(
            zoom=float(np.exp(self.R.uniform(low, high))),
            angle=float(self.R.uniform(-self.max_angle, self.max_angle)),
            mirror=bool(self.mirror and self.R.random_sample() < 0.5),
            shift=tuple(self.R.uniform(-self.max_shift, self.max_shift, 2)),
        )

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        sample = dict(data)
        similarity = self.draw()
        for key in self.keys:
            sample[key] = similarity(torch.as_tensor(sample[key]), outside=self.outside)
        for key in self.distance_keys:
            sample[key] = similarity(torch.as_tensor(sample[key])) * similarity.zoom
        return sample
