"""Every measure of every label of two label maps, from one pass over their memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.metrics.average_hausdorff import average_hausdorff_mm
from pipeline.metrics.maps import LabelMaps, Labels, label_maps
from pipeline.metrics.overlap import Overlap, Status
from pipeline.metrics.points import Points, Surface, nearest_mm, surface_points
from pipeline.metrics.surface import (
    SurfaceDistances,
    average_symmetric_distance,
    boundary_f1,
    hausdorff,
    hausdorff_pooled,
    mean_average_distance,
    surface_dice,
)

Missing = Literal["diagonal", "inf", "nan"]

OVERLAPS = ("dice", "iou", "precision", "recall")
DISTANCES: Mapping[str, Callable[[SurfaceDistances], float]] = {
    "hd": hausdorff,
    "hd95": lambda surfaces: hausdorff(surfaces, 95),
    "hd95_pooled": lambda surfaces: hausdorff_pooled(surfaces, 95),
    "assd": average_symmetric_distance,
    "masd": mean_average_distance,
}
SHARES: Mapping[str, Callable[[SurfaceDistances, float], float]] = {"nsd": surface_dice, "boundary_f1": boundary_f1}
METRICS = (*OVERLAPS, "accuracy", "volume_difference", *DISTANCES, *SHARES)
AHD = "ahd"  # on demand: it looks at every voxel in which the maps differ, not at surfaces only


@dataclass(frozen=True)
class Score:
    """One measure of one label. unit: 1 (a share), mm, ml, or mm2 for the area of an image."""

    label: int
    metric: str
    value: float
    unit: str
    status: Status


@dataclass(frozen=True)
class Comparison:
    """What two label maps have in common, label by label; surfaces: for the labels that both have.

    voxels: of the map; voxel_mm: its sides; diagonal_mm: from one end of the map to the other.  average_hausdorff_mm:
    where it was asked for.
    """

    overlaps: Mapping[int, Overlap]
    surfaces: Mapping[int, SurfaceDistances]
    voxels: int
    voxel_mm: tuple[float, ...]
    diagonal_mm: float
    average_hausdorff_mm: Mapping[int, float] | None = None

    def scores(
        self, tolerance_mm: float = 1.0, *, metrics: Sequence[str] = METRICS, missing: Missing = "diagonal"
    ) -> list[Score]:
        """As `evaluate_labels`, from the distances that are there."""
        known = METRICS if self.average_hausdorff_mm is None else (*METRICS, AHD)
        unknown = sorted(set(metrics) - set(known))
        if unknown:
            raise ValueError(f"metric {', '.join(unknown)}: there are {', '.join(known)}")
        if not tolerance_mm >= 0:
            raise ValueError(f"tolerance_mm {tolerance_mm}: a tolerance is 0 or more")
        apart = {"diagonal": self.diagonal_mm, "inf": math.inf, "nan": math.nan}[missing]
        return [
            Score(label, metric, self._value(label, metric, tolerance_mm, apart), self._unit(metric), overlap.status)
            for label, overlap in self.overlaps.items()
            for metric in metrics
        ]

    def _value(self, label: int, metric: str, tolerance_mm: float, apart_mm: float) -> float:
        overlap = self.overlaps[label]
        if overlap.status == "both_empty":
            return math.nan
        if metric in OVERLAPS:
            return float(getattr(overlap, metric))
        if metric == "accuracy":
            return overlap.accuracy(self.voxels)
        if metric == "volume_difference":
            return (overlap.prediction - overlap.reference) * math.prod(self.voxel_mm) * self._volume_unit[1]
        if overlap.status != "ok":
            return apart_mm if self._unit(metric) == "mm" else 0.0
        if metric == AHD and self.average_hausdorff_mm is not None:
            return self.average_hausdorff_mm[label]
        surfaces = self.surfaces[label]
        return DISTANCES[metric](surfaces) if metric in DISTANCES else SHARES[metric](surfaces, tolerance_mm)

    def _unit(self, metric: str) -> str:
        return self._volume_unit[0] if metric == "volume_difference" else "mm" if metric in (*DISTANCES, AHD) else "1"

    @property
    def _volume_unit(self) -> tuple[str, float]:
        return ("mm2", 1.0) if len(self.voxel_mm) == 2 else ("ml", 1e-3)


def compare_labels(
    prediction: Labels,
    reference: Labels,
    spacing_mm: Sequence[float],
    labels: Sequence[int] | None = None,
    *,
    surface: Surface = "voxel",
    ahd: bool = False,
) -> Comparison:
    """Counts and surface distances of all labels but 0.

    prediction, reference: integer or bool maps of one shape, 2-D or 3-D, in any order of memory; uint8 and bool are not
    copied where both have the same.  spacing_mm: along each axis.  labels: those to compare, which must be all that
    occur; None: those that occur.  surface: see `pipeline.metrics.surface`.  ahd: also `average_hausdorff_mm`.

    ValueError: as `pipeline.metrics.maps.label_maps`; a label that is not among `labels`; another surface.
    """
    if surface not in ("voxel", "surfel"):
        raise ValueError(f'surface "{surface}": there are "voxel" and "surfel"')
    maps = label_maps(prediction, reference, spacing_mm)
    table, box = maps.counts()
    totals = {"prediction": table.sum(axis=1), "reference": table.sum(axis=0)}
    codes = {int(label): code for code, label in enumerate(maps.labels)}
    present = {name: [label for label, code in codes.items() if label and n[code]] for name, n in totals.items()}
    names = sorted(set(present["prediction"] + present["reference"])) if labels is None else list(labels)
    for name, found in present.items():
        unnamed = sorted(set(found) - set(names))
        if unnamed:
            raise ValueError(f"the {name} holds labels {unnamed}, which are not among those to compare, {names}")
    overlaps = {label: _overlap(table, codes.get(label)) for label in names}
    both = {label: codes[label] for label in names if overlaps[label].status == "ok"}
    surfaces = _surface_distances(maps, box, surface)
    averages = average_hausdorff_mm(maps, table, box) if ahd else None
    return Comparison(
        overlaps,
        {label: surfaces[code] for label, code in both.items()},
        maps.prediction.size,
        maps.spacing_mm[maps.planar :],
        maps.diagonal_mm,
        averages and {label: averages[code] for label, code in both.items()},
    )


def evaluate_labels(
    prediction: Labels,
    reference: Labels,
    spacing_mm: Sequence[float],
    labels: Sequence[int] | None = None,
    *,
    surface: Surface = "voxel",
    tolerance_mm: float = 1.0,
    metrics: Sequence[str] = METRICS,
    missing: Missing = "diagonal",
) -> list[Score]:
    """Score every label of a prediction, all metrics of a label after each other.

    The maps, spacing_mm, labels, surface: see `compare_labels`.  metrics: of METRICS, and "ahd"; defined in
    `pipeline.metrics.overlap`, `surface` and `average_hausdorff`.  tolerance_mm: of NSD and boundary F1.

    Where only one of the two has the label (status missed or false_alarm), shares are 0 and distances what `missing`
    says: the diagonal of the image, inf or nan.  Where neither has it (both_empty) every value is nan, to be left out
    of a mean and counted beside it.

    ValueError: as `compare_labels`; an unknown metric, a negative tolerance.
    """
    compared = compare_labels(prediction, reference, spacing_mm, labels, surface=surface, ahd=AHD in metrics)
    return compared.scores(tolerance_mm, metrics=metrics, missing=missing)


def _overlap(table: NDArray[np.int64], code: int | None) -> Overlap:
    if code is None:
        return Overlap(0, 0, 0)
    return Overlap(int(table[code, code]), int(table[code].sum()), int(table[:, code].sum()))


def _surface_distances(maps: LabelMaps, box: NDArray[np.int64], surface: Surface) -> dict[int, SurfaceDistances]:
    predicted = surface_points(maps, maps.prediction, box, surface)
    referred = surface_points(maps, maps.reference, box, surface)
    return {code: _distances(predicted[code], referred[code], maps) for code in predicted.keys() & referred.keys()}


def _distances(predicted: Points, referred: Points, maps: LabelMaps) -> SurfaceDistances:
    there, back = nearest_mm(referred, predicted, maps), nearest_mm(predicted, referred, maps)
    return SurfaceDistances(there, back, referred.weights, predicted.weights)
