r"""Signed Euclidean distance of a mask: positive inside, zero half a voxel beyond the outermost voxel centres.

With d the distance from a voxel centre to the nearest voxel centre of the other side, and s the spacing along the axis
on which that nearest voxel lies farthest away (the axis that is crossed),

    phi(x) = + (d(x) - s/2)   inside the mask
    phi(x) = - (d(x) - s/2)   outside                                                                       (1)

so that {phi > 0} is the mask exactly, and phi changes sign midway between neighbouring centres. A mask without a
contour has no distance: (1) is replaced by -(H + W [+ D]) everywhere for an empty mask and +(H + W [+ D]) for a full
one, lengths of the grid's edges in the unit of `spacing`, which is farther than any voxel can be. Every contour
evolution starts here.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt


def signed_distance(mask: NDArray[np.bool_], spacing: Sequence[float] | None = None) -> NDArray[np.float32]:
    """Signed distance (1) of a 2-D or 3-D boolean mask, in the unit of `spacing` (voxels when None).

    Raises ValueError for a mask that is not boolean or a spacing that does not have one positive entry per axis.
    """
    if mask.dtype != np.bool_:
        raise ValueError(f"mask has dtype {mask.dtype}, it must be bool: pass mask > 0")
    steps = np.ones(mask.ndim) if spacing is None else np.asarray(spacing, dtype=float)
    if steps.shape != (mask.ndim,) or not (steps > 0).all():
        raise ValueError(f"spacing {spacing} must have {mask.ndim} positive entries, one per axis of the mask")
    if not mask.any() or mask.all():
        far = float(np.dot(mask.shape, steps))
        return np.full(mask.shape, far if mask.any() else -far, dtype=np.float32)
    return (_beyond_half_a_voxel(mask, steps) - _beyond_half_a_voxel(~mask, steps)).astype(np.float32)


def narrow_band_distance(
    mask: NDArray[np.bool_], width: float, spacing: Sequence[float] | None = None
) -> NDArray[np.float32]:
    """`signed_distance` cut off at +-width, for the work of the mask's surroundings only."""
    steps = np.ones(mask.ndim) if spacing is None else np.asarray(spacing, dtype=float)
    cut = np.full(mask.shape, -width, dtype=np.float32)
    if mask.any():
        reach = np.ceil(width / steps + 0.5).astype(int) + 1  # beyond it every voxel lies farther than `width`
        inside = [np.flatnonzero(mask.any(axis=tuple(set(range(mask.ndim)) - {axis}))) for axis in range(mask.ndim)]
        box = tuple(slice(max(i[0] - r, 0), i[-1] + r + 1) for i, r in zip(inside, reach, strict=True))
        cut[box] = signed_distance(mask[box], steps.tolist()).clip(-width, width)
    return cut


def _beyond_half_a_voxel(inside: NDArray[np.bool_], steps: NDArray[np.float64]) -> NDArray[np.float64]:
    """d - s/2 on the voxels of `inside`, 0 elsewhere."""
    if np.ptp(steps) == 0:  # one spacing: the crossed axis does not matter, and the index map is not needed
        distance = distance_transform_edt(inside) * steps[0]
        return np.where(inside, distance - steps[0] / 2, 0.0)
    distance, nearest = distance_transform_edt(inside, sampling=steps, return_indices=True)
    offset = np.abs(nearest - np.indices(inside.shape)) * steps.reshape(-1, *[1] * inside.ndim)
    return np.where(inside, distance - steps[offset.argmax(axis=0)] / 2, 0.0)
