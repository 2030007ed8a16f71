"""The points that stand for the surface of every label of a map, found in one pass for all labels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from pipeline.metrics.jit import compiled
from pipeline.metrics.kernels import BRANCHES, LEAF
from pipeline.metrics.maps import CODES, LabelMaps
from pipeline.metrics.surfel import contour_lengths, surfel_areas

Surface = Literal["voxel", "surfel"]

ROWS = 32  # around a point, that are looked through before it counts as far
MANY_ROWS = 1024  # the same where few are far: one in FEW of the others, and these are not worth boxes
FEW = 64


@dataclass(frozen=True)
class Points:
    """Points of a grid, (n, 3) of (plane, row, place in the row), in the order of memory.

    weights: the area in mm² (length in mm, of an image) that each stands for; None: they count alike.
    """

    grid: NDArray[np.int32]
    weights: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.grid)


def surface_points(
    maps: LabelMaps, voxels: NDArray[np.uint8], box: NDArray[np.int64], surface: Surface
) -> dict[int, Points]:
    """Code of the label -> its surface points, for the labels that `voxels` (one of the two maps) holds.

    voxel: the voxels with a face neighbour that is not of the label, the outside of the map included.
    surfel: the corners between eight voxels of which some are of the label, with the area of the surface there.
    """
    if surface == "voxel":
        found = _border_voxels(maps, voxels, box)
        return {label: Points(found[which, :3]) for label, which in _by_label(found[:, 3])}
    corners, around = _mixed_corners(maps, voxels, box)
    areas = contour_lengths(maps.spacing_mm[1:]) if maps.planar else surfel_areas(maps.spacing_mm)
    points, seen = {}, np.zeros(CODES, bool)
    seen[around] = True
    for label in np.flatnonzero(seen[1:]).tolist():
        codes = np.packbits(around.reshape(-1) == label + 1)
        which = np.flatnonzero(codes)  # none is whole: labels meet here
        points[label + 1] = Points(corners[which], areas[codes[which]])
    return points


def nearest_mm(points: Points, others: Points, maps: LabelMaps) -> NDArray[np.float64]:
    """Distance in mm from each point to the nearest of the others, of which there is at least one."""
    near, far = compiled("nearest_in_rows"), compiled("nearest_in_boxes")
    spacing = np.array(maps.spacing_mm)
    if near is None or far is None:
        tree = cKDTree(others.grid * spacing, leafsize=32, balanced_tree=False, compact_nodes=False)
        _, nearest = tree.query(points.grid * spacing)
        return np.sqrt((((points.grid - others.grid[nearest]) * spacing) ** 2).sum(axis=1))
    along = maps.planar + int(np.argmin(spacing[maps.planar :]))  # fewest rows lie near then
    axes = [axis for axis in range(3) if axis != along] + [along]
    of, to = (np.ascontiguousarray(each.grid[:, axes]) for each in (points, others))
    squares = near(of, to, *_row_steps(ROWS, maps.planar, spacing[axes]), spacing[along])
    rest = np.flatnonzero(squares < 0)
    if 0 < rest.size * FEW < len(others):
        squares[rest] = near(of[rest], to, *_row_steps(MANY_ROWS, maps.planar, spacing[axes]), spacing[along])
        rest = rest[squares[rest] < 0]
    if rest.size:
        ordered = others.grid[_order_on_curve(others.grid, spacing)]
        squares[rest] = far(points.grid[rest], ordered, *_nested_boxes(ordered), spacing)
    return np.sqrt(squares)


def _by_label(labels: NDArray[np.int32]) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """The places of each label, in order."""
    order = np.argsort(labels.astype(np.uint8), kind="stable")
    sizes = np.bincount(labels)
    ends = np.cumsum(sizes)
    for label in np.flatnonzero(sizes).tolist():
        yield label, order[ends[label] - sizes[label] : ends[label]]


def _row_steps(
    rows: int, planar: bool, spacing_mm: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The steps and squares of `kernels.nearest_in_rows`, about `rows` of them."""
    spacing_z, spacing_y, _ = spacing_mm
    radius = rows / 2 * spacing_y if planar else (rows / np.pi * spacing_z * spacing_y) ** 0.5
    z, y = 0 if planar else int(radius / spacing_z), int(radius / spacing_y)
    steps = np.stack(np.meshgrid(np.arange(-z, z + 1), np.arange(-y, y + 1), indexing="ij"), axis=-1).reshape(-1, 2)
    squares = (steps[:, 0] * spacing_z) ** 2 + (steps[:, 1] * spacing_y) ** 2
    order = np.argsort(squares, kind="stable")
    order = order[squares[order] <= radius**2]
    return np.ascontiguousarray(steps[order]), np.append(squares[order], radius**2)


def _order_on_curve(grid: NDArray[np.int32], spacing_mm: NDArray[np.float64]) -> NDArray[np.int64]:
    """An order in which points beside each other are near each other: along a Z-order (Morton) curve in mm."""
    codes = np.zeros(len(grid), np.int64)
    for axis, step in enumerate(spacing_mm / spacing_mm.min()):
        places = grid[:, axis] - grid[:, axis].min()
        cells = (np.arange(places.max() + 1) * step).astype(np.int64)
        codes |= sum((cells >> bit & 1) << 3 * bit + axis for bit in range(21))[places]
    return np.argsort(codes, kind="stable")


def _nested_boxes(ordered: NDArray[np.int32]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """The boxes of `kernels.nearest_in_boxes` and where their levels start."""
    low = high = ordered
    levels, size = list[NDArray[np.int32]](), LEAF
    while not levels or len(low) > 1:
        starts = np.arange(0, len(low), size)
        low, high = np.minimum.reduceat(low, starts), np.maximum.reduceat(high, starts)
        levels.append(np.hstack((low, high)))
        size = BRANCHES
    return np.concatenate(levels), np.cumsum([0, *map(len, levels)])


def _border_voxels(maps: LabelMaps, voxels: NDArray[np.uint8], box: NDArray[np.int64]) -> NDArray[np.int32]:
    kernel, occupied = compiled("border_voxels"), compiled("occupied_rows")
    if kernel is not None and occupied is not None:
        return kernel(voxels, maps.shape, box, maps.planar, occupied(voxels, maps.shape, box))
    found = [np.empty((0, 4), np.int32)]
    for first, block in maps.blocks(voxels, box):
        centre = block[1:-1, 1:-1, 1:-1]
        border = np.zeros(centre.shape, bool)
        for axis in range(maps.planar, 3):
            for side in (slice(None, -2), slice(2, None)):
                border |= centre != block[tuple(side if k == axis else slice(1, -1) for k in range(3))]
        border &= centre > 0
        corner = (first, *box[0, 1:])
        found.append(np.column_stack((np.add(np.argwhere(border), corner), centre[border])).astype(np.int32))
    return np.concatenate(found)


def _mixed_corners(
    maps: LabelMaps, voxels: NDArray[np.uint8], box: NDArray[np.int64]
) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
    kernel, occupied = compiled("mixed_corners"), compiled("occupied_rows")
    if kernel is not None and occupied is not None:
        return kernel(voxels, maps.shape, box, maps.planar, occupied(voxels, maps.shape, box))
    found, labels = [np.empty((0, 3), np.int32)], [np.empty((0, 8), np.uint8)]
    for first, block in maps.blocks(voxels, box):
        is_last = first + len(block) - 2 == box[1, 0]
        planes = block[[1, 1]] if maps.planar else block if is_last else block[:-1]
        sides = (slice(None, -1), slice(1, None))
        around = [planes[z, y, x] for z in sides for y in sides for x in sides]
        mixed = np.logical_or.reduce([each != around[0] for each in around[1:]])
        labels.append(np.stack([each[mixed] for each in around], axis=1))
        found.append(np.add(np.argwhere(mixed), (first, *box[0, 1:])).astype(np.int32))
    return np.concatenate(found), np.concatenate(labels)
