r"""Slices of a volume on a network's square grid, and distance maps back on the volume's.

A slice of X x Y pixels is centred in a square with the field of view of its longer side, filled with air, and resampled
to size x size. With the matrices of io/resample.py restricted to the columns where the slice lies (A along X, B along
Y) and p the value of air, padding and resampling are one product, because the rows of the whole matrix sum to one:

    I_net = p + A (I - p) B^T            phi = C phi_net D^T                                                (1)

Only the sign of phi decides, the rows of C and D are non-negative, and so a slice whose phi_net has no positive value
cannot have one on the volume's grid either: it is not resampled at all.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from pipeline.io.resample import resize_matrix
from pipeline.numerics.banded import Banded


class SquareGrid:
    """The two maps (1) between slices of one shape and the network's grid.

    shape: (X, Y) of the slice; spacing: of its pixels (any unit), so that a field of non-square pixels stays
    undistorted.
    flips: axes along which the slice runs against the network's convention; they are folded into the matrices, so a
        flip costs nothing.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        size: int,
        *,
        spacing: tuple[float, float] = (1.0, 1.0),
        flips: tuple[bool, bool] = (False, False),
        device: torch.device | str = "cpu",
    ) -> None:
        field = max(n * s for n, s in zip(shape, spacing, strict=True))
        whole = [max(n, round(field / s)) for n, s in zip(shape, spacing, strict=True)]
        starts = [(w - n) // 2 for w, n in zip(whole, shape, strict=True)]
        axes = list(zip(whole, starts, shape, flips, strict=True))
        self._down = [Banded(_columns(w, size, start, n, flip).to(device)) for w, start, n, flip in axes]
        self._up = [Banded(_rows(size, w, start, n, flip).to(device)) for w, start, n, flip in axes]

    def to_network(self, slices: Tensor, air: float) -> Tensor:
        """(..., X, Y) -> (..., size, size), `air` outside."""
        return self._down[1].right(self._down[0].left(slices - air)) + air

    def to_volume(self, distances: Tensor) -> Tensor:
        """(..., size, size) -> (..., X, Y)."""
        return self._up[1].right(self._up[0].left(distances))


def _columns(whole: int, size: int, start: int, n: int, flip: bool) -> Tensor:
    matrix = torch.from_numpy(resize_matrix(whole, size))[:, start : start + n]
    return matrix.flip(1) if flip else matrix


def _rows(size: int, whole: int, start: int, n: int, flip: bool) -> Tensor:
    matrix = torch.from_numpy(resize_matrix(size, whole))[start : start + n]
    return matrix.flip(0) if flip else matrix


@lru_cache(maxsize=8)
def square_grid(
    shape: tuple[int, int], size: int, spacing: tuple[float, float], flips: tuple[bool, bool], device: str
) -> SquareGrid:
    """SquareGrid, kept: the scans of a batch share few shapes."""
    return SquareGrid(shape, size, spacing=spacing, flips=flips, device=device)
