"""Geometry is a type: an array together with the affine that places its voxels in the patient."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Volume:
    """An image or a label map on its own grid.

    array: (*spatial[, channel]) with 2 or 3 spatial axes; a trailing axis beyond the affine's is the channel (RGB: 3).
    affine: (n + 1, n + 1) float64, n = number of spatial axes, voxel index -> millimetres; in 3-D the world axes are
        RAS+ (x grows to the patient's Right, y to Anterior, z to Superior), as in NIfTI. A picture whose pixel size is
        unknown has the identity: its unit is the pixel.
    """

    array: NDArray
    affine: NDArray[np.float64]

    def __post_init__(self) -> None:
        if self.affine.shape not in ((3, 3), (4, 4)):
            raise ValueError(f"affine of shape {self.affine.shape} must be (3, 3) for pictures or (4, 4) for volumes")
        if self.array.ndim - self.spatial_dims not in (0, 1):
            raise ValueError(f"array of shape {self.array.shape} does not fit an affine of {self.spatial_dims} axes")

    @property
    def spatial_dims(self) -> int:
        return self.affine.shape[0] - 1

    @property
    def spatial_shape(self) -> tuple[int, ...]:
        return self.array.shape[: self.spatial_dims]

    @property
    def spacing_mm(self) -> tuple[float, ...]:
        """Length in mm of one voxel step along each array axis."""
        steps = self.affine[: self.spatial_dims, : self.spatial_dims]
        return tuple(float(length) for length in np.linalg.norm(steps, axis=0))

    def same_grid(self, other: Volume, tolerance_mm: float = 1e-3) -> bool:
        """Whether both have one shape and every corner voxel lies within `tolerance_mm` of the other's."""
        if self.spatial_shape != other.spatial_shape:
            return False
        corners = np.array(np.meshgrid(*[(0, n - 1) for n in self.spatial_shape], indexing="ij"))
        corners = np.vstack([corners.reshape(self.spatial_dims, -1), np.ones(2**self.spatial_dims)])
        return bool(np.abs((self.affine - other.affine) @ corners).max() <= tolerance_mm)


def by_memory(array: NDArray) -> list[int]:
    """The axes as the array lies in memory: to walk it in another order takes several times as long."""
    return sorted(range(array.ndim), key=lambda axis: -abs(array.strides[axis]))
