r"""A contour on a volume, evolved slice by slice, by adding the change to it on the volume's own grid.

    phi(t) = phi0 + up(change(t, down(I), down(phi0)))                                                      (1)

phi0 is the distance map of a given mask on the volume's grid, cut off as the evolution cuts it off; only the change
goes through the network's coarser grid. An untrained evolution changes nothing and returns the mask bit for bit,
whereas the mask itself, resampled to the coarse grid and back, would lose some per cent of its IoU.

Moves too small to be told are not made: within each slice, a part of the difference between both contours that
nowhere reaches further from the mask's contour than a given distance stays as it was drawn. A part that does is taken
as a whole, so that a mask with one wrong place keeps its right ones to the voxel. An evolution cannot tell a right
contour from one that is half a pixel of its own grid too small, and would redraw both.

What the mask does not touch is not grown: a part of the result that shares no voxel with it is taken out again, so that
the contour of one kidney does not find the other one. Parts are connected by the faces of voxels, in three dimensions.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from pipeline.errors import CaseError
from pipeline.inference.slabs import AxialSlabs
from pipeline.inference.trajectory import Recorder
from pipeline.io.nearest import nearest
from pipeline.io.orientation import canonical
from pipeline.io.pixels import as_labels
from pipeline.io.volume import Volume
from pipeline.metrics.overlap import label_counts
from pipeline.numerics.signed_distance import narrow_band_distance


class Evolution(Protocol):
    """What a network must offer to refine contours; networks/contour_evolution.ContourEvolution does."""

    cut_px: float  # distance maps are cut off here

    def change(self, image: Tensor, initial: Tensor) -> Tensor: ...

    def trajectory(self, image: Tensor, initial: Tensor) -> tuple[list[float], Tensor]: ...


# A slab's phi0: (slices, images on the network's grid) -> on the volume's (n, 1, X, Y) and on the network's grid
Start = Callable[[range, Tensor], tuple[Tensor, Tensor]]


def object_mask(
    initial: Volume, image: Volume, labels: Sequence[int] = (), *, own: Collection[int] = ()
) -> NDArray[np.bool_]:
    """The object of an initial label map, on the image's grid: its only label, all of `labels`, or several of `own`,
    the labels of the bundle itself.

    CaseError: GRID_MISMATCH (axes in another order or direction are none); BAD_LABELS for several labels of which none
    was chosen, for values that are no labels, or a map that is full.
    """
    if initial.spatial_dims != image.spatial_dims or not canonical(initial).same_grid(canonical(image)):
        raise CaseError(
            "GRID_MISMATCH",
            f"the initial mask has shape {initial.spatial_shape} and affine {initial.affine.round(3).tolist()}, the "
            f"image {image.spatial_shape} and {image.affine.round(3).tolist()}: give a mask of this image, on its grid",
        )
    try:
        array = as_labels(initial.array if initial.same_grid(image) else nearest(initial, like=image).array)
    except ValueError as error:
        raise CaseError("BAD_LABELS", f"the initial mask: {error}") from error
    found = (np.flatnonzero(label_counts(array)[1:]) + 1).tolist()
    if len(found) > 1 and not labels and not set(found) <= set(own):
        raise CaseError(
            "BAD_LABELS",
            f"the initial mask has the labels {', '.join(map(str, found[:10]))}: say which of them are the object, for "
            f"example --initial-label {found[0]}",
        )
    mask = np.isin(array, labels) if labels else array != 0
    if mask.all():
        raise CaseError("BAD_LABELS", "the initial mask is full, there is no contour to evolve: give the object's mask")
    return mask


def from_mask(mask: NDArray[np.bool_], evolution: Evolution, slabs: AxialSlabs) -> Start:
    """phi0 of a mask on the volume's grid."""
    view, width = slabs.canonical(mask), evolution.cut_px

    def start(slices: range, images: Tensor) -> tuple[Tensor, Tensor]:
        maps = [narrow_band_distance(view[:, :, k], width, slabs.spacing_px) for k in slices]
        distance = torch.from_numpy(np.stack(maps))[:, None].to(images)
        return distance, slabs.grid.to_network(distance, air=-width)

    return start


def from_regressor(regressor: Callable[[Tensor], Tensor], evolution: Evolution, slabs: AxialSlabs) -> Start:
    """phi0 of the bundle's own regressor."""

    def start(slices: range, images: Tensor) -> tuple[Tensor, Tensor]:
        distance = regressor(images).clamp(-evolution.cut_px, evolution.cut_px)
        return slabs.grid.to_volume(distance), distance

    return start


def evolve(
    image: Volume,
    slabs: AxialSlabs,
    evolution: Evolution,
    start: Start,
    *,
    keep_within_px: float = 0.0,
    recorder: Recorder | None = None,
) -> Volume:
    """{phi(1) > 0} of (1), uint8, with the image's shape, affine and memory order; `recorder` receives phi(t).

    keep_within_px: moves that nowhere reach further than this, in pixels of the network, are not made.
    """
    labels = np.zeros_like(image.array, dtype=np.uint8)
    view = slabs.canonical(labels)
    for slices, images in slabs:
        on_volume, on_network = start(slices, images)
        if recorder is None:
            times, changes = [1.0], evolution.change(images, on_network)[None]
        else:
            times, changes = evolution.trajectory(images, on_network)
        for i, k in enumerate(slices):
            if (on_volume[i] > 0).any() or (on_network[i] + changes[:, i] > 0).any():
                levels = (on_volume[i, 0] + slabs.grid.to_volume(changes[:, i, 0])).cpu().numpy()
                if keep_within_px > 0:
                    undo_small_moves(levels, on_volume[i, 0].cpu().numpy(), keep_within_px)
                view[:, :, k] = levels[-1] > 0
                if recorder is not None:
                    recorder.add(k, times, levels)
    return Volume(labels, image.affine)


def undo_small_moves(levels: NDArray[np.float32], initial: NDArray[np.float32], within: float) -> None:
    """Set `levels` (times, X, Y) to `initial` (X, Y) in the parts of {levels[-1] > 0} - {initial > 0}, the symmetric
    difference, where |initial| is nowhere above `within`. Pixels that share a corner are of one part.
    """
    moved = (initial > 0) != (levels[-1] > 0)
    parts, count = ndimage.label(moved, np.ones((3, 3)))
    reach = np.zeros(count + 1)
    np.maximum.at(reach, parts[moved], np.abs(initial[moved]))
    small = moved & (reach <= within)[parts]
    levels[:, small] = initial[small]


def strangers(labels: NDArray[np.uint8], mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The voxels of parts of `labels` that share none with `mask`."""
    parts, _ = ndimage.label(labels)
    return (labels > 0) & ~np.isin(parts, np.unique(parts[mask & (labels > 0)]))
