r"""Separable resampling as one-dimensional matrices: out = W_y in W_x^T.

Output sample i of n_out covers the input around c_i = (i + 1/2) n_in / n_out (edges of both grids coincide). With the
triangle t(r) = max(0, 1 - |r|) and the width w = max(1, n_in / n_out),

    W[i, j] = t((j + 1/2 - c_i) / w) / sum_j t(...)                                                        (1)

Enlarging (w = 1) this is linear interpolation with the border repeated; reducing, the triangle widens and filters what
the coarse grid cannot hold (antialiasing). It equals torch's `interpolate(mode="bilinear", antialias=True)`, and being
a matrix it is applied by numpy when data are prepared, by torch at inference, on any device, and can be transposed.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def resize_matrix(n_in: int, n_out: int) -> NDArray[np.float32]:
    """The (n_out, n_in) matrix (1); its rows sum to 1, and it is the identity when the sizes are equal."""
    if n_in < 1 or n_out < 1:
        raise ValueError(f"cannot resize {n_in} samples to {n_out}: both must be at least 1")
    centres = (np.arange(n_out) + 0.5) * n_in / n_out
    reach = (np.arange(n_in) + 0.5 - centres[:, None]) / max(1.0, n_in / n_out)
    weights = np.maximum(0.0, 1.0 - np.abs(reach))
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def resize(array: NDArray, shape: Sequence[int], axes: Sequence[int]) -> NDArray[np.float32]:
    """Resample `array` to `shape` along `axes` (same order); the other axes are untouched. Returns float32."""
    if len(shape) != len(axes):
        raise ValueError(f"shape {tuple(shape)} and axes {tuple(axes)} must have one entry each per resized axis")
    out = np.asarray(array, dtype=np.float32)
    for size, axis in zip(shape, axes, strict=True):
        if out.shape[axis] != size:
            matrix = resize_matrix(out.shape[axis], size)
            out = np.moveaxis(np.tensordot(matrix, out, axes=(1, axis)), 0, axis)
    return out
