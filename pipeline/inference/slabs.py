"""The axial slices of a volume as a network wants them, a few at a time: no array of the volume's size is made.

Axis order and flips are folded into views and matrices (square_grid.SquareGrid): no voxel is moved for orientation.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.inference.roads import Intensity
from pipeline.inference.square_grid import square_grid
from pipeline.io.orientation import canonical_order
from pipeline.io.volume import Volume

if TYPE_CHECKING:
    from pipeline.inference.slices import AxialSliceInferer


class AxialSlabs:
    """Iterate: (slices, images), `slices` a range of S and `images` (n, 1, size, size), scaled, on the network's grid.

    grid: the maps between the image's axial slices and the network's grid. pixel_mm: side of the network's pixel.
    spacing_px: of the image's pixels along the first two axes of `canonical`, in pixels of the network.
    """

    def __init__(
        self, image: Volume, *, intensity: Intensity, inferer: AxialSliceInferer, device: torch.device
    ) -> None:
        self.intensity, self.inferer, self.device = intensity, inferer, device
        self.order, flips = canonical_order(image)
        self.scan = self.canonical(image.array)
        along_x, along_y, _ = (image.spacing_mm[axis] for axis in self.order)
        self.grid = square_grid(self.scan.shape[:2], inferer.size, (along_x, along_y), flips[:2], str(device))
        self.pixel_mm = max(self.scan.shape[0] * along_x, self.scan.shape[1] * along_y) / inferer.size
        self.spacing_px = along_x / self.pixel_mm, along_y / self.pixel_mm

    def canonical(self, array: NDArray) -> NDArray:
        """A view of an array on the image's grid with its axes along R or L, A or P, and S or I; more may follow."""
        return array.transpose(*self.order, *range(3, array.ndim))

    def __iter__(self) -> Iterator[tuple[range, Tensor]]:
        depth, step = self.scan.shape[2], self.inferer.batch_size
        for slices in (range(start, min(start + step, depth)) for start in range(0, depth, step)):
            slab = np.moveaxis(self.scan[:, :, slices.start : slices.stop], 2, 0).astype(np.float32)
            scaled = torch.as_tensor(
                self.intensity({"image": torch.from_numpy(slab)[:, None].to(self.device)})["image"]
            )
            yield slices, self.grid.to_network(scaled.as_subclass(Tensor), self.inferer.air)
