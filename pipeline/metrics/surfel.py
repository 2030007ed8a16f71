"""The area that the surface of an object has between eight neighbouring voxels, by which of them belong to it.

The surface is that of marching cubes (Lorensen and Cline 1987): triangles between the middles of the cube's edges.
Triangles of the same eight voxels that are mirrored, turned or exchanged inside for outside have the same areas, so
the 13 cases below give all 256; they are those of DeepMind's surface-distance (Nikolov et al. 2018).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

# Code of the voxels inside (bit 7 - (4 z + 2 y + x) for voxel (z, y, x) of the cube): for each triangle (two where they
# lie in one plane) its extent in the planes across the axes z, y, x, in eighths of a face of the cube.
CASES = {
    0b00000001: ((1, 1, 1),),
    0b00000011: ((2, 2, 0), (2, 2, 0)),
    0b00000110: ((1, 1, 1), (1, 1, 1)),
    0b00000111: ((4, 0, 0), (2, 2, 2), (1, 1, 1)),
    0b00001111: ((4, 0, 0), (4, 0, 0)),
    0b00010110: ((1, 1, 1), (1, 1, 1), (1, 1, 1)),
    0b00010111: ((1, 1, 1), (2, 2, 2), (2, 2, 2), (1, 1, 1)),
    0b00011000: ((1, 1, 1), (1, 1, 1)),
    0b00011001: ((0, 2, 2), (0, 2, 2), (1, 1, 1)),
    0b00011011: ((1, 1, 1), (3, 3, 3), (0, 2, 2), (2, 0, 2)),
    0b00011110: ((4, 0, 0), (1, 1, 1), (2, 2, 2), (1, 1, 1)),
    0b00111100: ((2, 2, 0), (2, 2, 0), (2, 2, 0), (2, 2, 0)),
    0b01101001: ((1, 1, 1), (1, 1, 1), (1, 1, 1), (1, 1, 1)),
}


def surfel_areas(spacing_mm: Sequence[float]) -> NDArray[np.float64]:
    """Area in mm² by neighbour code, (256,); spacing_mm along z, y, x."""
    z, y, x = spacing_mm
    return np.asarray(np.linalg.norm(_triangles() * (y * x, z * x, z * y), axis=-1).sum(axis=-1))


def contour_lengths(spacing_mm: Sequence[float]) -> NDArray[np.float64]:
    """Length in mm of the contour between four neighbouring pixels, (256,): code 17 * c for the pixels c.

    Bit 3 - (2 y + x) of c tells whether pixel (y, x) of the square is inside; spacing_mm along y, x.
    """
    y, x = spacing_mm
    diagonal = np.hypot(y, x) / 2
    lengths = np.zeros(16)
    lengths[[0b0001, 0b0010, 0b0100, 0b1000]] = diagonal
    lengths[[0b0110, 0b1001]] = 2 * diagonal
    lengths[0b0011], lengths[0b0101] = x, y
    lengths = np.maximum(lengths, lengths[::-1])  # the other half has inside and outside exchanged
    by_code = np.zeros(256)
    by_code[::17] = lengths
    return by_code


@cache
def _triangles() -> NDArray[np.float64]:
    """The extent of the triangles of each code across the axes, (256, 4, 3), in faces of the cube; 0: no triangle."""
    table = np.zeros((256, 4, 3))
    for case, triangles in CASES.items():
        inside = np.unpackbits(np.array([case], np.uint8)).reshape(2, 2, 2)
        for axes in itertools.permutations(range(3)):
            extents = np.array(triangles)[:, axes] / 8
            for flips in itertools.product((1, -1), repeat=3):
                turned = inside.transpose(axes)[tuple(slice(None, None, step) for step in flips)]
                code = int(np.packbits(turned)[0])
                table[[code, 255 - code], : len(extents)] = extents
    return table
