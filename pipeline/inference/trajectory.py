"""The contour on its way through an evolution, kept for the surroundings of the contours only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.inference.slabs import AxialSlabs
from pipeline.io.volume import Volume

MARGIN = 4  # voxels kept around the contours
TAKEN_OUT_MM = -1e-2  # what the level sets of a part that was taken out of the result are lowered to


@dataclass(frozen=True, eq=False)
class Trajectory:
    """{levels(t) > 0} at each of `times`, from 0 (the initial contour) to 1 (the result).

    levels: (*spatial, times) float32, signed distance in mm within a narrow band, in a box around all the contours; the
        affine is the box's. corner: the box's first voxel on the image's grid. pixel_mm: side of the network's pixel.
    """

    times: tuple[float, ...]
    levels: Volume
    corner: tuple[int, int, int]
    pixel_mm: float

    @property
    def uncertainty(self) -> Volume:
        """The chance that a voxel lies on the other side of the contour, float32, at most 1/2, on the grid of `levels`:

            u = exp(-|phi(1)| / tau) / 2,   tau = p / 2 + |phi(1) - phi(1/2)|                                   (1)

        as if the contour's place were wrong by a distance of Laplace's distribution, whose scale tau is how far the
        contour still moved in the second half of its time, and half a pixel p of the network, below which it cannot
        tell. Between two states of the solver levels are linear in time. It ranks voxels and cases; it is not
        calibrated.
        """
        levels, half = self.levels.array, int(np.searchsorted(self.times, 0.5))
        before, after = self.times[half - 1], self.times[half]
        weight = (0.5 - before) / (after - before)
        middle = (1 - weight) * levels[..., half - 1] + weight * levels[..., half]
        tau = self.pixel_mm / 2 + np.abs(levels[..., -1] - middle)
        return Volume(np.exp(-np.abs(levels[..., -1]) / tau) / 2, self.levels.affine)

    @property
    def doubt(self) -> float:
        """The sum of (1) over the result's volume, in voxels: the more, the less to be relied on; nan without one."""
        inside = int(np.count_nonzero(self.levels.array[..., -1] > 0))
        return float(self.uncertainty.array.sum(dtype=np.float64)) / inside if inside else float("nan")


class Recorder:
    """Collects the level sets of one slice after another; float16, which is exact to 0.01 pixel within the band."""

    def __init__(self, slabs: AxialSlabs, outside: float) -> None:
        self.slabs, self.outside = slabs, outside
        self.times: list[float] = []
        self.slices: dict[int, NDArray[np.float16]] = {}

    def add(self, k: int, times: list[float], levels: NDArray[np.float32]) -> None:
        """Levels (times, X, Y) of slice k in pixels of the network."""
        self.times = times
        self.slices[k] = levels.astype(np.float16)

    def trajectory(self, image: Volume, taken_out: NDArray[np.bool_]) -> Trajectory | None:
        """Everything in one box on the image's grid; None if there was no contour at any time."""
        if not self.slices:
            return None
        ever = np.zeros(image.spatial_shape, bool)
        seen = self.slabs.canonical(ever)
        for k, levels in self.slices.items():
            seen[:, :, k] = (levels > 0).any(axis=0)
        if not ever.any():
            return None
        box = _box(ever)
        levels = np.full((*(each.stop - each.start for each in box), len(self.times)), self.outside, np.float32)
        across, along, up = (box[axis] for axis in self.slabs.order)
        canonical = self.slabs.canonical(levels)
        for k in self.slices.keys() & set(range(up.start, up.stop)):
            canonical[:, :, k - up.start] = self.slices[k][:, across, along].transpose(1, 2, 0)
        levels *= self.slabs.pixel_mm
        levels[taken_out[box]] = np.minimum(levels[taken_out[box]], TAKEN_OUT_MM)
        corner = box[0].start, box[1].start, box[2].start
        affine = image.affine.copy()
        affine[:3, 3] += affine[:3, :3] @ corner
        return Trajectory(tuple(self.times), Volume(levels, affine), corner, self.slabs.pixel_mm)


def _box(mask: NDArray[np.bool_]) -> tuple[slice, slice, slice]:
    ends = [np.flatnonzero(mask.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
    stops = [min(int(i[-1]) + 1 + MARGIN, n) for i, n in zip(ends, mask.shape, strict=True)]
    x, y, z = (slice(max(int(i[0]) - MARGIN, 0), stop) for i, stop in zip(ends, stops, strict=True))
    return x, y, z
