"""Crops of one size from pictures of any size, the distance maps that teach them, and what of them is picture.

A crop larger than its picture holds all of it; the rest is padded and marked as not counting (losses/masked.py).
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, Randomizable
from torch import Tensor
from torch.nn import functional as F

from pipeline.numerics.signed_distance import signed_distance


class SignedDistanced(MapTransform):
    """Adds `distance`, the signed distance of the first key's mask (1, H, W), in pixels."""

    def __init__(self, keys: KeysCollection, distance: str = "distance") -> None:
        super().__init__(keys)
        self.distance = distance

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        mask = np.asarray(data[self.keys[0]])[0] > 0
        return {**data, self.distance: torch.from_numpy(signed_distance(mask))[None]}


@dataclass(frozen=True)
class Window:
    """`size` x `size` pixels from `start` (row, column) on; start is below 0 where the picture is smaller."""

    size: int
    start: tuple[int, int]

    def __call__(self, image: Tensor) -> Tensor:
        """(C, H, W) -> (C, size, size), 0 outside of the image."""
        sides = list(zip(self.start, image.shape[1:], strict=True))
        before_after = [n for low, length in reversed(sides) for n in (-low, low + self.size - length)]
        return F.pad(image, before_after)  # a negative amount of padding cuts


class RandPaddedCropd(MapTransform, Randomizable):
    """A Window of `size` pixels a side at a random place, and `mask` (1, size, size), 1 where there is picture.

    Where the picture is smaller than the window it lies in it, whole, at a random place; what is padded is 0.
    """

    def __init__(self, keys: KeysCollection, *, size: int, mask: str = "mask") -> None:
        super().__init__(keys)
        self.size, self.mask = size, mask

    def draw(self, shape: Sequence[int]) -> Window:
        """The random half, for pictures of this shape (H, W)."""
        spare = (length - self.size for length in shape)
        top, left = (self.R.randint(min(0, each), max(0, each) + 1) for each in spare)
        return Window(self.size, (top, left))

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        sample = dict(data)
        images = {key: torch.as_tensor(sample[key]) for key in self.keys}
        first = next(iter(images.values()))
        window = self.draw(first.shape[1:])
        cropped = {key: window(image) for key, image in images.items()}
        return {**sample, **cropped, self.mask: window(torch.ones_like(first[:1]))}
