"""How well the objects of one label map are found in another: AP, PQ, AJI, the GlaS scores, from one count of pairs.

With P_j the objects (labels) of the prediction, R_i those of the reference and IoU(i, j) = |R_i n P_j| / |R_i u P_j|:

    detections at t >= 0.5  TP: the pairs of IoU > t, no object is in two; FP, FN: the objects left over            (1)
    AP(t) = TP / (TP + FP + FN)         Data Science Bowl 2018; its score is the mean over t = 0.5, 0.55 ... 0.95   (2)
    PQ = SQ RQ,  SQ = mean IoU of the matched,  RQ = TP / (TP + FP/2 + FN/2), all at t = 0.5                        (3)
    AJI = sum_i |R_i n P_m(i)| / (sum_i |R_i u P_m(i)| + sum of |P_j| never chosen),  m(i) = argmax_j IoU(i, j)     (4)
    GlaS detections         P_j is matched with the R_i it shares most with, if it covers more than half of R_i     (5)
    object Dice, Hausdorff  mean of sum_j w_j s(P_j, R_n(j)) and sum_i w_i s(R_i, P_n(i)), w the share of the area  (6)
                            and n the object shared most with

(2) is not the AP of VOC and COCO, which ranks by confidence. In (4) P_j may be chosen more than once, and an R_i that
meets nothing adds |R_i| below, as in the authors' final code. In (6) an object that meets nothing has Dice 0, and its
Hausdorff distance is the least to any object. Equal candidates: the lowest label, as in the published code.

Empty maps: with one side empty every score is 0, and the Hausdorff distance the image's diagonal or what the caller
says; with both empty every score is nan (the published codes say 1 or fail). `ObjectPairs.status` tells them apart.

References: Caicedo et al., Nature Methods 2019; Kirillov et al., Panoptic segmentation, CVPR 2019; Kumar et al., IEEE
TMI 2017; Sirinukunwattana et al., Gland segmentation in colon histology images, Medical Image Analysis 2017.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, find_objects

from pipeline.metrics.overlap import Status

IOU_THRESHOLDS = tuple(percent / 100 for percent in range(50, 100, 5))

MAX_TABLE = 1 << 22  # counts are made in a table of at most so many entries (32 MiB), above that by sorting
Windows = list[tuple[slice, ...]]


@dataclass(frozen=True, eq=False)
class ObjectPairs:
    """The objects of two label maps, numbered 1, 2 ... by ascending label, and the pixels that each pair shares."""

    prediction: NDArray[np.int32]  # the maps, renumbered, 0 background
    reference: NDArray[np.int32]
    prediction_areas: NDArray[np.int64]  # (P,) pixels of each object
    reference_areas: NDArray[np.int64]  # (R,)
    pairs: NDArray[np.int64]  # (2, K) indices from 0 (object of prediction, object of reference), only those that meet
    shared: NDArray[np.int64]  # (K,) pixels

    @property
    def status(self) -> Status:
        found, present = len(self.prediction_areas), len(self.reference_areas)
        if found and present:
            return "ok"
        if present:
            return "missed"
        return "false_alarm" if found else "both_empty"

    @property
    def count_error(self) -> int:
        """Objects predicted minus objects in the reference."""
        return len(self.prediction_areas) - len(self.reference_areas)

    @property
    def iou(self) -> NDArray[np.float64]:
        """(K,) intersection over union of each pair."""
        predicted, referred = self.pairs
        return self.shared / (self.prediction_areas[predicted] + self.reference_areas[referred] - self.shared)


@dataclass(frozen=True)
class Detections:
    """Objects matched, predicted in vain and missed, in an image or summed over a set; nan where there is no object."""

    matched: int
    false_positives: int
    false_negatives: int
    iou_sum: float  # over the matched pairs

    @property
    def precision(self) -> float:
        return _ratio(self.matched, self.matched + self.false_positives)

    @property
    def recall(self) -> float:
        return _ratio(self.matched, self.matched + self.false_negatives)

    @property
    def f1(self) -> float:
        return _ratio(2 * self.matched, 2 * self.matched + self.false_positives + self.false_negatives)

    @property
    def average_precision(self) -> float:
        """Equation (2)."""
        return _ratio(self.matched, self.matched + self.false_positives + self.false_negatives)

    @property
    def segmentation_quality(self) -> float:
        """SQ of equation (3); nan where nothing was matched."""
        return _ratio(self.iou_sum, self.matched)

    @property
    def panoptic_quality(self) -> float:
        """PQ of equation (3); RQ is `f1`."""
        return _ratio(2 * self.iou_sum, 2 * self.matched + self.false_positives + self.false_negatives)

    def __add__(self, other: Detections) -> Detections:
        return Detections(
            self.matched + other.matched,
            self.false_positives + other.false_positives,
            self.false_negatives + other.false_negatives,
            self.iou_sum + other.iou_sum,
        )


def object_pairs(prediction: NDArray[np.integer], reference: NDArray[np.integer]) -> ObjectPairs:
    """Count the pairs of two label maps of one shape (*spatial): 0 background, any labels above, gaps allowed.

    Raises ValueError for maps of two shapes, of no pixel, of another type than integers, or with negative labels.
    """
    if prediction.shape != reference.shape:
        raise ValueError(f"prediction of shape {prediction.shape} and reference of shape {reference.shape} differ")
    predicted, prediction_areas = _renumbered("prediction", prediction)
    referred, reference_areas = _renumbered("reference", reference)
    both = (predicted > 0) & (referred > 0)
    width = len(reference_areas)
    keys, shared = _counts((predicted[both] - 1) * np.int64(width) + (referred[both] - 1))
    pairs = np.stack(np.divmod(keys, max(width, 1)))
    return ObjectPairs(predicted, referred, prediction_areas, reference_areas, pairs, shared)


def detections(objects: ObjectPairs, *, iou: float = 0.5) -> Detections:
    """Equation (1) at one threshold. `stardist.matching` takes IoU >= t, the Data Science Bowl and PQ take IoU > t."""
    if not 0.5 <= iou < 1:
        raise ValueError(f"iou is {iou}, it must be in 0.5..1: below 0.5 an object may match several")
    scores = objects.iou
    return _detections(objects, scores[scores > iou])


def average_precision(objects: ObjectPairs) -> float:
    """Mean of equation (2) over IOU_THRESHOLDS: the Data Science Bowl's score of one image."""
    return float(np.mean([detections(objects, iou=iou).average_precision for iou in IOU_THRESHOLDS]))


def aggregated_jaccard(objects: ObjectPairs) -> float:
    """AJI, equation (4)."""
    predicted, referred = objects.pairs
    chosen = _best_of_each(referred, objects.iou)
    shared = objects.shared[chosen].sum()
    unused = np.ones(len(objects.prediction_areas), bool)
    unused[predicted[chosen]] = False
    # sum |R_i u P_m(i)| + sum over R_i that meet nothing |R_i| = sum of all |R_i| + sum over chosen (|P| - shared)
    union = objects.reference_areas.sum() + objects.prediction_areas[predicted[chosen]].sum() - shared
    return _ratio(shared, union + objects.prediction_areas[unused].sum())


def glas_detections(objects: ObjectPairs) -> Detections:
    """Equation (5); its `f1` is the F1 of the GlaS contest, over an image or, summed, over a set."""
    predicted, referred = objects.pairs
    chosen = _best_of_each(predicted, objects.shared)
    hit = chosen[2 * objects.shared[chosen] > objects.reference_areas[referred[chosen]]]
    return _detections(objects, objects.iou[hit])


def object_dice(objects: ObjectPairs) -> float:
    """Object Dice of the GlaS contest, equation (6)."""
    areas = (objects.prediction_areas, objects.reference_areas)
    if objects.status != "ok":
        return float("nan") if objects.status == "both_empty" else 0.0
    predicted, referred = objects.pairs
    dice = 2 * objects.shared / (areas[0][predicted] + areas[1][referred])
    score = 0.0
    for side, area in enumerate(areas):
        chosen = _best_of_each(objects.pairs[side], objects.shared)
        score += area[objects.pairs[side][chosen]] @ dice[chosen] / area.sum()
    return float(score / 2)


def object_hausdorff(objects: ObjectPairs, *, one_empty: float | None = None) -> float:
    """Object Hausdorff distance of the GlaS contest, equation (6), in pixels, between all pixels of the objects.

    one_empty: the distance when one map has no object; None: the image's diagonal.
    """
    if objects.status == "both_empty":
        return float("nan")
    if objects.status != "ok":
        return float(np.linalg.norm(objects.prediction.shape)) if one_empty is None else one_empty
    distances = _Distances(objects)
    score = 0.0
    for side, area in enumerate((objects.prediction_areas, objects.reference_areas)):
        own, other = objects.pairs[[side, 1 - side]]
        chosen = _best_of_each(own, objects.shared)
        partner = dict(zip(own[chosen].tolist(), other[chosen].tolist(), strict=True))
        for index in range(len(area)):
            if index in partner:
                near = (index, partner[index])
                distance = distances.between(*(near if side == 0 else near[::-1]))
            else:
                distance = distances.least(side, index)
            score += area[index] / area.sum() * distance
    return float(score / 2)


class _Distances:
    """Hausdorff distances between objects of the two maps, each pair computed once, on the window that holds both."""

    def __init__(self, objects: ObjectPairs) -> None:
        self.maps = (objects.prediction, objects.reference)
        self.windows: tuple[Windows, Windows] = tuple(find_objects(each) for each in self.maps)
        self.corners = [np.array([[(s.start, s.stop) for s in window] for window in each]) for each in self.windows]
        self.known: dict[tuple[int, int], float] = {}

    def between(self, predicted: int, referred: int) -> float:
        pair = (predicted, referred)
        if pair not in self.known:
            both = zip(self.windows[0][predicted], self.windows[1][referred], strict=True)
            window = tuple(slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in both)
            one, two = (each[window] == index + 1 for each, index in zip(self.maps, pair, strict=True))
            self.known[pair] = max(_farthest(one, two), _farthest(two, one))
        return self.known[pair]

    def least(self, side: int, index: int) -> float:
        """Distance from an object to that of the other map with the least one."""
        # No two windows lie nearer than their corners differ along any axis: most objects are never looked at.
        bounds = np.abs(self.corners[1 - side] - self.corners[side][index]).max(axis=(1, 2))
        best = np.inf
        for other in np.argsort(bounds, kind="stable").tolist():
            if bounds[other] >= best:
                break
            best = min(best, self.between(*((index, other) if side == 0 else (other, index))))
        return best


def _farthest(points: NDArray[np.bool_], target: NDArray[np.bool_]) -> float:
    """Greatest distance in pixels from a pixel of `points` to the nearest of `target`."""
    outside = points & ~target
    return float(distance_transform_edt(~target)[outside].max()) if outside.any() else 0.0


def _detections(objects: ObjectPairs, matched_iou: NDArray[np.float64]) -> Detections:
    found, present, matched = len(objects.prediction_areas), len(objects.reference_areas), len(matched_iou)
    return Detections(matched, found - matched, present - matched, float(matched_iou.sum()))


def _best_of_each(groups: NDArray[np.int64], scores: NDArray) -> NDArray[np.int64]:
    """(groups,) for each value in `groups` the index of its highest score, of equal ones the first."""
    order = np.lexsort((-scores, groups))
    return order[np.unique(groups[order], return_index=True)[1]]


def _renumbered(name: str, labels: NDArray[np.integer]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """The map with its labels replaced by 1, 2 ... in ascending order, and the pixels of each."""
    if not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"{name} is of type {labels.dtype}, a label map holds integers: label its components first")
    if not labels.size:
        raise ValueError(f"{name} of shape {labels.shape} holds no pixel")
    if labels.min() < 0:
        raise ValueError(f"{name} holds the label {labels.min()}, labels must be 0 (background) or more")
    keys, counts = _counts(labels.ravel())
    objects = keys > 0
    keys, counts = keys[objects], counts[objects]
    if len(keys) == 0 or keys[-1] < MAX_TABLE:
        numbers = np.zeros(int(keys[-1]) + 1 if len(keys) else 1, np.int32)
        numbers[keys] = np.arange(1, len(keys) + 1)
        return numbers[labels], counts
    return np.where(labels > 0, np.searchsorted(keys, labels) + 1, 0).astype(np.int32), counts


def _counts(values: NDArray[np.integer]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The distinct values of a flat array, ascending, and how often each occurs."""
    if not values.size or values.max() >= MAX_TABLE:
        keys, counts = np.unique(values, return_counts=True)
        return keys, counts
    table = np.bincount(values.astype(np.intp, copy=False))
    keys = np.flatnonzero(table)
    return keys, table[keys]


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole else float("nan")
