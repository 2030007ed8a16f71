"""From a scan's own grid to the training grid: square slices, antialiased resampling, labels by area.

Arrays are (x, y, z) in canonical order (io/orientation.py): x to the patient's Right, y to Anterior, z to Superior; an
axial slice is array[:, :, k]. Edges of both grids coincide, so the affine follows from the shapes alone: an output
voxel covers n_in / n_out input voxels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.io.resample import resize
from pipeline.io.volume import Volume

SLAB = 32  # slices resampled at a time: the float32 copy of a scan of a thousand slices would not fit beside it


def target_shape(volume: Volume, size: int | None, spacing_mm: Sequence[float] | None) -> tuple[int, ...]:
    """(size, size, z) for squared slices, or as many voxels of `spacing_mm` as fill the scan, or its own shape."""
    if size is not None:
        return size, size, volume.spatial_shape[2]
    if spacing_mm is None:
        return volume.spatial_shape
    lengths_mm = zip(volume.spatial_shape, volume.spacing_mm, spacing_mm, strict=True)
    return tuple(max(1, round(n * step / wanted)) for n, step, wanted in lengths_mm)


def resample(
    array: NDArray, shape: Sequence[int], *, square: bool, fill: float, window: tuple[float, float] | None = None
) -> NDArray[np.float32]:
    """Resample (x, y, z) to `shape`, antialiased.

    Before that, values are clipped to `window`, and `square` pads each slice to a square with `fill`.
    """
    slices = array.shape[2]
    out = np.empty((shape[0], shape[1], slices), dtype=np.float32)
    for start in range(0, slices, SLAB):
        slab = array[:, :, start : start + SLAB].astype(np.float32)
        if window is not None:
            slab = slab.clip(*window)
        if square:
            slab = np.pad(slab, [*_square_padding(slab.shape), (0, 0)], constant_values=fill)
        out[:, :, start : start + SLAB] = resize(slab, shape[:2], axes=(0, 1))
    return resize(out, shape[2:], axes=(2,))


def resample_labels(labels: NDArray[np.uint8], shape: Sequence[int], *, square: bool) -> NDArray[np.uint8]:
    """Resample a label map by area.

    A voxel is foreground where more than half of it is (of any label), and then takes the label with the largest share.
    So the foreground does not depend on how it is divided into labels: merging before or after gives the same.
    """
    foreground = np.zeros(shape, dtype=np.float32)
    largest = np.zeros(shape, dtype=np.float32)
    out = np.zeros(shape, dtype=np.uint8)
    for value in values_in(labels):
        share = resample(labels == value, shape, square=square, fill=0)
        foreground += share
        larger = share > largest
        out[larger], largest[larger] = value, share[larger]
    return np.where(foreground > 0.5, out, np.uint8(0))


def resampled_affine(volume: Volume, shape: Sequence[int], *, square: bool) -> NDArray[np.float64]:
    """The affine of the grid that `resample` makes from the volume's."""
    padding = _square_padding(volume.spatial_shape) if square else [(0, 0), (0, 0)]
    to_input = np.eye(4)
    for axis, (n_in, n_out, (before, after)) in enumerate(
        zip(volume.spatial_shape, shape, [*padding, (0, 0)], strict=True)
    ):
        scale = (n_in + before + after) / n_out
        to_input[axis, axis] = scale
        to_input[axis, 3] = (scale - 1) / 2 - before
    return volume.affine @ to_input


def values_in(labels: NDArray[np.uint8]) -> list[int]:
    """The labels that occur in a map (x, y, z), ascending, without the background."""
    counts = np.zeros(256, dtype=np.int64)
    for k in range(labels.shape[2]):  # by slices, since bincount widens its input to eight bytes a voxel
        counts += np.bincount(labels[:, :, k].ravel(), minlength=256)
    return [int(value) for value in np.flatnonzero(counts) if value]


def _square_padding(shape: Sequence[int]) -> list[tuple[int, int]]:
    side = max(shape[:2])
    return [((side - n) // 2, side - n - (side - n) // 2) for n in shape[:2]]
