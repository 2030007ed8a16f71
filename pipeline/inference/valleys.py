r"""Objects of a map by the valleys between them: of how far inside a pixel lies, and of how far from the edge.

    inside   f > `inside`, grown by the border of `border` pixels which training took off                   (1)
    surface  s = G * (`distance` d + `certainty` min(max(f, 0), 2)),   d pixels from (1)'s edge              (2)
    objects  basins of -s in each blob of (1): two peaks of s are two objects if each lies `depth` or more   (3)
             above the highest pass between them
    kept     objects of `min_area` pixels or more                                                            (4)

Components (grouping.py) part what a cut of f parts; here what a valley parts, at whatever height it lies. Nuclei are
convex: where two have grown into one blob, it has a neck, which d sees and f need not.

Blobs are parted each by itself. (3) is the watershed by flooding, of minima no shallower than `depth`, of SimpleITK.
f above 2, whose values tell neighbours apart, is cut off: it says nothing of how sure the network is.

Reference: Vincent, Soille, Watersheds in digital spaces (IEEE PAMI 1991); Malpica et al., Applying watershed algorithms
to the segmentation of clustered nuclei (Cytometry 1997), for (2)'s d. Not from there: f beside it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, find_objects, gaussian_filter, label, maximum_filter

from pipeline.inference.grouping import components, numbered
from pipeline.losses.dvis import FOREGROUND_MARGIN


@dataclass(frozen=True, kw_only=True)
class ValleyGrouping:
    """A `Grouping` (grouping.py) by (1) to (4).

    distance, certainty: weights in (2); d is in pixels, f in 0 ... 2. depth: of a valley, in the units of s.
    smoothing: standard deviation of G in pixels. border, inside, min_area: as in ModeGrouping.
    """

    distance: float = 1.0
    certainty: float = 2.0
    depth: float = 1.0
    smoothing: float = 1.0
    min_area: int = 20
    border: int = 0
    inside: float = FOREGROUND_MARGIN / 2

    def __call__(self, outputs: NDArray[np.floating]) -> NDArray[np.int32]:
        (f,) = outputs
        foreground = maximum_filter(f > self.inside, 2 * self.border + 1)
        within = np.where(foreground, np.clip(f, 0, FOREGROUND_MARGIN), 0).astype(np.float32)
        surface = self.certainty * within
        if not foreground.all():  # without an edge there is no distance
            surface += self.distance * distance_transform_edt(foreground).astype(np.float32)
        parts = _parted(gaussian_filter(surface, self.smoothing), foreground, self.depth)
        return numbered(parts.ravel(), self.min_area).reshape(f.shape)


def _parted(surface: NDArray[np.floating], foreground: NDArray[np.bool_], depth: float) -> NDArray[np.int32]:
    """The blobs of `foreground` parted by (3), each by itself, with numbers from 1; 0 beside them."""
    blobs, count = label(foreground)
    parts = blobs.astype(np.int32)
    peaks = np.bincount(blobs[foreground & _peak(surface)], minlength=count + 1)
    for blob, window in enumerate(find_objects(blobs), start=1):
        if peaks[blob] > 1:  # with one peak it is one object: most are, and need no watershed
            own = blobs[window] == blob
            basins = _basins(np.where(own, surface[window], 0), depth)[own]
            parts[window][own] = np.where(basins == basins[0], blob, count + basins)
            count += int(basins.max())
    return components(parts)


def _peak(surface: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Pixels than which none of the four beside, above and below is higher."""
    padded = np.pad(surface, 1, constant_values=-np.inf)
    beside = (padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:])
    return np.all([surface >= other for other in beside], axis=0)


def _basins(surface: NDArray[np.floating], depth: float) -> NDArray[np.int32]:
    """Numbers from 1 of the peaks of `surface` that stand out by `depth`, each with what drains from it."""
    below = sitk.GetImageFromArray((-surface).astype(np.float32))
    found = sitk.MorphologicalWatershed(below, level=depth, markWatershedLine=False, fullyConnected=False)
    return sitk.GetArrayFromImage(found).astype(np.int32)
