"""From what a network gives to labels on the input's own grid: nothing of a volume's size is made but these."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.inference.pictures import PictureInferer
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


def picture_labels(
    values: NDArray[np.float32],
    network: Callable[[Tensor], Tensor],
    *,
    intensity: Intensity,
    inferer: PictureInferer,
    device: torch.device,
) -> NDArray[np.uint8]:
    """Labels (rows, columns) of a picture (rows, columns, channels) of 0 ... 1, from logits on its own pixels.

    One channel of logits: 1 where it is positive (a probability above one half). Several: the index of the largest.
    """
    picture = torch.from_numpy(values).movedim(-1, 0).contiguous().to(device)  # rounds as in MONAI's engine
    scaled = torch.as_tensor(intensity({"image": picture})["image"]).as_subclass(Tensor)
    logits = inferer(scaled[None], network)[0]
    labels = logits[0] > 0 if len(logits) == 1 else logits.argmax(dim=0)
    return labels.to(torch.uint8).cpu().numpy()
