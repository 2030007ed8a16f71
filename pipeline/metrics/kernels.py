"""The inner loops over voxels and surface points: plain Python on numpy arrays, written to be compiled by numba.

`pipeline.metrics.jit` compiles them; interpreted they give the same results, some hundred times slower. None calls
another, so that each compiles and is cached alone.

A map is its voxels in the order of memory, flat (uint8), with `shape` = (planes, rows of a plane, voxels of a row).
Words are the same memory eight voxels at a time (uint64, without the last few voxels where eight do not divide them):
most of a map is 0 and passed over so. box: the first and one past the last (plane, row, voxel) of the foreground of
both maps.
"""

from __future__ import annotations

from typing import Any

import numpy as np

LEAF, BRANCHES = 8, 4  # points to a box, and boxes to a larger one, of `nearest_in_boxes`


def scan(
    prediction: Any, reference: Any, prediction_words: Any, reference_words: Any, shape: Any, table: Any, box: Any
) -> None:
    """Count the pairs (label predicted, label of reference) but (0, 0) into `table`, and set `box`."""
    _, rows, length = shape
    low_z, low_y, low_x = shape
    high_z, high_y, high_x = -1, -1, -1  # and so the box of nothing is empty
    last_p, last_r, run = 0, 0, 0  # pairs come in runs: the table is touched once for each
    n_words = prediction_words.size
    for word in range(n_words + 1):
        first, stop = 8 * word, 8 * word + 8
        if word == n_words:
            stop = prediction.size
        elif prediction_words[word] | reference_words[word] == 0:
            continue
        row = first // length
        z, y, x = row // rows, row % rows, first % length
        for i in range(first, stop):
            p, r = prediction[i], reference[i]
            if p | r:
                if p != last_p or r != last_r:
                    table[last_p, last_r] += run
                    last_p, last_r, run = p, r, 0
                run += 1
                low_z, high_z = min(low_z, z), max(high_z, z)
                low_y, high_y = min(low_y, y), max(high_y, y)
                low_x, high_x = min(low_x, x), max(high_x, x)
            x += 1
            if x == length:
                x, y = 0, y + 1
                if y == rows:
                    y, z = 0, z + 1
    table[last_p, last_r] += run
    if high_z < 0:
        low_z, low_y, low_x = 0, 0, 0
    box[0, 0], box[0, 1], box[0, 2] = low_z, low_y, low_x
    box[1, 0], box[1, 1], box[1, 2] = high_z + 1, high_y + 1, high_x + 1


def occupied_rows(voxels: Any, shape: Any, box: Any) -> Any:
    """Which rows of the box hold a label: (planes + 2, rows + 2) of the box, with a margin of rows that hold none."""
    _, rows, length = shape
    occupied = np.zeros((box[1, 0] - box[0, 0] + 2, box[1, 1] - box[0, 1] + 2), np.bool_)
    for z in range(box[0, 0], box[1, 0]):
        for y in range(box[0, 1], box[1, 1]):
            i, some = (z * rows + y) * length, 0
            row = voxels[i + box[0, 2] : i + box[1, 2]]
            for x in range(len(row)):
                some |= row[x]
            occupied[z - box[0, 0] + 1, y - box[0, 1] + 1] = some != 0
    return occupied


def border_voxels(voxels: Any, shape: Any, box: Any, planar: Any, occupied: Any) -> Any:
    """The voxels of a label with a face neighbour that is none of it, or none at all: (plane, row, place, label) each.

    planar: the map is an image, and its one plane has no neighbours to be had.  occupied: of `occupied_rows`.
    """
    planes, rows, length = shape
    found, n = np.empty((1024, 4), np.int32), 0
    left, wide = box[0, 2], box[1, 2] - box[0, 2]
    border = np.zeros(wide // 8 * 8 + 8, np.uint8)
    border_words = border.view(np.uint64)
    for z in range(box[0, 0], box[1, 0]):
        for y in range(box[0, 1], box[1, 1]):
            if not occupied[z - box[0, 0] + 1, y - box[0, 1] + 1]:
                continue
            i = (z * rows + y) * length + left
            here = voxels[i : i + wide]
            if y == 0 or y == rows - 1 or (not planar and (z == 0 or z == planes - 1)):
                border[:wide] = here
            else:
                plane = 0 if planar else rows * length
                west, east = voxels[i - 1 : i - 1 + wide], voxels[i + 1 : i + 1 + wide]
                north, south = voxels[i - length : i - length + wide], voxels[i + length : i + length + wide]
                below, above = voxels[i - plane : i - plane + wide], voxels[i + plane : i + plane + wide]
                for x in range(wide):  # no branches: the compiler takes 16 or more voxels at a time
                    label = here[x]
                    differs = (west[x] ^ label) | (east[x] ^ label) | (north[x] ^ label) | (south[x] ^ label)
                    differs |= (below[x] ^ label) | (above[x] ^ label)
                    border[x] = label if differs else 0
                if left == 0:
                    border[0] = here[0]
                if left + wide == length:
                    border[wide - 1] = here[wide - 1]
            for word in range(len(border_words)):
                if border_words[word] == 0:
                    continue
                for x in range(8 * word, 8 * word + 8):
                    if border[x]:
                        if n == len(found):
                            found = np.concatenate((found, np.empty_like(found)))
                        found[n, 0], found[n, 1], found[n, 2], found[n, 3] = z, y, left + x, border[x]
                        n += 1
    return found[:n].copy()


def mixed_corners(voxels: Any, shape: Any, box: Any, planar: Any, occupied: Any) -> Any:
    """The voxel corners where labels meet: (plane, row, place) each, and the labels of the eight voxels around it.

    Corner (z, y, x) lies between the voxels z - 1 and z, y - 1 and y, x - 1 and x: there is one plane, row and place
    more of corners than of voxels. Voxel 4 dz + 2 dy + dx is (z - 1 + dz, ...); outside the map all is 0. planar: both
    planes around a corner are the image's one.  occupied: of `occupied_rows`.
    """
    _, rows, length = shape
    found, labels, n = np.empty((1024, 3), np.int32), np.empty((1024, 8), np.uint8), 0
    left, wide = box[0, 2], box[1, 2] - box[0, 2]
    around = np.zeros((4, wide + 2), np.uint8)  # the rows (z - 1, y - 1), (z - 1, y), (z, y - 1), (z, y), 0 at the ends
    a, b, c, d = around[0, :-1], around[1, :-1], around[2, :-1], around[3, :-1]
    e, f, g, h = around[0, 1:], around[1, 1:], around[2, 1:], around[3, 1:]
    mixed = np.zeros(wide // 8 * 8 + 8, np.uint8)
    mixed_words = mixed.view(np.uint64)
    for z in range(box[0, 0], box[1, 0] + (0 if planar else 1)):
        for y in range(box[0, 1], box[1, 1] + 1):
            some = 0
            for k in range(4):
                of_z, of_y = z if planar else z - 1 + (k >> 1), y - 1 + (k & 1)
                around[k, 1:-1] = 0
                if occupied[of_z - box[0, 0] + 1, of_y - box[0, 1] + 1]:
                    i, some = (of_z * rows + of_y) * length + left, 1
                    around[k, 1:-1] = voxels[i : i + wide]
            if not some:
                continue
            for x in range(wide + 1):  # no branches, as above
                first = a[x]
                differs = (b[x] ^ first) | (c[x] ^ first) | (d[x] ^ first)
                mixed[x] = differs | (e[x] ^ first) | (f[x] ^ first) | (g[x] ^ first) | (h[x] ^ first)
            for word in range(len(mixed_words)):
                if mixed_words[word] == 0:
                    continue
                for x in range(8 * word, 8 * word + 8):
                    if mixed[x]:
                        if n == len(found):
                            found = np.concatenate((found, np.empty_like(found)))
                            labels = np.concatenate((labels, np.empty_like(labels)))
                        found[n, 0], found[n, 1], found[n, 2] = z, y, left + x
                        for k in range(8):
                            labels[n, k] = around[k >> 1, x + (k & 1)]
                        n += 1
    return found[:n].copy(), labels[:n].copy()


def nearest_in_rows(points: Any, others: Any, steps: Any, squares: Any, spacing: Any) -> Any:
    """Squared distance in mm² from each of the points (plane, row, place) to the nearest of the others; -1: it is far.

    others: with places that rise within a row.  steps, squares: how far (planes, rows) a row lies and the square of
    that, nearest first, the own row included; squares has one entry more, and what is beyond that is far.  spacing: of
    the places, mm.
    """
    low_z, high_z = others[:, 0].min(), others[:, 0].max()
    low_y, high_y = others[:, 1].min(), others[:, 1].max()
    wide = high_y - low_y + 1
    first = np.zeros((high_z - low_z + 1) * wide + 2, np.int64)
    for j in range(len(others)):
        first[(others[j, 0] - low_z) * wide + others[j, 1] - low_y + 2] += 1
    first = np.cumsum(first)
    places = np.empty(len(others), np.int32)
    for j in range(len(others)):  # sorted by row; first[1:] moves from where a row starts to where the next one does
        row = (others[j, 0] - low_z) * wide + others[j, 1] - low_y + 1
        places[first[row]] = others[j, 2]
        first[row] += 1
    found = np.empty(len(points), np.float64)
    for i in range(len(points)):
        z, y, x = points[i, 0], points[i, 1], points[i, 2]
        best = np.inf
        for k in range(len(steps)):
            if squares[k] >= best:
                break
            other_z, other_y = z + steps[k, 0], y + steps[k, 1]
            if not (low_z <= other_z <= high_z and low_y <= other_y <= high_y):
                continue
            row = (other_z - low_z) * wide + other_y - low_y
            low, high, stop = first[row], first[row + 1], first[row + 1]
            while high - low > 1:  # the last place that is not past x; the first one where all are
                middle = (low + high) // 2
                if places[middle] <= x:
                    low = middle
                else:
                    high = middle
            for j in range(low, min(low + 2, stop)):
                best = min(best, squares[k] + ((x - places[j]) * spacing) ** 2)
        found[i] = best if best <= squares[len(steps)] else -1
    return found


def nearest_in_boxes(points: Any, others: Any, boxes: Any, first: Any, spacing: Any) -> Any:
    """Squared distance in mm² from each of the points (plane, row, place) to the nearest of the others, near or far.

    boxes: lowest and highest (plane, row, place) of every LEAF others in turn, then of every BRANCHES of these boxes,
    and so on up to one box of all.  first: where each of these levels starts, and the end of the last.  spacing: mm.
    """
    space_z, space_y, space_x = spacing[0], spacing[1], spacing[2]
    found, root = np.empty(len(points), np.float64), len(first) - 2
    stack, least = np.empty((BRANCHES * len(first), 2), np.int64), np.empty(BRANCHES * len(first), np.float64)
    # What was nearest to the last point of about this row and place, which is seldom much further than the nearest.
    last = np.zeros(((points[:, 1].max() >> 2) + 1, (points[:, 2].max() >> 2) + 1), np.int64)
    for i in range(len(points)):
        z, y, x = points[i, 0], points[i, 1], points[i, 2]
        j = last[y >> 2, x >> 2]
        nearest, best = j, ((others[j, 0] - z) * space_z) ** 2 + ((others[j, 1] - y) * space_y) ** 2
        best += ((others[j, 2] - x) * space_x) ** 2
        stack[0, 0], stack[0, 1], least[0], n = first[root], root, 0.0, 1
        while n:
            n -= 1
            box, level = stack[n, 0], stack[n, 1]
            if least[n] >= best:
                continue
            if level == 0:
                for j in range(LEAF * box, min(LEAF * box + LEAF, len(others))):
                    square = ((others[j, 0] - z) * space_z) ** 2 + ((others[j, 1] - y) * space_y) ** 2
                    square += ((others[j, 2] - x) * space_x) ** 2
                    if square < best:
                        nearest, best = j, square
                continue
            child = first[level - 1] + BRANCHES * (box - first[level])
            for k in range(child, min(child + BRANCHES, first[level])):
                square = (max(boxes[k, 0] - z, z - boxes[k, 3], 0) * space_z) ** 2
                square += (max(boxes[k, 1] - y, y - boxes[k, 4], 0) * space_y) ** 2
                square += (max(boxes[k, 2] - x, x - boxes[k, 5], 0) * space_x) ** 2
                if square < best:
                    stack[n, 0], stack[n, 1], least[n] = k, level - 1, square
                    n += 1
        found[i], last[y >> 2, x >> 2] = best, nearest
    return found
