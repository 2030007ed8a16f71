"""How much two label maps overlap: Dice, intersection over union (IoU) and others, from one count over both maps.

With P and R the voxels of a label in the prediction and in the reference,

    Dice = 2 |P n R| / (|P| + |R|),   IoU = |P n R| / |P u R|,   precision = |P n R| / |P|,   recall = |P n R| / |R|.

Where one of the two is empty all are 0: the label was missed, or it is a false alarm. Where both are empty there is
nothing to overlap and all are nan; a mean leaves such cases out and gives their number beside it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.metrics.maps import CODES, highest_label, label_maps

Status = Literal["ok", "both_empty", "missed", "false_alarm"]


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

    @property
    def precision(self) -> float:
        return self._share_of(self.prediction)

    @property
    def recall(self) -> float:
        return self._share_of(self.reference)

    def accuracy(self, voxels: int) -> float:
        """The share of a map of so many voxels that is right about this label, inside or out."""
        return (voxels - self.prediction - self.reference + 2 * self.shared) / voxels

    def _share_of(self, of: int) -> float:
        if of:
            return self.shared / of
        return float("nan") if self.status == "both_empty" else 0.0

    def __add__(self, other: Overlap) -> Overlap:
        return Overlap(self.shared + other.shared, self.prediction + other.prediction, self.reference + other.reference)


def label_counts(labels: NDArray[np.integer]) -> NDArray[np.int64]:
    """Number of voxels of each label: (highest label + 1,), background first. Labels are integers in 0..MAX_LABEL."""
    size = highest_label(labels) + 1
    counts = sum((np.bincount(slab, minlength=size) for (slab,) in _slabs(labels)), np.zeros(size, np.int64))
    return np.trim_zeros(counts, "b")


def contingency(prediction: NDArray[np.integer], reference: NDArray[np.integer]) -> NDArray[np.int64]:
    """Number of voxels for each pair (label predicted, label of reference): a (K, K) table, K = highest label + 1.

    Both are integer maps of one shape, labels in 0..MAX_LABEL. Labels up to 255 take one pass over both maps; beyond,
    one slab is in work at a time, so that the memory needed beside the maps is that of a slab.
    """
    if prediction.shape != reference.shape:
        raise ValueError(f"prediction of shape {prediction.shape} and reference of shape {reference.shape} differ")
    size = max(highest_label(prediction), highest_label(reference)) + 1
    if size <= CODES and prediction.ndim in (2, 3):
        table, _ = label_maps(prediction, reference, (1.0,) * prediction.ndim).counts()
    else:
        table = np.zeros(size * size, np.int64)
        for predicted, referred in _slabs(prediction, reference):
            pairs = predicted.astype(np.int32) * size + referred
            table += np.bincount(pairs[pairs > 0], minlength=size * size)  # most of a scan is (0, 0): never counted
        table[0] = prediction.size - table.sum()
        table = table.reshape(size, size)
    used = np.flatnonzero(table.any(axis=0) | table.any(axis=1))[-1] + 1
    return table[:used, :used]


def overlap(table: NDArray[np.int64], label: int) -> Overlap:
    """The counts of `label` in a table of `contingency`; a label above its highest is in neither map."""
    if label >= len(table):
        return Overlap(0, 0, 0)
    return Overlap(int(table[label, label]), int(table[label].sum()), int(table[:, label].sum()))


def _slabs(*maps: NDArray) -> Iterator[tuple[NDArray, ...]]:
    """Matching flat pieces of the maps, cut along the axis that is outermost in memory (NIfTI: the last)."""
    if maps[0].flags.f_contiguous:
        maps = tuple(each.T for each in maps)
    if maps[0].ndim < 3:
        maps = tuple(each[None] for each in maps)
    for pieces in zip(*maps, strict=True):
        yield tuple(piece.ravel() for piece in pieces)
