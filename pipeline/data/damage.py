r"""Contours as other people draw them: too large, too small, beside the object, wobbly, with parts missing or added.

All of it is done to the distance map phi, where each damage is one operation:

    phi + c                grown or shrunk by c                  phi(x - d)              shifted by d
    phi + w, w smooth      wobbly                                max(phi, r - |x - x0|)  a blob of radius r added
    min(phi, |x - x0| - r)  a bite of radius r taken

The result is thresholded and its distance taken anew: a wrong contour must not betray the right one by level sets of
it that are left elsewhere in the map.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.engines.utils import PrepareBatch
from monai.transforms import MapTransform, Randomizable
from numpy.typing import NDArray
from scipy.ndimage import shift, zoom
from torch import Tensor, nn

from pipeline.numerics.precision import autocast
from pipeline.numerics.signed_distance import signed_distance

Map = NDArray[np.float32]


class RandContourDamaged(MapTransform, Randomizable):
    """Adds `initial`, a damaged copy of the 2-D distance map `distance_key`, both (1, H, W) in pixels.

    prob: of each damage. nothing: share of the samples whose initial contour is empty.
    grow, move, wobble: largest change of size, shift along an axis and wobble; radius: interval of the radii of blobs
        and bites; all in pixels. Each sample draws a severity from [0, 1] that scales the largest ones.
    """

    def __init__(
        self,
        distance_key: str,
        initial: str = "initial",
        *,
        prob: float = 0.35,
        nothing: float = 0.1,
        grow: float = 5.0,
        move: float = 8.0,
        wobble: float = 5.0,
        radius: tuple[float, float] = (3.0, 20.0),
    ) -> None:
        super().__init__(distance_key)
        self.initial = initial
        self.prob, self.nothing, self.grow, self.move, self.wobble = prob, nothing, grow, move, wobble
        self.radius = radius

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        sample = dict(data)
        true = np.asarray(sample[self.keys[0]], np.float32)[0]
        empty = self.R.random_sample() < self.nothing
        damaged = np.zeros(true.shape, bool) if empty else self.damage(true) > 0
        sample[self.initial] = torch.from_numpy(signed_distance(damaged))[None]
        return sample

    def damage(self, phi: Map) -> Map:
        """phi (H, W) after some of the operations above; now and then none, so that right contours are seen as well."""
        severity = self.R.random_sample()
        happens = dict(
            zip(("grow", "move", "wobble", "bite", "blob"), self.R.random_sample(5) < self.prob, strict=True)
        )
        if happens["move"]:
            phi = shift(phi, severity * self.R.uniform(-self.move, self.move, 2), order=1, mode="nearest")
        if happens["grow"]:
            phi = phi + severity * self.R.uniform(-self.grow, self.grow)
        if happens["wobble"]:
            phi = phi + severity * self.wobble * self._smooth_noise(phi.shape)
        if happens["bite"] and (phi > 0).any():
            phi = np.minimum(phi, -self._disc(phi.shape, severity, around=np.argwhere(phi > 0)))
        if happens["blob"]:
            middle = np.argwhere(np.ones(tuple(n // 2 for n in phi.shape))) + [n // 4 for n in phi.shape]
            phi = np.maximum(phi, self._disc(phi.shape, severity, around=middle))
        return phi

    def _disc(self, shape: tuple[int, ...], severity: float, *, around: NDArray[np.int_]) -> Map:
        """Signed distance of a random disc whose centre is one of `around`, (n, 2)."""
        centre = around[self.R.randint(len(around))]
        rows, columns = np.ogrid[: shape[0], : shape[1]]
        away = np.hypot(rows - centre[0], columns - centre[1])
        smallest, largest = self.radius
        return (smallest + severity * self.R.random_sample() * (largest - smallest) - away).astype(np.float32)

    def _smooth_noise(self, shape: tuple[int, ...]) -> Map:
        """A smooth field of unit variance at its knots, which lie from a few pixels to a kidney's width apart."""
        knots = self.R.randint(6, 30)
        coarse = self.R.standard_normal((knots, knots)).astype(np.float32)
        return zoom(coarse, [n / knots for n in shape], order=1, mode="nearest", grid_mode=True)


class PrepareInitialContour(PrepareBatch):
    """Batches for networks/contour_evolution.py: (image, true distance, (initial distance,), {}).

    The first `share` of each batch, which is shuffled, starts from the regressor's own contour, the rest from the
    damaged ones of RandContourDamaged: an evolution must mend the regressor's errors and anybody else's.
    regressor: image -> distance map; it gets no gradient.
    """

    def __init__(self, regressor: nn.Module, *, share: float = 0.5, mixed_precision: bool = True) -> None:
        self.regressor, self.share, self.mixed_precision = regressor, share, mixed_precision

    def __call__(
        self,
        batchdata: Mapping[str, Tensor],
        device: str | torch.device | None = None,
        non_blocking: bool = False,
        **_: object,
    ) -> tuple[Tensor, Tensor, tuple[Tensor], dict[str, Any]]:
        image, distance, initial = (
            batchdata[key].to(device, non_blocking=non_blocking) for key in ("image", "distance", "initial")
        )
        own = round(self.share * len(image))
        with torch.no_grad(), autocast(image.device.type, enabled=self.mixed_precision):
            regressed = self.regressor(image[:own]).float()
        return image, distance, (torch.cat([regressed, initial[own:]]),), {}
