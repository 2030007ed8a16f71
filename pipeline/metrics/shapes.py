r"""Size, place and shape of every object of a label map, by counting once.

    area a = sum 1,   centroid c = sum x / a,   C = sum (x - c)(x - c)^T / a + I / 12                       (1)
    eccentricity = sqrt(1 - l2 / l1),  l1 >= l2 the eigenvalues of C: that of the ellipse with these moments (2)

The I / 12 of (1) is the second moment of a pixel about its own centre: a single pixel is round, eccentricity 0, and a
rectangle of b by d pixels has exactly sqrt(1 - b^2 / d^2).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Shapes:
    """One entry an object, in ascending order of labels. Centroids in pixels: the first pixel's centre is (0, 0)."""

    labels: NDArray[np.int64]
    area_px: NDArray[np.int64]
    centroid_x: NDArray[np.float64]  # along the columns
    centroid_y: NDArray[np.float64]  # along the rows
    eccentricity: NDArray[np.float64]
    mean_intensity: NDArray[np.float64]
    touches_border: NDArray[np.bool_]  # has a pixel in the map's first or last row or column: perhaps it goes on there


def shapes(objects: NDArray[np.integer], intensity: NDArray) -> Shapes:
    """Of every label above 0 of a map (rows, columns); intensity: (rows, columns), any values.

    ValueError: an intensity of another shape.
    """
    if objects.shape != intensity.shape or objects.ndim != 2:
        raise ValueError(f"objects {objects.shape} and intensity {intensity.shape} must be (rows, columns) alike")
    y, x = np.nonzero(objects)
    labels, index = np.unique(objects[y, x], return_inverse=True)

    def total(values: NDArray) -> NDArray[np.float64]:
        return np.bincount(index, values, len(labels)).astype(np.float64, copy=False)

    area = np.bincount(index, minlength=len(labels))
    cy, cx = total(y) / area, total(x) / area
    dy, dx = y - cy[index], x - cx[index]
    yy, xx, xy = total(dy * dy) / area + 1 / 12, total(dx * dx) / area + 1 / 12, total(dx * dy) / area
    last_y, last_x = np.array(objects.shape) - 1
    at_border = (y == 0) | (x == 0) | (y == last_y) | (x == last_x)
    half_sum, root = (yy + xx) / 2, np.hypot((yy - xx) / 2, xy)
    return Shapes(
        labels=labels.astype(np.int64),
        area_px=area,
        centroid_x=cx,
        centroid_y=cy,
        eccentricity=np.sqrt(2 * root / (half_sum + root)),
        mean_intensity=total(intensity[y, x].astype(np.float64)) / area,
        touches_border=total(at_border) > 0,
    )
