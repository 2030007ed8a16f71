"""How much two label maps overlap: Dice and intersection over union (IoU), from one count over both maps.

With P and R the voxels of a label in the prediction and in the reference,

    Dice = 2 |P n R| / (|P| + |R|),        IoU = |P n R| / |P u R|.

Where one of the two is empty both are 0: the label was missed, or it is a false alarm. Where both are empty there is
nothing to overlap and both are nan; a mean leaves such cases out and gives their number beside it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Status = Literal["ok", "both_empty", "missed", "false_alarm"]

MAX_LABEL = 4095  # the table below has (MAX_LABEL + 1)^2 entries at most: 128 MiB


@dataclass(frozen=True)
class Overlap:
    """The voxel counts of one label in one case (or summed over cases)."""

    shared: int
    prediction: int
    reference: int

    @property
    def status(self) -> Status:
        if self.prediction and self.reference:
            return "ok"
        if self.reference:
            return "missed"
        return "false_alarm" if self.prediction else "both_empty"

    @property
    def dice(self) -> float:
        both = self.prediction + self.reference
        return 2 * self.shared / both if both else float("nan")

    @property
    def iou(self) -> float:
        union = self.prediction + self.reference - self.shared
        return self.shared / union if union else float("nan")

    def __add__(self, other: Overlap) -> Overlap:
        return Overlap(self.shared + other.shared, self.prediction + other.prediction, self.reference + other.reference)


def label_counts(labels: NDArray[np.integer]) -> NDArray[np.int64]:
    """Number of voxels of each label: (highest label + 1,), background first. Labels are integers in 0..MAX_LABEL."""
    size = _highest(labels) + 1
    return sum((np.bincount(slab, minlength=size) for (slab,) in _slabs(labels)), np.zeros(size, np.int64))


def contingency(prediction: NDArray[np.integer], reference: NDArray[np.integer]) -> NDArray[np.int64]:
    """Number of voxels for each pair (label predicted, label of reference): a (K, K) table, K = highest label + 1.

    Both are integer maps of one shape, labels in 0..MAX_LABEL. One slab is in work at a time, so the memory needed
    beside the maps is that of a slab.
    """
    if prediction.shape != reference.shape:
        raise ValueError(f"prediction of shape {prediction.shape} and reference of shape {reference.shape} differ")
    size = max(_highest(prediction), _highest(reference)) + 1
    table = np.zeros(size * size, np.int64)
    for predicted, referred in _slabs(prediction, reference):
        pairs = predicted.astype(np.int32) * size + referred
        table += np.bincount(pairs[pairs > 0], minlength=size * size)  # most of a scan is (0, 0): never counted
    table[0] = prediction.size - table.sum()
    return table.reshape(size, size)


def overlap(table: NDArray[np.int64], label: int) -> Overlap:
    """The counts of `label` in a table of `contingency`; a label above its highest is in neither map."""
    if label >= len(table):
        return Overlap(0, 0, 0)
    return Overlap(int(table[label, label]), int(table[label].sum()), int(table[:, label].sum()))


def _highest(labels: NDArray[np.integer]) -> int:
    if not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"labels are of type {labels.dtype}, they must be integers")
    if labels.size == 0:
        raise ValueError(f"labels of shape {labels.shape} hold no voxel")
    lowest, highest = int(labels.min()), int(labels.max())
    if lowest < 0 or highest > MAX_LABEL:
        raise ValueError(f"labels run from {lowest} to {highest}, they must lie in 0..{MAX_LABEL}")
    return highest


def _slabs(*maps: NDArray) -> Iterator[tuple[NDArray, ...]]:
    """Matching flat pieces of the maps, cut along the axis that is outermost in memory (NIfTI: the last)."""
    if maps[0].flags.f_contiguous:
        maps = tuple(each.T for each in maps)
    if maps[0].ndim < 3:
        maps = tuple(each[None] for each in maps)
    for pieces in zip(*maps, strict=True):
        yield tuple(piece.ravel() for piece in pieces)
