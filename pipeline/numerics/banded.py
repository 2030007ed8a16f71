r"""Products with a matrix whose rows are zero but near a (rising or falling) diagonal, as those that resample are.

A block of ROWS rows reaches only a few columns, and is a small dense matrix there:

    (M x)_R = M_{R, S(R)} x_{S(R)}        S(R) from the first to the last column that is not zero in R       (1)

so that the work is n_out (ROWS n_in / n_out + reach) instead of n_out n_in products, at the speed of dense ones, on any
device. The matrix may be restricted to some of its columns: rows of which nothing is left give zero.
"""

from __future__ import annotations

import torch
from torch import Tensor

ROWS = 32  # of 8, 16, 32, 64 and 128 the fastest for 512 samples from 399, on one core


class Banded:
    """The products (1) with `matrix` (n_out, n_in) along the last axis or the last but one."""

    def __init__(self, matrix: Tensor) -> None:
        self.rows = len(matrix)
        self._blocks = []
        for start in range(0, self.rows, ROWS):
            block = matrix[start : start + ROWS]
            columns = span(block.any(dim=0))
            self._blocks.append((slice(start, start + len(block)), columns, block[:, columns].contiguous()))

    def left(self, values: Tensor) -> Tensor:
        """M values: (..., n_in, k) -> (..., n_out, k)."""
        product = values.new_empty(*values.shape[:-2], self.rows, values.shape[-1])
        for rows, columns, block in self._blocks:
            product[..., rows, :] = block @ values[..., columns, :]
        return product

    def right(self, values: Tensor) -> Tensor:
        """values M^T: (..., n_in) -> (..., n_out)."""
        flat = values.reshape(-1, values.shape[-1])
        product = values.new_empty(len(flat), self.rows)
        for rows, columns, block in self._blocks:
            torch.mm(flat[:, columns], block.T, out=product[:, rows])
        return product.view(*values.shape[:-1], self.rows)


def span(used: Tensor) -> slice:
    """From the first to the last True; empty where there is none."""
    at = used.nonzero()
    return slice(int(at[0]), int(at[-1]) + 1) if len(at) else slice(0, 0)
