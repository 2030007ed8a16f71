"""Which array axes run along the patient's, and the same voxels with their axes in that order."""

from __future__ import annotations

import numpy as np
from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation

from pipeline.io.volume import Volume


def canonical_order(volume: Volume) -> tuple[tuple[int, int, int], tuple[bool, bool, bool]]:
    """Of a volume: which array axis runs closest along R, A and S, and whether it runs against it."""
    world_axis, direction = io_orientation(volume.affine).T
    order = np.argsort(world_axis)
    flips = direction[order] < 0
    return (int(order[0]), int(order[1]), int(order[2])), (bool(flips[0]), bool(flips[1]), bool(flips[2]))


def canonical(volume: Volume) -> Volume:
    """The volume with its axes reordered and flipped to be closest to RAS+: a view, nothing is interpolated.

    Every voxel keeps its place in the patient; a channel stays last.
    """
    orientation = io_orientation(volume.affine)
    affine = volume.affine @ inv_ornt_aff(orientation, volume.spatial_shape)
    return Volume(apply_orientation(volume.array, orientation), affine)
