r"""Gaussian kernels of a few taps and the convolution with them, as a symmetric matrix K.

On each axis the kernel has `size` = 2r + 1 taps that sum to 1,

    gaussian:  k_j ~ exp(-j^2 / (2 sigma^2)),  |j| <= r                                                     (1)
    psd:       k   ~ a * a,  a the r + 1 taps of a Gaussian of sigma / sqrt(2) (autocorrelation)            (2)

and K is their product over the axes. (2) has the variance of (1) before truncation, and no negative eigenvalue,
since its transform is |a^|^2 (positive semidefinite). (1) has, once truncation has made it almost a box: -0.197 with
7 taps and sigma 5. `blur` keeps K symmetric at the border, which torch's own `reflect` and `replicate` do not:

    zero:       nothing lies outside          symmetric:  the image is mirrored, its edge sample repeated

so that <K u, v> = <u, K v> holds to rounding, and the gradient of `blur` is `blur`.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

Shape = Literal["gaussian", "psd"]
Padding = Literal["zero", "symmetric"]


def kernel_taps(size: int, sigma: float, shape: Shape = "gaussian") -> list[float]:
    """The taps of (1) or (2), `size` of them; sigma in samples. ValueError for an even size or a sigma <= 0."""
    if size < 1 or size % 2 == 0 or sigma <= 0:
        raise ValueError(f"kernel size {size} must be odd and positive, and sigma {sigma} positive")
    if shape == "gaussian":
        taps = _gaussian(size, sigma)
    else:
        half = _gaussian(size // 2 + 1, sigma / math.sqrt(2))
        pad = size // 2
        taps = F.conv1d(half.view(1, 1, -1), half.view(1, 1, -1), padding=pad).flatten()  # half is its own mirror
    return (taps / taps.sum()).tolist()


def least_eigenvalue(taps: list[float], axes: int) -> float:
    """The smallest value of the transform of the product kernel, which no eigenvalue of K lies below (to 1e-6)."""
    offsets = torch.arange(len(taps), dtype=torch.float64) - len(taps) // 2
    frequencies = torch.linspace(0, math.pi, 4097, dtype=torch.float64)
    transform = torch.cos(frequencies[:, None] * offsets) @ torch.tensor(taps, dtype=torch.float64)
    low, high = transform.min().item(), transform.max().item()
    return min(low**k * high ** (axes - k) for k in range(axes + 1))


def blur(u: Tensor, taps: list[float], padding: Padding = "zero") -> Tensor:
    """K u along every spatial axis of u (B, C, *spatial).

    ValueError when a mirrored axis is shorter than half the kernel.
    """
    if padding == "symmetric" and min(u.shape[2:]) < len(taps) // 2:
        raise ValueError(f"u {tuple(u.shape)} is too small to be mirrored for a kernel of {len(taps)} taps: pad zeros")
    if not u.requires_grad:  # a trace cannot record a function of autograd
        return _blurred(u, taps, padding)
    blurred: Tensor = _Blur.apply(u, taps, padding)
    return blurred


def _blurred(u: Tensor, taps: list[float], padding: Padding) -> Tensor:
    for axis in range(2, u.ndim):
        u = _along(u, axis, taps, padding)
    return u


class _Blur(torch.autograd.Function):
    """K and, since K is symmetric, its own gradient: the graph keeps no intermediate sum."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, taps: list[float], padding: Padding) -> Tensor:
        ctx.settings = (taps, padding)
        return _blurred(u, taps, padding)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        return blur(grads[0], *ctx.settings), None, None


def _along(u: Tensor, axis: int, taps: list[float], padding: Padding) -> Tensor:
    # Shifted additions: one road for 2-D and 3-D, and on a CPU faster than a depthwise convolution (2 x 2 x 512 x 512,
    # 7 taps, one thread: 3 ms; channels_last 8 ms, NCHW 63 ms).
    reach, length = len(taps) // 2, u.shape[axis]
    total = u * taps[reach]
    for shift in range(1, min(reach, length - 1) + 1):
        left, right = total.narrow(axis, 0, length - shift), total.narrow(axis, shift, length - shift)
        left.add_(u.narrow(axis, shift, length - shift), alpha=taps[reach + shift])
        right.add_(u.narrow(axis, 0, length - shift), alpha=taps[reach - shift])
    if padding == "symmetric":
        for shift in range(1, reach + 1):  # tap `shift` reaches `shift` mirrored samples beyond either end
            total.narrow(axis, 0, shift).add_(u.narrow(axis, 0, shift).flip(axis), alpha=taps[reach + shift])
            total.narrow(axis, length - shift, shift).add_(
                u.narrow(axis, length - shift, shift).flip(axis), alpha=taps[reach - shift]
            )
    return total


def _gaussian(size: int, sigma: float) -> Tensor:
    offsets = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    return torch.exp(-(offsets**2) / (2 * sigma**2))
