r"""Instances by three classes, the usual rival: interior, border and background, components and a watershed.

    border    pixels of an object within `width` pixels of another object or of the background             (1)
    seeds     components of p(interior) > 1/2 of `min_seed` pixels or more                                  (2)
    objects   seeds grown over p(background) < 1/2, from the highest p(interior) down; components of it     (3)
              that hold no seed, which are all border, are objects as they are

`ThreeClassesd` makes (1) of objects' numbers, for training; `ThreeClassGrouping` makes objects of what a network of
three outputs gives. Components and growth go by the four pixels beside, above and below; (1) by all eight.

Reference: Caicedo et al., Evaluation of deep learning strategies for nucleus segmentation in fluorescence images,
Cytometry A 95 (2019). Not from there: the border lies within the objects, so that small ones that are all border stay.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform
from numpy.typing import NDArray
from scipy.ndimage import label, maximum_filter, minimum_filter
from torch import Tensor

from pipeline.inference.grouping import grown

BACKGROUND, INTERIOR, BORDER = range(3)
LEVELS = (0.4, 0.3, 0.2, 0.1, -1.0)  # of p(interior): the watershed floods one after the other


class ThreeClassesd(MapTransform):
    """Objects' numbers (1, rows, columns) under `keys` -> 0 background, 1 interior, 2 border by (1), float32.

    width: of the border, in pixels. Comes after all transforms that move pixels.
    """

    def __init__(self, keys: KeysCollection, *, width: int = 1) -> None:
        super().__init__(keys)
        self.width = width

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        sample = dict(data)
        for key in self.keys:
            numbers = torch.as_tensor(sample[key]).as_subclass(Tensor).cpu().numpy()
            sample[key] = torch.from_numpy(np.stack([classes(each, width=self.width) for each in numbers])).float()
        return sample


@dataclass(frozen=True, kw_only=True)
class ThreeClassGrouping:
    """Logits (3, rows, columns) of background, interior and border -> objects 1, 2 ... (rows, columns), by (2), (3).

    min_seed, min_area: pixels of the least seed and of the least object.
    """

    min_seed: int = 4
    min_area: int = 20

    def __call__(self, outputs: NDArray[np.floating]) -> NDArray[np.int32]:
        background, interior, _ = _softmax(outputs)
        foreground = background < 0.5
        seeds = _large(label((interior > 0.5) & foreground)[0], self.min_seed)
        seedless = _without_seed(foreground, seeds)
        numbers = np.where(seedless > 0, seeds.max(initial=0) + seedless, seeds)
        for level in LEVELS:
            inside = np.flatnonzero(foreground & (interior > level) | (numbers > 0))
            numbers.ravel()[inside] = grown(numbers.ravel()[inside], inside, numbers.shape)
        return _large(numbers, self.min_area)


def classes(numbers: NDArray, *, width: int = 1) -> NDArray[np.uint8]:
    """Equation (1) of objects' numbers (rows, columns), 0 background; beyond the image's border all is as at it."""
    size = 2 * width + 1
    edge = maximum_filter(numbers, size, mode="nearest") != minimum_filter(numbers, size, mode="nearest")
    return np.where(numbers > 0, np.where(edge, BORDER, INTERIOR), BACKGROUND).astype(np.uint8)


def _without_seed(foreground: NDArray[np.bool_], seeds: NDArray[np.int32]) -> NDArray[np.int32]:
    """The foreground's components that hold no seed, numbered from 1."""
    blobs = label(foreground)[0]
    seeded = np.bincount(blobs[seeds > 0], minlength=int(blobs.max(initial=0)) + 1) > 0
    seeded[0] = True
    return np.where(seeded, 0, np.cumsum(~seeded))[blobs].astype(np.int32)


def _large(numbers: NDArray[np.int32], least: int) -> NDArray[np.int32]:
    """Without objects of fewer than `least` pixels, numbered anew from 1."""
    kept = np.bincount(numbers.ravel(), minlength=1) >= least
    kept[0] = False
    return np.where(kept, np.cumsum(kept), 0)[numbers].astype(np.int32)


def _softmax(logits: NDArray[np.floating]) -> NDArray[np.floating]:
    powers = np.exp(logits - logits.max(axis=0))
    return powers / powers.sum(axis=0)
