"""From a network's distance maps to labels on the input's own grid: nothing of the volume's size is made but these."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from pipeline.inference.slabs import AxialSlabs, Intensity
from pipeline.inference.slices import AxialSliceInferer
from pipeline.io.volume import Volume


def label_volume(
    image: Volume,
    network: Callable[[Tensor], Tensor],
    *,
    intensity: Intensity,
    inferer: AxialSliceInferer,
    device: torch.device,
) -> Volume:
    """{phi > 0} of a network of one output channel, uint8, with the image's shape, affine and memory order."""
    slabs = AxialSlabs(image, intensity=intensity, inferer=inferer, device=device)
    labels = np.zeros_like(image.array, dtype=np.uint8)
    canonical = slabs.canonical(labels)  # a view: what is written here lies in `labels` in the image's order
    for slices, images in slabs:
        distances = network(images)[:, 0]
        found = (distances > 0).flatten(1).any(dim=1).nonzero().flatten()
        for k, mask in zip(found.tolist(), slabs.grid.to_volume(distances[found]) > 0, strict=True):
            canonical[:, :, slices[k]] = mask.cpu().numpy()
    return Volume(labels, image.affine)
