"""From a network's distance maps to labels on the input's own grid, a few slices at a time.

Nothing of the volume's size is made but the labels: slices are scaled, resampled, predicted and thresholded in slabs,
and axis order and flips are folded into views and matrices (slices.SquareGrid), so that no voxel is moved for
orientation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from pipeline.inference.slices import AxialSliceInferer, square_grid
from pipeline.io.orientation import canonical_order
from pipeline.io.volume import Volume


def label_volume(
    image: Volume,
    network: Callable[[Tensor], Tensor],
    *,
    intensity: Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]],
    inferer: AxialSliceInferer,
    device: torch.device,
) -> Volume:
    """{phi > 0} of a network of one output channel, uint8, with the image's shape, affine and memory order."""
    order, flips = canonical_order(image)
    scan = image.array.transpose(order)
    labels = np.zeros_like(image.array, dtype=np.uint8)
    canonical = labels.transpose(order)  # a view: what is written here lies in `labels` in the image's order
    spacing = [image.spacing_mm[axis] for axis in order]
    grid = square_grid(scan.shape[:2], inferer.size, (spacing[0], spacing[1]), flips[:2], str(device))
    for start in range(0, scan.shape[2], inferer.batch_size):
        slab = np.moveaxis(scan[:, :, start : start + inferer.batch_size], 2, 0).astype(np.float32)
        scaled = torch.as_tensor(intensity({"image": torch.from_numpy(slab)[:, None].to(device)})["image"])
        distances = network(grid.to_network(scaled.as_subclass(Tensor), inferer.air))[:, 0]
        found = (distances > 0).flatten(1).any(dim=1).nonzero().flatten()
        for k, mask in zip(found.tolist(), grid.to_volume(distances[found]) > 0, strict=True):
            canonical[:, :, start + k] = mask.cpu().numpy()
    return Volume(labels, image.affine)
