"""A network that sees blocks of voxels as channels: exact, and the level at full resolution is not computed.

    Folded(U)(I) = unfold(U(fold(I))),   fold: (B, C, X, Y, S) -> (B, C a b c, X / a, Y / b, S / c)

fold keeps every value (space to depth, torch's `pixel_unshuffle` in any dimension), so each voxel still gets logits of
its own. Factors of (2, 2, 1) turn CT voxels of 2 x 2 x 4 mm into cells of 4 mm, alike in all directions.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from torch import Tensor, nn

from pipeline.networks.recorded import Recorded


class Folded(Recorded):
    """(B, C, *spatial) -> (B, C_out, *spatial) by a network of C * prod(factors) and C_out * prod(factors) channels.

    factors: voxels folded along each spatial axis; sizes must be multiples of them (ValueError): tiles are.
    """

    def __init__(self, network: nn.Module, *, factors: Sequence[int]) -> None:
        super().__init__()
        self.network, self.factors = network, tuple(factors)
        if isinstance(network, Recorded):
            batch, channels, *sizes = network.example_shape
            whole = (size * factor for size, factor in zip(sizes, self.factors, strict=True))
            self.example_shape = (batch, channels // prod(self.factors), *whole)

    def forward(self, image: Tensor) -> Tensor:
        if any(size % factor for size, factor in zip(image.shape[2:], self.factors, strict=True)):
            raise ValueError(f"image of shape {tuple(image.shape)}: its sizes must be multiples of {self.factors}")
        return unfold(self.network(fold(image, self.factors)), self.factors)


def fold(image: Tensor, factors: Sequence[int]) -> Tensor:
    """(B, C, *spatial) -> (B, C * prod(factors), *(spatial / factors)); the place within a block varies fastest."""
    n = len(factors)
    blocks = image.reshape(
        *image.shape[:2],
        *(part for size, factor in zip(image.shape[2:], factors, strict=True) for part in (size // factor, factor)),
    )
    cells, places = range(2, 2 + 2 * n, 2), range(3, 3 + 2 * n, 2)
    return blocks.permute(0, 1, *places, *cells).flatten(1, 1 + n)


def unfold(cells: Tensor, factors: Sequence[int]) -> Tensor:
    """The inverse of `fold`."""
    n = len(factors)
    blocks = cells.unflatten(1, (-1, *factors))  # (B, C, *factors, *cells)
    order = (axis for i in range(n) for axis in (2 + n + i, 2 + i))
    sizes = (size * factor for size, factor in zip(cells.shape[2:], factors, strict=True))
    return blocks.permute(0, 1, *order).reshape(*blocks.shape[:2], *sizes)
