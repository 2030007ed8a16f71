"""The outlines of a mask as closed polygons along the edges of its pixels: filled, they are the mask again.

A pixel is the square of half a pixel around its centre: no centre lies on an outline, so all rules of filling agree;
area is exact, and a single pixel is a square. Corners of the outline are where 2 x 2 pixels around a lattice point are
not split straight; along each lattice line they pair up into edges, which link them into rings. Pixels that touch at a
corner only are apart (4-connected); the background between them is connected.

A hole is cut out through a keyhole: the outer ring runs to the hole along a lattice line, around it, and back the same
way. DICOM names this technique for CLOSED_PLANAR contours (PS3.3 C.8.8.6.3), and of the readers those that fill each
contour by itself see the hole as well as those that combine the contours of a slice by XOR.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Ring = NDArray[np.int64]  # (n, 2) lattice points x, y; pixel (c, r) lies between (c, r) and (c + 1, r + 1)


def outlines(mask: NDArray[np.bool_]) -> list[NDArray[np.float64]]:
    """One polygon (n, 2) of (column, row) for each 4-connected part of the `mask` (rows, columns), holes cut out.

    Pixel centres have whole numbers, the vertices lie halfway between them; the first is not repeated. Empty mask: [].
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        return []
    first = np.array([columns[0], rows[0]])
    part = np.pad(mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1], 1)
    outer: list[Ring] = []
    holes: list[Ring] = []
    for ring in _rings(part):
        x, y = ring[np.lexsort((ring[:, 0], ring[:, 1]))[0]]  # the leftmost of its topmost corners
        (outer if part[y, x] else holes).append(ring)
    polygons = [_turning(ring, clockwise=True) for ring in outer]
    # A keyhole runs to the left, so it ends on a ring that begins further left than its hole and is there already.
    for hole in sorted(holes, key=lambda ring: int(ring[:, 0].min())):
        _cut_out(polygons, _turning(hole, clockwise=False), part)
    return [polygon + (first - 1.5) for polygon in polygons]


def _rings(mask: NDArray[np.bool_]) -> list[Ring]:
    """The closed outlines of a padded mask as their corners in turn, horizontal and vertical edges alternating."""
    points, saddle, falling = _corners(mask)
    x, y = points.T
    # Of the two corners at a saddle the first leads left, the second right; up and down as the touching pixels lie.
    twin = np.zeros(len(points), int)
    twin[1:] = saddle[1:] & (points[1:] == points[:-1]).all(axis=1)
    upper_first = np.where(falling, twin, 1 - twin)
    beside, above = _partners(np.lexsort((twin, x, y))), _partners(np.lexsort((upper_first, y, x)))
    rings, seen = [], np.zeros(len(points), bool)
    for start in range(len(points)):
        ring = []
        at = start
        while not seen[at]:
            other = beside[at]
            seen[[at, other]] = True
            ring += [at, other]
            at = above[other]
        if ring:
            rings.append(points[ring])
    return rings


def _corners(mask: NDArray[np.bool_]) -> tuple[Ring, NDArray[np.bool_], NDArray[np.bool_]]:
    """Lattice points where the outline turns (twice at a saddle, in a row), whether each is one, and which of the two.

    falling: the touching pixels of the saddle lie upper left and lower right.
    """
    a, b, c, d = mask[:-1, :-1], mask[:-1, 1:], mask[1:, :-1], mask[1:, 1:]
    saddle = (a == d) & (b == c) & (a != b)
    y, x = np.nonzero((a ^ b ^ c ^ d) | saddle)
    times = 1 + saddle[y, x]
    points = np.repeat(np.stack([x, y], axis=1) + 1, times, axis=0)
    return points, np.repeat(saddle[y, x], times), np.repeat(a[y, x], times)


def _partners(order: NDArray[np.intp]) -> NDArray[np.intp]:
    """Who is paired with whom when those in `order` are taken two by two."""
    partner = np.empty_like(order)
    partner[order[0::2]], partner[order[1::2]] = order[1::2], order[0::2]
    return partner


def _turning(ring: Ring, *, clockwise: bool) -> Ring:
    """The ring in this sense on the screen, where y runs down: holes against their outlines, as winding fills ask."""
    x, y = ring.T
    twice_the_area = int((x * np.roll(y, -1) - np.roll(x, -1) * y).sum())
    return ring if (twice_the_area > 0) == clockwise else ring[::-1]


def _cut_out(polygons: list[Ring], hole: Ring, mask: NDArray[np.bool_]) -> None:
    """Join `hole` to the polygon on its left, in place."""
    start = int(np.lexsort((hole[:, 1], hole[:, 0]))[0])  # the topmost of its leftmost corners
    x, y = hole[start]
    inside = mask[y - 1, :x] & mask[y, :x]
    door = np.array([x - int(inside[::-1].argmin()), y])  # where the line to the left leaves the mask
    for i, polygon in enumerate(polygons):
        following = np.roll(polygon, -1, axis=0)
        low, high = np.minimum(polygon[:, 1], following[:, 1]), np.maximum(polygon[:, 1], following[:, 1])
        on = (polygon[:, 0] == door[0]) & (following[:, 0] == door[0]) & (low <= y) & (y <= high)
        if on.any():
            k = int(on.argmax()) + 1
            around = np.roll(hole, -start, axis=0)
            polygons[i] = np.concatenate([polygon[:k], [door], around, around[:1], [door], polygon[k:]])
            return
    raise AssertionError("a hole lies inside an outline")
