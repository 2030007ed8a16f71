"""Augmentation of pictures with many numbered objects: of every size, in crowds, bright beside dim, in haze.

Pictures from one microscope have objects of one size, few are crowded, and most lie in one plane of focus. A network
that has seen each size, each density and each depth in every kind of picture does not take them for a mark of the kind.

References: Stringer et al., Cellpose (Nature Methods 2021), for sizes made alike; Ghiasi et al., Simple copy-paste is a
strong data augmentation method for instance segmentation (CVPR 2021). Not from there: objects are pasted from the
picture's own mirror image, which has its light and its stain, and none is mostly hidden; RandObjectContrast, RandHazed.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, Randomizable, Zoom
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from torch import Tensor

MIRRORS = ([1], [2], [1, 2])  # axes of (C, rows, columns)


class RandObjectSized(MapTransform, Randomizable):
    """Enlarges or shrinks pictures so that their median object has an area drawn log-uniformly from `area` (pixels).

    keys: of image (C, rows, columns) and label (1, rows, columns), whose values number the objects, in this order.
    zoom: least and greatest factor of length. side: pixels below which no side is shrunk, those of a crop, as padding
        would mirror objects. prob: of being resized at all. A picture without objects stays as it is.
    """

    def __init__(
        self,
        keys: KeysCollection,
        *,
        area: tuple[float, float] = (50.0, 1500.0),
        zoom: tuple[float, float] = (0.4, 2.5),
        side: int = 0,
        prob: float = 0.7,
    ) -> None:
        super().__init__(keys)
        self.area, self.zoom, self.side, self.prob = area, zoom, side, prob

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        sample = dict(data)
        image, label = self.keys
        drawn, wanted = self.R.random_sample(), np.exp(self.R.uniform(*np.log(self.area)))
        numbers = _numbers(sample[label])
        areas = np.bincount(numbers.ravel())[1:]
        if drawn < self.prob and areas.any():
            factor = np.clip(np.sqrt(wanted / np.median(areas[areas > 0])), *self.zoom)
            factor = float(max(factor, min(1.0, self.side / min(numbers.shape))))
            smooth = "area" if factor < 1 else "bilinear"
            sample[image] = Zoom(factor, mode=smooth, keep_size=False)(sample[image])
            sample[label] = Zoom(factor, mode="nearest", keep_size=False)(sample[label])
        return sample


class RandCopyPasted(MapTransform, Randomizable):
    """Pastes objects of a picture's own mirror image onto it.

    keys: as in RandObjectSized. prob: of pasting any; then one to `times` times, each onto what the last has left. Of
        each object of the mirror image a coin decides; those that would hide, or be hidden by, more than `overlap` of
        either's area are left out. So many come to touch.
    blur: standard deviation in pixels of the seam.
    """

    def __init__(
        self, keys: KeysCollection, *, prob: float = 0.3, times: int = 1, overlap: float = 0.3, blur: float = 0.7
    ) -> None:
        super().__init__(keys)
        self.prob, self.times, self.overlap, self.blur = prob, times, overlap, blur

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        sample = dict(data)
        image, label = self.keys
        drawn, times = self.R.random_sample(), self.R.randint(self.times) + 1
        for _ in range(times if drawn < self.prob else 0):
            axes = MIRRORS[self.R.randint(len(MIRRORS))]
            here = torch.as_tensor(sample[image]).as_subclass(Tensor)
            numbers = _numbers(sample[label])
            pasted = self._pasted(numbers, np.flip(numbers, tuple(axis - 1 for axis in axes)))
            seam = torch.from_numpy(gaussian_filter((pasted > 0).astype(np.float32), self.blur))
            sample[image] = here + seam * (here.flip(axes) - here)
            both = np.where(pasted > 0, pasted + numbers.max(), numbers)
            sample[label] = torch.from_numpy(both.astype(np.float32))[None]
        return sample

    def _pasted(self, below: NDArray[np.int64], above: NDArray[np.int64]) -> NDArray[np.int64]:
        """The objects of `above` that are pasted; 0 elsewhere."""
        shape = (int(above.max()) + 1, int(below.max()) + 1)
        shared = np.bincount((above * shape[1] + below).ravel(), minlength=shape[0] * shape[1]).reshape(shape)
        hidden = shared / np.maximum(np.minimum.outer(shared.sum(1), shared.sum(0)), 1)
        kept = (hidden[:, 1:].max(axis=1, initial=0) <= self.overlap) & (self.R.random_sample(shape[0]) < 0.5)
        kept[0] = False
        return np.where(kept[above], above, 0)


class RandObjectContrast(MapTransform, Randomizable):
    """Objects brighter or dimmer each by itself, as at several depths or with more or less of the stain:

        x' = b + G_blur * c (x - b),   b = G_reach * (o x) / G_reach * o,   o = 1 outside all objects, 0 on them

    c is 1 outside and on a share 1 - `share` of the objects, and on the others log-uniform in `factor`, drawn for each.

    keys: as in RandObjectSized; a picture without objects, or without anything outside, stays as it is. prob: of any
    change. reach, blur: standard deviations in pixels, of what counts as around an object and of its seam.
    """

    def __init__(
        self,
        keys: KeysCollection,
        *,
        factor: tuple[float, float] = (0.35, 1.25),
        share: float = 0.6,
        reach: float = 12.0,
        blur: float = 0.7,
        prob: float = 0.35,
    ) -> None:
        super().__init__(keys)
        self.factor, self.share, self.reach, self.blur, self.prob = factor, share, reach, blur, prob

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        sample = dict(data)
        image, label = self.keys
        numbers = _numbers(sample[label])
        if self.R.random_sample() < self.prob and 0 < np.count_nonzero(numbers) < numbers.size:
            here = _values(sample[image])
            low, high = np.log(self.factor)
            factors = np.exp(self.R.uniform(low, high, size=int(numbers.max()) + 1))
            factors[self.R.random_sample(factors.shape) > self.share] = 1.0
            factors[0] = 1.0
            seamless = gaussian_filter(factors[numbers].astype(np.float32), self.blur)
            around = np.stack([self._around(channel, numbers == 0) for channel in here])
            sample[image] = torch.from_numpy(around + seamless * (here - around))
        return sample

    def _around(self, channel: NDArray[np.float32], outside: NDArray[np.bool_]) -> NDArray[np.float32]:
        """b; the median of what is outside where that is beyond reach."""
        o, little = outside.astype(np.float32), np.float32(1e-3)
        mean = gaussian_filter(channel * o, self.reach) + little * np.median(channel[outside])
        return mean / (gaussian_filter(o, self.reach) + little)


class RandHazed(MapTransform, Randomizable):
    """Light from out of focus:   x' = (1 - a) x + a G_s * x.

    keys: of images (C, rows, columns). share, sigma: least and greatest a, drawn uniformly, and s in pixels, drawn
    log-uniformly. prob: of any haze.
    """

    def __init__(
        self,
        keys: KeysCollection,
        *,
        share: tuple[float, float] = (0.2, 0.75),
        sigma: tuple[float, float] = (3.0, 24.0),
        prob: float = 0.35,
    ) -> None:
        super().__init__(keys)
        self.share, self.sigma, self.prob = share, sigma, prob

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        sample = dict(data)
        drawn, a, s = self.R.random_sample(), self.R.uniform(*self.share), np.exp(self.R.uniform(*np.log(self.sigma)))
        for key in self.keys if drawn < self.prob else ():
            here = _values(sample[key])
            sample[key] = torch.from_numpy((1 - a) * here + a * gaussian_filter(here, (0, s, s))).float()
        return sample


def _values(image: Any) -> NDArray[np.float32]:
    return np.asarray(torch.as_tensor(image).as_subclass(Tensor), dtype=np.float32)


def _numbers(label: Any) -> NDArray[np.int64]:
    """(rows, columns) of a label (1, rows, columns)."""
    return np.asarray(torch.as_tensor(label).as_subclass(Tensor)[0].round().long())
