"""Which slices of a volume are shown, and which part of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.io.volume import Volume
from pipeline.report.panels import pixel_aspect

SLICES = 3
ROOM = 1.3  # of the outlined part, within which it is shown
FLATTEST = 0.65  # height of what is shown over its width
LEAST_MM = 40.0  # of what is shown: a finding of a few voxels needs its surroundings


def most_different(one: NDArray, other: NDArray) -> list[int]:
    """Of two maps (rows, columns, slices): the slice with the most differences in each third of the labelled ones.

    The middle slice where nothing is labelled.
    """
    labelled = np.flatnonzero(((one > 0) | (other > 0)).any(axis=(0, 1)))
    if not labelled.size:
        return [one.shape[-1] // 2]
    differing = np.count_nonzero(one != other, axis=(0, 1))
    thirds = np.array_split(labelled, min(SLICES, labelled.size))
    return [int(third[differing[third].argmax()]) for third in thirds]


def surroundings(outlined: NDArray, volume: Volume) -> tuple[slice, slice]:
    """Rows and columns about what is outlined in a slice of `volume`, moved or cut to lie inside; all if nothing is."""
    if not outlined.any():
        return slice(None), slice(None)
    ends = [(found[0], found[-1] + 1) for found in (np.flatnonzero(outlined.any(axis=axis)) for axis in (1, 0))]
    (top, bottom), (left, right) = ends
    aspect = pixel_aspect(volume)
    height = ROOM * (bottom - top) * aspect  # in widths of a pixel
    width = max(ROOM * (right - left), LEAST_MM / _pixel_width_mm(volume), height)
    down = round(max(height, FLATTEST * width) / aspect)
    return _inside((top, bottom), down, outlined.shape[0]), _inside((left, right), round(width), outlined.shape[1])


def _inside(ends: tuple[int, int], size: int, length: int) -> slice:
    size = min(size, length)
    start = min(max(0, (ends[0] + ends[1] - size) // 2), length - size)
    return slice(start, start + size)


def _pixel_width_mm(volume: Volume) -> float:
    """Of a picture as it is shown; a pixel of unknown size counts as one."""
    return volume.spacing_mm[1] if volume.spatial_dims == 2 else min(volume.spacing_mm)
