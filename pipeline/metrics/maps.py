"""Two label maps made ready for one pass over their memory, and the counts of that pass."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.metrics.jit import compiled

MAX_LABEL = 4095
CODES = 256
CHUNK = 1 << 19  # voxels in work at a time where numpy does it: they stay in the processor's cache

Labels = NDArray[np.integer] | NDArray[np.bool_]


@dataclass(frozen=True)
class LabelMaps:
    """prediction, reference: every voxel in the order of memory, flat; code k stands for label `labels[k]`.

    shape: (planes, rows of a plane, voxels of a row), spacing_mm in that order. planar: the maps are images, their one
    plane has no thickness. size_mm: the diagonal of the map.
    """

    prediction: NDArray[np.uint8]
    reference: NDArray[np.uint8]
    labels: NDArray[np.int64]
    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    planar: bool

    @property
    def diagonal_mm(self) -> float:
        sides = [n * step for n, step in zip(self.shape, self.spacing_mm, strict=True)]
        return math.hypot(*(sides[1:] if self.planar else sides))

    def counts(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Voxels of each pair of codes, (CODES, CODES), and the box of the foreground: first and one past the last."""
        table, box = np.zeros((CODES, CODES), np.int64), np.zeros((2, 3), np.int64)
        scan = compiled("scan")
        if scan is not None:
            scan(self.prediction, self.reference, words(self.prediction), words(self.reference), self.shape, table, box)
        else:
            box[:] = _foreground(self)
            cropped = zip(self.blocks(self.prediction, box), self.blocks(self.reference, box), strict=True)
            for (_, predicted), (_, referred) in cropped:
                pairs = (predicted.astype(np.uint16) << 8 | referred)[1:-1, 1:-1, 1:-1]
                table += np.bincount(pairs[pairs > 0], minlength=table.size).reshape(table.shape)
        table[0, 0] = 0
        table[0, 0] = self.prediction.size - table.sum()
        return table, box

    def blocks(self, voxels: NDArray[np.uint8], box: NDArray[np.int64]) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """The box of a map a few planes at a time: (first plane, voxels with a margin of one), 0 outside the box."""
        (z0, y0, x0), (z1, y1, x1) = box.tolist()
        volume = voxels.reshape(self.shape)
        step = max(1, CHUNK // max(1, (y1 - y0) * (x1 - x0)))
        for first in range(z0, z1, step):
            stop = min(first + step, z1)
            block = np.zeros((stop - first + 2, y1 - y0 + 2, x1 - x0 + 2), np.uint8)
            low, high = max(first - 1, z0), min(stop + 1, z1)
            block[low - first + 1 : high - first + 1, 1:-1, 1:-1] = volume[low:high, y0:y1, x0:x1]
            yield first, block


def label_maps(prediction: Labels, reference: Labels, spacing_mm: Sequence[float]) -> LabelMaps:
    """Check and pair two maps of integer or bool labels, 2-D or 3-D; uint8 and bool are not copied, in either order of
    memory (where the two differ in it, one is).

    ValueError: two shapes, not 2-D or 3-D, no voxel, no integers, labels outside 0..MAX_LABEL, over 255 different ones,
    spacing of another length than the shape or not above 0.
    """
    if prediction.shape != reference.shape:
        raise ValueError(f"prediction of shape {prediction.shape} and reference of shape {reference.shape} differ")
    if prediction.ndim not in (2, 3):
        raise ValueError(f"label maps of shape {prediction.shape} are neither 2-D nor 3-D")
    if len(spacing_mm) != prediction.ndim:
        raise ValueError(f"spacing_mm {tuple(spacing_mm)} and label maps of shape {prediction.shape} differ in axes")
    if not all(0 < step < math.inf for step in spacing_mm):
        raise ValueError(f"spacing_mm {tuple(spacing_mm)}: a spacing is a finite number above 0")
    highest = max(highest_label(prediction), highest_label(reference))
    labels = np.arange(CODES)
    if highest >= CODES:
        labels = np.union1d(np.union1d(prediction, reference), 0).astype(np.int64)
        if len(labels) > CODES:
            raise ValueError(f"{len(labels) - 1} different labels, there may be {CODES - 1} at most")
        prediction, reference = (np.searchsorted(labels, each) for each in (prediction, reference))
    spacing = tuple(float(step) for step in spacing_mm)
    if prediction.flags.f_contiguous and not prediction.flags.c_contiguous:
        prediction, reference, spacing = prediction.T, reference.T, spacing[::-1]
    planar = prediction.ndim == 2
    shape = (1, *prediction.shape) if planar else prediction.shape
    spacing = (1.0, *spacing) if planar else spacing
    return LabelMaps(_flat(prediction), _flat(reference), labels, shape, spacing, planar)  # type: ignore[arg-type]


def highest_label(labels: Labels) -> int:
    """The highest label of a map, or for 8 bits what it could be. ValueError: no integers, none, or out of range."""
    if not np.issubdtype(labels.dtype, np.integer) and labels.dtype != bool:
        raise ValueError(f"labels are of type {labels.dtype}, they must be integers")
    if labels.size == 0:
        raise ValueError(f"labels of shape {labels.shape} hold no voxel")
    if labels.dtype in (np.uint8, bool):
        return CODES - 1
    lowest, highest = int(labels.min()), int(labels.max())
    if lowest < 0 or highest > MAX_LABEL:
        raise ValueError(f"labels run from {lowest} to {highest}, they must lie in 0..{MAX_LABEL}")
    return highest


def words(voxels: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """The same memory, eight voxels at a time."""
    return voxels[: voxels.size // 8 * 8].view(np.uint64)


def _flat(labels: Labels) -> NDArray[np.uint8]:
    ordered = np.ascontiguousarray(labels).reshape(-1)
    return ordered.view(np.uint8) if ordered.dtype == bool else ordered.astype(np.uint8, copy=False)


def _foreground(maps: LabelMaps) -> NDArray[np.int64]:
    """numpy's way to the box: whole words while the maps are read, voxels for the two planes that are left of them."""
    eight = 8 if maps.shape[2] % 8 == 0 else 1
    shape = (*maps.shape[:2], maps.shape[2] // eight)
    volumes = [(words(each) if eight == 8 else each).reshape(shape) for each in (maps.prediction, maps.reference)]
    planes = np.flatnonzero(np.logical_or.reduce([np.bitwise_or.reduce(each, axis=(1, 2)) != 0 for each in volumes]))
    if planes.size == 0:
        return np.zeros((2, 3), np.int64)
    seen = np.bitwise_or.reduce([np.bitwise_or.reduce(v[planes[0] : planes[-1] + 1], axis=0) for v in volumes])
    seen = seen.view(np.uint8).reshape(maps.shape[1:])
    rows, places = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    return np.array([(each[0], each[-1] + 1) for each in (planes, rows, places)]).T
