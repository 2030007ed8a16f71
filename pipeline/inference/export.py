"""What is kept of a network's answer on the image's own grid: labels, probabilities, or all of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.inference.roads import Part
from pipeline.io.volume import Volume

CERTAIN = 65535  # what stands for a probability of 1


def label_volume(image: Volume, parts: Iterable[Part]) -> Volume:
    """Labels, uint8, with the image's shape, affine and memory order; 0 where there is no part.

    One channel: 1 where it is positive (a probability above one half); several: the index of the largest.
    """
    plane = image.array if image.array.ndim == image.spatial_dims else image.array[..., 0]
    labels = np.zeros_like(plane, dtype=np.uint8)
    for place, logits in parts:
        decided = logits[0] > 0 if len(logits) == 1 else logits.max(dim=0).indices  # argmax is 7 times slower
        labels[place] = decided.to(torch.uint8).cpu().numpy()
    return Volume(labels, image.affine)


def whole_logits(image: Volume, parts: Iterable[Part]) -> Tensor:
    """All logits (C, *spatial), 4 bytes a voxel and class: for what is decided about whole objects (priors.py).

    There must be a part for every place.
    """
    whole = None
    for place, logits in parts:
        if whole is None:
            whole = logits.new_empty(len(logits), *image.spatial_shape)
        whole[(slice(None), *place)] = logits
    if whole is None:
        raise ValueError("parts is empty: an image has one at least")
    return whole


def probabilities_beside(parts: Iterable[Part], probabilities: NDArray[np.uint16]) -> Iterator[Part]:
    """The same parts; of each that is taken, `probabilities` (*spatial, labels) receives the labels', CERTAIN for 1.

    Softmax over the channels, of one channel its sigmoid; the background is what the labels leave.
    """
    for place, logits in parts:
        chances = logits.sigmoid() if len(logits) == 1 else logits.softmax(dim=0)[1:]
        probabilities[place] = (CERTAIN * chances).round().to(torch.int32).movedim(0, -1).cpu().numpy()
        yield place, logits
