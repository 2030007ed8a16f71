"""The average Hausdorff distance over whole objects, and what one paper's table calls so.

With P and R the voxels of an object in prediction and reference, inside and surface, and d(x, Y) the distance in mm
from the centre of voxel x to the nearest of Y,

    AHD = (mean of d(p, R) over P + mean of d(r, P) over R) / 2

(Aydin et al., 2021; SimpleITK's GetAverageHausdorffDistance). Voxels that both have count with 0, so it is smaller than
ASSD and MASD, which average over surfaces.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.metrics.maps import LabelMaps
from pipeline.metrics.points import Points, nearest_mm, surface_points


def average_hausdorff_mm(maps: LabelMaps, table: NDArray[np.int64], box: NDArray[np.int64]) -> dict[int, float]:
    """AHD in mm by code of the label, for the labels that both maps have.  table, box: of `maps.counts`."""
    places, predicted, referred = _differing(maps, box)
    borders_of_prediction = surface_points(maps, maps.prediction, box, "voxel")
    borders_of_reference = surface_points(maps, maps.reference, box, "voxel")
    found = {}
    for code in borders_of_prediction.keys() & borders_of_reference.keys():
        # What only one has lies nearest to a border voxel of the other; the rest of it lies 0 mm away.
        there = nearest_mm(Points(places[referred == code]), borders_of_prediction[code], maps).sum()
        back = nearest_mm(Points(places[predicted == code]), borders_of_reference[code], maps).sum()
        found[code] = float(there / table[:, code].sum() + back / table[code].sum()) / 2
    return found


def ahd_rows_cunet(prediction: NDArray, reference: NDArray) -> float:
    """The "AHD" of the tables of 'Continuous U-Net' (TMLR 2024), to be laid beside those and for nothing else.

    The authors' code gives two masks, (H, W), to a function that expects sets of points: every image row is taken for a
    point in W dimensions. The figure is the mean over the rows of one mask of the least Euclidean distance to any row
    of the other (the root of the number of pixels in which they differ), summed over both directions. It is no distance
    in the image: it does not see where a row lies, and two empty masks, as equal ones, have 0.

    ValueError: two shapes, not 2-D, no pixel.
    """
    if prediction.shape != reference.shape:
        raise ValueError(f"prediction of shape {prediction.shape} and reference of shape {reference.shape} differ")
    if prediction.ndim != 2 or prediction.size == 0:
        raise ValueError(f"masks of shape {prediction.shape}: a mask is 2-D and has pixels")
    rows, others = (np.asarray(mask != 0, np.float64) for mask in (prediction, reference))
    differing = rows.sum(axis=1)[:, None] + others.sum(axis=1) - 2 * rows @ others.T
    return float(np.sqrt(differing.min(axis=1)).mean() + np.sqrt(differing.min(axis=0)).mean())


def _differing(
    maps: LabelMaps, box: NDArray[np.int64]
) -> tuple[NDArray[np.int32], NDArray[np.uint8], NDArray[np.uint8]]:
    """The voxels in which the maps differ: (plane, row, place) each, and the two codes there."""
    places, predicted, referred = [np.empty((0, 3), np.int32)], [np.empty(0, np.uint8)], [np.empty(0, np.uint8)]
    both = zip(maps.blocks(maps.prediction, box), maps.blocks(maps.reference, box), strict=True)
    for (first, prediction), (_, reference) in both:
        inner = (slice(1, -1),) * 3
        differ = prediction[inner] != reference[inner]
        places.append(np.add(np.argwhere(differ), (first, *box[0, 1:])).astype(np.int32))
        predicted.append(prediction[inner][differ])
        referred.append(reference[inner][differ])
    return np.concatenate(places), np.concatenate(predicted), np.concatenate(referred)
