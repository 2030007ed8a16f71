r"""Separable resampling as one-dimensional matrices: out = W_y in W_x^T.

Output sample i of n_out covers the input around c_i = (i + 1/2) n_in / n_out (edges of both grids coincide). With the
triangle t(r) = max(0, 1 - |r|) and the width w = max(1, n_in / n_out),

    W[i, j] = t((j + 1/2 - c_i) / w) / sum_j t(...)                                                        (1)

Enlarging (w = 1) this is linear interpolation with the border repeated; reducing, the triangle widens and filters what
the coarse grid cannot hold (antialiasing). It equals torch's `interpolate(mode="bilinear", antialias=True)`, and being
a matrix it is applied by numpy when data are prepared, by torch at inference, on any device, and can be transposed.

    W = the cubic spline through the columns of the identity, sampled at c_i                               (2)

Interpolation is linear in its data: scipy's cubic zoom of a volume, border repeated, is a product with (2) along
each axis. It passes through the samples and filters nothing: for images that are enlarged or little reduced.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from math import prod
from typing import Literal

import numpy as np
from numpy.typing import NDArray


def resize_matrix(n_in: int, n_out: int) -> NDArray[np.float32]:
    """The (n_out, n_in) matrix (1); its rows sum to 1, and it is the identity when the sizes are equal."""
    _check_sizes(n_in, n_out)
    centres = (np.arange(n_out) + 0.5) * n_in / n_out
    reach = (np.arange(n_in) + 0.5 - centres[:, None]) / max(1.0, n_in / n_out)
    weights = np.maximum(0.0, 1.0 - np.abs(reach))
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


@lru_cache(maxsize=16)  # the volumes of a study have few sizes
def cubic_matrix(n_in: int, n_out: int) -> NDArray[np.float32]:
    """The (n_out, n_in) matrix (2), read-only; its rows sum to 1."""
    from scipy.ndimage import zoom

    _check_sizes(n_in, n_out)
    matrix = zoom(np.eye(n_in), (n_out / n_in, 1), order=3, mode="nearest", grid_mode=True).astype(np.float32)
    matrix.flags.writeable = False
    return matrix


MATRICES: dict[int, Callable[[int, int], NDArray[np.float32]]] = {1: resize_matrix, 3: cubic_matrix}


def resize(
    array: NDArray, shape: Sequence[int], axes: Sequence[int], *, order: Literal[1, 3] = 1
) -> NDArray[np.float32]:
    """Resample `array` to `shape` along `axes` (same order); the other axes are untouched. Returns float32.

    order: 1 for (1), 3 for (2). The memory order stays, C or Fortran.
    """
    if len(shape) != len(axes):
        raise ValueError(f"shape {tuple(shape)} and axes {tuple(axes)} must have one entry each per resized axis")
    out = np.asarray(array, dtype=np.float32)
    for size, axis in sorted(zip(shape, axes, strict=True), key=lambda step: step[0] / array.shape[step[1]]):
        if out.shape[axis] != size:  # what shrinks comes first: the rest has less to do
            out = _along(out, MATRICES[order](out.shape[axis], size), axis % out.ndim)
    return out


def _along(array: NDArray[np.float32], matrix: NDArray[np.float32], axis: int) -> NDArray[np.float32]:
    """The matrix applied along one axis, by products that read the array as it lies in memory."""
    if array.flags.f_contiguous and not array.flags.c_contiguous:
        return _along(array.T, matrix, array.ndim - 1 - axis).T
    before, after = array.shape[:axis], array.shape[axis + 1 :]
    if not after:
        return array @ matrix.T
    planes = array.reshape(prod(before), array.shape[axis], prod(after))
    return np.matmul(matrix, planes).reshape(*before, len(matrix), *after)


def _check_sizes(n_in: int, n_out: int) -> None:
    if n_in < 1 or n_out < 1:
        raise ValueError(f"cannot resize {n_in} samples to {n_out}: both must be at least 1")
