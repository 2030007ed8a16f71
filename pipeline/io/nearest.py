"""Label maps on another grid: nothing is interpolated, every voxel takes the nearest one's label."""

from __future__ import annotations

import numpy as np

from pipeline.io.volume import Volume


def nearest(labels: Volume, like: Volume) -> Volume:
    """Each voxel of the grid of `like` with the value of the nearest voxel of `labels`, 0 where that has none.

    Both are volumes without a channel. Voxels are cubes around their centres; a place on a face between two belongs to
    the one of the higher index.
    """
    to_index = np.linalg.inv(labels.affine) @ like.affine
    out = np.zeros(like.spatial_shape, labels.array.dtype, order="F")
    x, y = np.ogrid[: out.shape[0], : out.shape[1]]
    for z in range(out.shape[2]):  # a slab at a time: indices take eight bytes and three axes a voxel
        places = [row[0] * x + row[1] * y + (row[2] * z + row[3]) for row in to_index[:3]]
        indices = [np.floor(place + 0.5 + 1e-6).astype(np.intp) for place in places]
        bounds = zip(indices, labels.spatial_shape, strict=True)
        inside = np.logical_and.reduce([(index >= 0) & (index < size) for index, size in bounds])
        out[..., z][inside] = labels.array[tuple(index[inside] for index in indices)]
    return Volume(out, like.affine)


def on_one_lattice(one: Volume, other: Volume) -> bool:
    """Whether the voxels of two volumes coincide where both have some: `nearest` then only turns, shifts and crops."""
    steps = np.rint(np.linalg.inv(one.affine) @ other.affine)
    return Volume(other.array, one.affine @ steps).same_grid(other) and abs(np.linalg.det(steps)) == 1
