"""How far two surfaces lie apart: the distances once, and every measure as a short sum over them.

With d the distance in mm from a point of one surface to the nearest of the other, p and r the points of prediction and
reference, each with the weight w it stands for (the area in mm², or 1):

    HD = max d,   HD95 = max(P95 over p, P95 over r)   or, pooled, P95 over p and r,
    ASSD = sum w d / sum w over p and r,   MASD = (mean over p + mean over r) / 2,
    NSD = share of w over p and r with d <= tolerance,
    boundary F1 = harmonic mean of that share over p (precision) and over r (recall).

surface="voxel": the centres of an object's outermost voxels (6-neighbourhood, the edge of the image counts), as in
MONAI; percentiles are interpolated linearly.  surface="surfel": the corners between voxels, weighted with the area of
the marching cubes surface there, as in DeepMind's surface-distance; a percentile is the least d that its share of the
area reaches. The two differ by up to a slice's thickness: name the choice with every figure.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Distances = NDArray[np.float64]

INTERVALS = 1024  # of the range of distances
ROUNDING_MM = 1e-9  # 3 steps of 0.1 mm lie within 0.3 mm, though not in floating point


@dataclass(frozen=True)
class SurfaceDistances:
    """Distances in mm from each surface point to the other surface, and what the points stand for (None: all alike).

    Both objects have a surface: where one is empty there are no distances.
    """

    distances_ref_to_pred_mm: Distances
    distances_pred_to_ref_mm: Distances
    weights_ref: NDArray[np.float64] | None = None
    weights_pred: NDArray[np.float64] | None = None

    @property
    def directed(self) -> tuple[tuple[Distances, NDArray[np.float64] | None], ...]:
        return (
            (self.distances_ref_to_pred_mm, self.weights_ref),
            (self.distances_pred_to_ref_mm, self.weights_pred),
        )

    @property
    def pooled(self) -> tuple[Distances, NDArray[np.float64] | None]:
        """Both directions as one."""
        distances = np.concatenate((self.distances_ref_to_pred_mm, self.distances_pred_to_ref_mm))
        if self.weights_ref is None or self.weights_pred is None:
            return distances, None
        return distances, np.concatenate((self.weights_ref, self.weights_pred))


def hausdorff(surfaces: SurfaceDistances, percent: float = 100) -> float:
    """The larger of the two directed percentiles, mm; 100 is the Hausdorff distance itself."""
    return max(_percentile(*each, percent) for each in surfaces.directed)


def hausdorff_pooled(surfaces: SurfaceDistances, percent: float) -> float:
    """The percentile of the distances of both directions together, mm (the HD95 of medpy and of others after it)."""
    return _percentile(*surfaces.pooled, percent)


def average_symmetric_distance(surfaces: SurfaceDistances) -> float:
    """ASSD: the mean over the points of both surfaces, mm."""
    return float(np.average(surfaces.pooled[0], weights=surfaces.pooled[1]))


def mean_average_distance(surfaces: SurfaceDistances) -> float:
    """MASD: the mean of the two directed means, mm; a small surface counts as much as a large one."""
    return float(np.mean([np.average(distances, weights=weights) for distances, weights in surfaces.directed]))


def surface_dice(surfaces: SurfaceDistances, tolerance_mm: float) -> float:
    """NSD: the share of both surfaces that lies within the tolerance of the other."""
    return _share_within(*surfaces.pooled, tolerance_mm)


def boundary_f1(surfaces: SurfaceDistances, tolerance_mm: float) -> float:
    """The harmonic mean of the share of the predicted surface within the tolerance and of that of the reference's."""
    recall, precision = (_share_within(*each, tolerance_mm) for each in surfaces.directed)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _share_within(distances: Distances, weights: NDArray[np.float64] | None, tolerance_mm: float) -> float:
    return float(np.average(distances <= tolerance_mm + ROUNDING_MM, weights=weights))


def _percentile(distances: Distances, weights: NDArray[np.float64] | None, percent: float) -> float:
    if percent == 100:
        return float(distances.max())
    if weights is None:
        return float(np.percentile(distances, percent))
    least, span = distances.min(), np.ptp(distances)
    # Distances on a grid are equal by thousands, which makes sorting slow: only a small interval of them is sorted.
    interval = ((distances - least) * (INTERVALS / span if span else 0)).astype(np.intp)
    reached = np.cumsum(np.bincount(interval, weights))
    share = percent / 100 * reached[-1]
    where = int(np.searchsorted(reached, share))
    within = np.flatnonzero(interval == where)
    within = within[np.argsort(distances[within])]
    areas = np.cumsum(weights[within]) + (reached[where - 1] if where else 0)
    return float(distances[within[min(int(np.searchsorted(areas, share)), len(within) - 1)]])
