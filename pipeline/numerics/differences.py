r"""Gradient, divergence and Laplacian on a grid of pixels, with no flux through the border.

With u indexed along an axis of n samples, h apart,

    (D u)_i = (u_{i+1} - u_i) / h  for i < n - 1,   (D u)_{n-1} = 0                                         (1)
    div p   = -sum over the axes of D^T p                                                                   (2)

(2) is the backward difference whose first row is p_0 / h and whose last row is -p_{n-2} / h, so that
<gradient(u), p> = -<u, divergence(p)> holds to rounding for every u and p. laplacian = div grad is the stencil
(1, -2, 1) / h^2 on each axis with the edge sample repeated; ||gradient||^2 <= 4 * sum of 1 / h^2 over the axes.

u has shape (B, C, *spatial) with 2 or 3 spatial axes, p has shape (n, B, C, *spatial) with one component per axis, in
the axes' order; `spacing` holds one h per axis, in the same order (all 1 when None: units are pixels).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def gradient(u: Tensor, spacing: Sequence[float] | None = None) -> Tensor:
    """Forward differences (1) of u (B, C, *spatial), one per axis: (n, B, C, *spatial).

    Raises ValueError for u without 2 or 3 spatial axes, or a spacing without one positive entry per axis.
    """
    steps = _steps(u.shape, spacing)
    components = [_forward_difference(u, axis) / h for axis, h in enumerate(steps, start=2)]
    return torch.stack(components)


def divergence(p: Tensor, spacing: Sequence[float] | None = None) -> Tensor:
    """Divergence (2) of p (n, B, C, *spatial), exactly the negative adjoint of `gradient`: (B, C, *spatial).

    Raises ValueError as `gradient` does, and when n is not the number of spatial axes.
    """
    steps = _steps(p.shape[1:], spacing)
    if len(p) != len(steps):
        raise ValueError(f"p {tuple(p.shape)} has {len(p)} components, it needs one for each of its {len(steps)} axes")
    parts = [_backward_difference(p[k], k + 2) / h for k, h in enumerate(steps)]
    return torch.stack(parts).sum(dim=0)


def laplacian(u: Tensor, spacing: Sequence[float] | None = None) -> Tensor:
    """divergence(gradient(u)): (B, C, *spatial) -> (B, C, *spatial); its sum over the pixels is 0."""
    return divergence(gradient(u, spacing), spacing)


def _forward_difference(u: Tensor, axis: int) -> Tensor:
    return u.diff(dim=axis, append=u.narrow(axis, -1, 1))


def _backward_difference(p: Tensor, axis: int) -> Tensor:
    # The last row of (1) is 0 whatever u is, so the last entry of p must not enter.
    nothing = torch.zeros_like(p.narrow(axis, 0, 1))
    return p.narrow(axis, 0, p.shape[axis] - 1).diff(dim=axis, prepend=nothing, append=nothing)


def _steps(shape: Sequence[int], spacing: Sequence[float] | None) -> Sequence[float]:
    axes = len(shape) - 2
    if axes not in (2, 3):
        raise ValueError(f"u of shape {tuple(shape)} must be (B, C, H, W) or (B, C, D, H, W)")
    steps = [1.0] * axes if spacing is None else spacing
    if len(steps) != axes:
        raise ValueError(f"spacing has {len(steps)} entries, but u of shape {tuple(shape)} has {axes} spatial axes")
    if min(steps) <= 0:
        raise ValueError(f"spacing {tuple(steps)} must be positive, in the unit that the result is wanted per")
    return steps
