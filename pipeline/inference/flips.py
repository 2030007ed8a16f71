r"""Test-time augmentation by mirrors: the mean of what a network says of an image and of its mirror images.

    f_a(x) = (f(x) + M_a f(M_a x)) / 2,        M_a: mirrored along axis a                                   (1)

and for several axes one after the other: 2^n calls for n axes. f_a of a mirrored image is the mirror of f_a to the last
bit, for both sums have the same two terms. The mean is taken of logits or distances on the network's own grid, before
anything is resampled or decided.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from torch import Tensor

from pipeline.inference.roads import Network


def mirrored(network: Network, axes: Iterable[int]) -> Network:
    """(1) along the spatial `axes` of a network of (B, C, *spatial) -> (B, C_out, *spatial)."""
    for axis in axes:
        network = partial(_mean, network, 2 + axis)
    return network


def _mean(network: Network, dim: int, images: Tensor) -> Tensor:
    return (network(images) + network(images.flip(dim)).flip(dim)) / 2
