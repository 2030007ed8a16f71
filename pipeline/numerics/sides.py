"""Left and right: which of two paired organs a part of a mask is, by the side of the body on which it lies.

The plane between the sides lies at the mean place, from left to right, of the body's voxels in the slices that hold the
mask. A part (voxels that share faces) is of the side that has most of it; one of which both sides have a fair share is
two organs that touch, and is cut at the plane.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

LEFT, RIGHT = 1, 2
FAIR_SHARE = 0.2  # of a part on its lesser side, from which on it is two organs


def left_and_right(
    mask: NDArray[np.bool_], image: NDArray[np.floating], *, body_above: float
) -> tuple[NDArray[np.uint8], float]:
    """Mask (X, Y, S) in RAS+ order -> LEFT and RIGHT, and how many voxels the nearest of its voxels is from the plane.

    image: of the mask's shape; above `body_above` lies the body. Without any, the plane is the grid's middle. The
    distance is 0 where a part reaches across the plane, and infinite for an empty mask.
    """
    sided = np.zeros(mask.shape, np.uint8)
    slices = np.flatnonzero(mask.any(axis=(0, 1)))
    if not len(slices):
        return sided, np.inf
    body = np.zeros(len(mask))
    for k in slices:  # one after the other: a mask of the whole body would hold memory
        body += (image[:, :, k] > body_above).sum(axis=1)
    plane = float(np.average(np.arange(len(mask)), weights=body if body.any() else None))
    held = slice(slices[0], slices[-1] + 1)
    places = np.nonzero(mask[:, :, held])
    numbers, count = ndimage.label(mask[:, :, held])
    part, beyond = numbers[places] - 1, places[0] > plane
    share = np.bincount(part, beyond, count) / np.bincount(part, minlength=count)  # of each part, on the right
    cut = (share > FAIR_SHARE) & (share < 1 - FAIR_SHARE)
    right = np.where(cut[part], beyond, (share > 0.5)[part])
    sided[:, :, held][places] = np.where(right, RIGHT, LEFT)
    crossing = ((share > 0) & (share < 1)).any()
    return sided, 0.0 if crossing else float(np.abs(places[0] - plane).min())
