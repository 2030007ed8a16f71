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
    """x_out = z R F x_in + shift about the image's centre, for images (C, X, Y).

    F reflects X (left and right of a patient whose slices are cut in RAS+ order) if `mirror`, R turns by `angle`
    radians, z is `zoom`; shift is (along Y, along X), as a share of half the image's width.
    """

    zoom: float = 1.0
    angle: float = 0.0
    mirror: bool = False
    shift: tuple[float, float] = (0.0, 0.0)

    def __call__(self, image: Tensor, *, outside: float | None = None) -> Tensor:
        """Resample (C, H, W) bilinearly; beyond the border lies `outside`, or the border repeated when None."""
        c, s = math.cos(self.angle) / self.zoom, math.sin(self.angle) / self.zoom
        flip = -1.0 if self.mirror else 1.0
        # the inverse, from output to input; torch counts (last axis, first axis) = (Y, X)
        pull = torch.tensor([[c, s], [-flip * s, flip * c]], dtype=image.dtype)
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
    max_angle in radians, max_shift as a share of half the width, each uniform; mirror: reflect X in every
        other sample.
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


class RandEnhancementd(MapTransform, Randomizable):
    r"""Shows the object in another phase of contrast agent, which a set of scans of one phase cannot teach.

    With mu the object's mean intensity, m = sigmoid(2 phi) its soft mask, a drawn mean t and a drawn contrast c,

        I' = I + m ((t - mu) + (c - 1) (I - mu))                                                                    (2)

    mean and contrast: intervals of t (in the units of the image) and c; prob: share of the samples that are changed.
    Slices without the object stay as they are, and draw as many numbers.
    """

    def __init__(
        self,
        keys: KeysCollection,
        distance_key: str,
        *,
        mean: tuple[float, float],
        contrast: tuple[float, float] = (1.0, 1.0),
        prob: float = 0.5,
    ) -> None:
        super().__init__(keys)
        self.distance_key, self.mean, self.contrast, self.prob = distance_key, mean, contrast, prob

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        sample = dict(data)
        happens, t, c = self.R.random_sample() < self.prob, self.R.uniform(*self.mean), self.R.uniform(*self.contrast)
        distance = torch.as_tensor(sample[self.distance_key])
        if happens and (distance > 0).any():
            soft = torch.sigmoid(2 * distance)
            for key in self.keys:
                image = torch.as_tensor(sample[key])
                mu = image[distance > 0].mean()
                sample[key] = image + soft * ((t - mu) + (c - 1) * (image - mu))
        return sample
