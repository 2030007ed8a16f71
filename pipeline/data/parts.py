"""Stray parts of labels whose objects are whole: an organ is one piece, so the large piece is it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from monai.transforms import Transform
from monai.utils import convert_to_dst_type
from numpy.typing import NDArray
from scipy import ndimage

from pipeline.io.volume import by_memory


class LargestParts(Transform):
    """Labels (*spatial) or (1, *spatial), array or tensor -> those without their small parts.

    A part is what hangs together by faces. objects: how many a label stands for, each in one piece. A label keeps so
    many parts, its largest, and others with at least `least_share` of the voxels of the least of these (0: all of them,
    1: its equals alone), since which of two alike is the organ, size does not tell.

    ValueError: objects is below 1, or least_share not within 0 and 1.
    """

    def __init__(self, *, objects: int = 1, least_share: float) -> None:
        if objects < 1 or not 0 <= least_share <= 1:
            raise ValueError(f"objects is {objects}, least_share {least_share}: at least 1, and from 0 to 1")
        self.objects, self.least_share = objects, least_share

    def __call__(self, labels: Any) -> Any:
        found = torch.as_tensor(labels).cpu().numpy()
        kept = np.where(self.small(found.astype(np.uint8, copy=False)), 0, found)
        return convert_to_dst_type(kept, labels)[0]

    def small(self, labels: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Where those parts are that are not kept."""
        axes = by_memory(labels)
        small = np.zeros_like(labels, bool)  # of the same layout
        found, out = labels.transpose(axes), small.transpose(axes)
        for label, box in enumerate(ndimage.find_objects(found), start=1):
            if box is not None:
                numbers, _ = ndimage.label(found[box] == label)
                sizes = np.bincount(numbers.ravel())[1:]
                least = np.sort(sizes)[-self.objects :][0]  # of the largest parts, or of all where they are fewer
                out[box] |= np.append(False, sizes < self.least_share * least)[numbers]
        return small
