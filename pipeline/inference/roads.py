"""What an inferer offers beside MONAI's call: an image in, what the network says on the image's own grid, part by part.

Nothing of a volume's size is made on the way: whoever takes the parts (inference/export.py) decides what is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol, Self

import numpy as np
import torch
from torch import Tensor

from pipeline.io.volume import Volume

Network = Callable[[Tensor], Tensor]
Intensity = Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]]
Place = tuple[slice | list[int], ...]
# (place, logits): an index into an array on the image's grid, and (C, ...) of the shape that it picks out there
Part = tuple[Place, Tensor]


class Road(Protocol):
    """The inferer of a bundle whose network gives logits, or a distance map that is positive inside."""

    spatial_dims: int  # of the image it takes

    def parts(
        self, image: Volume, network: Network, *, intensity: Intensity, device: torch.device, everywhere: bool
    ) -> Iterator[Part]:
        """The parts of `image`, each place once.

        image: a volume without a channel; a picture with the network's channels, last, of 0 ... 1.
        intensity: acts voxel by voxel on volumes, for it is shown slabs of them.
        everywhere: also where the label is background for certain; else such parts may be left out.
        """

    def smaller(self) -> Self | None:
        """The same that holds less on the device at once, for the same parts; None: there is nothing smaller."""


def placed(logits: Tensor, order: Sequence[int], slices: range | list[int]) -> Part:
    """Logits (C, X, Y, slices) in the order of `canonical_order`, as a part in that of the image's own axes."""
    place: list[slice | list[int]] = [slice(None)] * 3
    place[order[2]] = slice(slices.start, slices.stop) if isinstance(slices, range) else slices
    return tuple(place), logits.permute(0, *(1 + int(axis) for axis in np.argsort(order)))
