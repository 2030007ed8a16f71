"""From what a network gives to labels on the input's own grid: nothing of a volume's size is made but these."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from pipeline.inference.patches import VolumePatchInferer
from pipeline.inference.slabs import AxialSlabs, Intensity
from pipeline.inference.slices import AxialSliceInferer
from pipeline.io.orientation import canonical_order
from pipeline.io.volume import Volume


def label_volume(
    image: Volume,
    network: Callable[[Tensor], Tensor],
    *,
    intensity: Intensity,
    inferer: AxialSliceInferer | VolumePatchInferer,
    device: torch.device,
) -> Volume:
    """Labels of a volume, uint8, with its shape, affine and memory order, decided on its own grid.

    `intensity` must act voxel by voxel: it is shown slabs of the volume.
    """
    if isinstance(inferer, VolumePatchInferer):
        return _by_patches(image, network, intensity=intensity, inferer=inferer, device=device)
    return _by_slices(image, network, AxialSlabs(image, intensity=intensity, inferer=inferer, device=device))


def _by_slices(image: Volume, network: Callable[[Tensor], Tensor], slabs: AxialSlabs) -> Volume:
    """{phi > 0} of a 2-D network of one output channel."""
    labels = np.zeros_like(image.array, dtype=np.uint8)
    canonical = slabs.canonical(labels)  # a view: what is written here lies in `labels` in the image's order
    for slices, images in slabs:
        distances = network(images)[:, 0]
        found = (distances > 0).flatten(1).any(dim=1).nonzero().flatten()
        for k, mask in zip(found.tolist(), slabs.grid.to_volume(distances[found]) > 0, strict=True):
            canonical[:, :, slices[k]] = mask.cpu().numpy()
    return Volume(labels, image.affine)


def _by_patches(
    image: Volume,
    network: Callable[[Tensor], Tensor],
    *,
    intensity: Intensity,
    inferer: VolumePatchInferer,
    device: torch.device,
) -> Volume:
    """From the logits of a 3-D network."""
    order, flips = canonical_order(image)
    scan = image.array.transpose(order)
    grid = inferer.grid(scan.shape, [image.spacing_mm[axis] for axis in order], flips=flips, device=device)

    def scaled(slices: range) -> Tensor:
        slab = torch.from_numpy(scan[None, :, :, slices.start : slices.stop].astype(np.float32)).to(device)
        return torch.as_tensor(intensity({"image": slab})["image"]).as_subclass(Tensor)

    logits = inferer.tiled(grid.to_network((slices, scaled(slices)) for slices in grid.slabs()), network)
    labels = np.zeros_like(image.array, dtype=np.uint8)
    canonical = labels.transpose(order)  # a view, as above
    for slices in grid.slabs():
        if len(logits) > 1 or bool((grid.along_s(logits, slices) > 0).any()):
            decided = _decided(grid.to_volume(logits, slices))
            canonical[:, :, slices.start : slices.stop] = decided.to(torch.uint8).cpu().numpy()
    return Volume(labels, image.affine)


def _decided(logits: Tensor) -> Tensor:
    """(C, *spatial) -> labels (*spatial). One channel: 1 where it is positive (a probability above one half); several:
    the index of the largest."""
    return logits[0] > 0 if len(logits) == 1 else logits.argmax(dim=0)
