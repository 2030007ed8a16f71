r"""Inverse evolution layers: what an evolution smooths away is amplified before the loss, so it is not learned.

An evolution u_t = F(u) moves a picture towards what one wants, heat towards a smooth one. A layer goes a step back,

    L(u) = u - dt F(u)                                                                                      (1)

and a stack of them, A = L o ... o L, stands between the logits and the loss in training only. If F is linear, the loss
falls until A z fits the labels, hence the logits that the network learns are z = A^-1 (labels' logits): n implicit
Euler steps of the evolution. (1) is the exact inverse of the backward, not of the forward, Euler step.

    heat          F(u) = c laplacian(u)                                                                     (2)
    curvature     F(u) = c s div(grad u / s),  s = sqrt(|grad u|^2 + eps^2)                                 (3)

Both take each channel by itself. c = 1 is printed in the paper; its authors' code has c = 1 / 4, which in n dimensions
is c = 1 / (2n), the normalised scale. The difference decides whether a network learns: a layer multiplies the highest
frequency by 1 + 4 n c dt, in two dimensions and after 20 layers of dt = 0.1 by 38 (normalised) or by 1e5 (printed).
Networks learned at usual learning rates with the first, and did not with the second.

How many layers: by (2) what is learned is smoothed as by a Gaussian with the variance 2 c n_layers dt along each axis.
`InverseEvolution.length`, its standard deviation in pixels, is to be compared with the size of the labels' errors,
which are to be forgotten, and with that of the smallest object, which is not.

Where F is linear and self-adjoint, as heat flow is, A is too, and its gradient is A itself, applied to the incoming
one: exact, and no field between the layers is kept.

Pixels with an ignored label take part in (1) like all others: they are to be left out in the loss.

Reference: Liu, Qiao, Li, Schönlieb, Inverse Evolution Layers (2023), arXiv 2307.07344, equations 4 to 7. Not from the
paper: (3), the border without flux (the authors' code takes zeros beyond it, which punishes confident logits there).
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any, ClassVar, Literal, Protocol, get_args

import torch
from torch import Tensor, nn

logger = logging.getLogger(__name__)

Scale = Literal["normalised", "printed"]
Border = Literal["neumann", "zero", "periodic"]

LARGEST_TAME_GAIN = 1e3  # beyond it networks did not learn at usual learning rates


class Evolution(Protocol):
    """F in u_t = F(u), for logits (B, C, *spatial). Another evolution is a class with these four members:

        class ThinPlate:
            rate = 64.0  # 8 * 8: the laplacian's own, twice
            self_adjoint = True

            def length(self, time: float) -> float:
                return time**0.25

            def __call__(self, u: Tensor) -> Tensor:
                return -laplacian(laplacian(u))

    It must be differentiable; a single channel and an image of one pixel are among what it is given.
    """

    @property
    def rate(self) -> float:
        """A bound: |F(u)| <= rate * |u| in the maximum norm, for every u."""
        ...

    @property
    def self_adjoint(self) -> bool:
        """Whether F is linear with <F(u), v> = <u, F(v)> for all u and v. False where in doubt: it costs time alone."""
        ...

    def length(self, time: float) -> float:
        """How far the evolution reaches in that time, in pixels."""
        ...

    def __call__(self, u: Tensor) -> Tensor: ...


@dataclass(frozen=True, kw_only=True)
class _Diffusion:
    """scale: c in (2) and (3), "normalised" or "printed"; border: what lies beyond the image.

    border: "neumann" repeats the edge, so that nothing flows through it and constant logits stay as they are; "zero"
        is the authors' code; "periodic" is for fields that are.
    """

    spatial_dims: int = 2
    scale: Scale = "normalised"
    border: Border = "neumann"

    def __post_init__(self) -> None:
        if self.spatial_dims not in (2, 3):
            raise ValueError(f"spatial_dims is {self.spatial_dims!r}, it must be 2 or 3")
        for name, choices in (("scale", get_args(Scale)), ("border", get_args(Border))):
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} is {getattr(self, name)!r}, it must be one of {', '.join(choices)}")

    @property
    def diffusivity(self) -> float:
        return 1 / (2 * self.spatial_dims) if self.scale == "normalised" else 1.0

    @property
    def rate(self) -> float:
        """c times the 4 n by which a laplacian takes a chessboard, the picture of the highest frequency."""
        return 4 * self.spatial_dims * self.diffusivity

    def length(self, time: float) -> float:
        return math.sqrt(2 * self.diffusivity * time)

    def _framed(self, u: Tensor) -> Tensor:
        """u with one more pixel on either side of each axis, which holds what lies beyond the border."""
        for axis in range(2, u.dim()):
            first, last = u.narrow(axis, 0, 1), u.narrow(axis, -1, 1)
            if self.border == "periodic":
                first, last = last, first
            elif self.border == "zero":
                first = last = torch.zeros_like(first)
            u = torch.cat([first, u, last], dim=axis)
        return u

    def _check(self, u: Tensor) -> None:
        if u.dim() != self.spatial_dims + 2:
            raise ValueError(f"logits {tuple(u.shape)} are not (B, C, *spatial) of spatial_dims={self.spatial_dims}")


class HeatFlow(_Diffusion):
    """(2). `length` is the standard deviation, along each axis, of the Gaussian that the heat of a point becomes."""

    self_adjoint = True

    def __call__(self, u: Tensor) -> Tensor:
        self._check(u)
        flow, c = torch.zeros_like(u), self.diffusivity
        for axis in range(2, u.dim()):
            first, last = u.narrow(axis, 0, 1), u.narrow(axis, -1, 1)
            # what flows from a pixel to the next leaves the one and reaches the other: their sum stays
            difference, between = u.diff(dim=axis), u.shape[axis] - 1
            flow.narrow(axis, 0, between).add_(difference, alpha=c)
            flow.narrow(axis, 1, between).sub_(difference, alpha=c)
            if self.border == "zero":
                flow.narrow(axis, 0, 1).sub_(first, alpha=c)
                flow.narrow(axis, -1, 1).sub_(last, alpha=c)
            elif self.border == "periodic":
                flow.narrow(axis, 0, 1).add_(last - first, alpha=c)
                flow.narrow(axis, -1, 1).sub_(last - first, alpha=c)
        return flow


@dataclass(frozen=True, kw_only=True)
class CurvatureMotion(_Diffusion):
    """(3): smooths along the contours of u and not across them, so that edges stay as steep as they are.

    eps: slope in logits per pixel; where u is much flatter, (3) is heat flow.
    `length` is the radius of the disc that vanishes (of the ball: times the square root of 2).

    (3) is computed as c (laplacian(u) - <g, H g> / s^2), g the gradient and H the second derivatives of u by central
    differences, which keep |F(u)| <= rate * |u| for every u.
    """

    eps: float = 0.1
    self_adjoint: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.eps > 0:
            raise ValueError(f"eps is {self.eps!r}, it must be positive: a flat picture has no curvature, but 0 / 0")

    def __call__(self, u: Tensor) -> Tensor:
        self._check(u)
        framed, axes = self._framed(u), range(self.spatial_dims)
        ahead, behind = (torch.stack([_shifted(framed, {k: way}) for k in axes]) for way in (1, -1))
        slope, second = (ahead - behind) / 2, ahead - 2 * u + behind
        across = (slope * slope * second).sum(0)
        for i, k in combinations(axes, 2):
            corners = torch.stack([p * q * _shifted(framed, {i: p, k: q}) for p in (1, -1) for q in (1, -1)])
            across = across + 2 * slope[i] * slope[k] * corners.sum(0) / 4
        return self.diffusivity * (second.sum(0) - across / ((slope * slope).sum(0) + self.eps**2))


def _shifted(framed: Tensor, steps: Mapping[int, int]) -> Tensor:
    """The field inside the frame, each pixel replaced by the one `steps[axis]` further along the spatial axis."""
    for axis in range(framed.dim() - 2):
        framed = framed.narrow(axis + 2, 1 + steps.get(axis, 0), framed.shape[axis + 2] - 2)
    return framed


class InverseEvolution(nn.Module):
    """`layers` layers (1) in training, the identity in evaluation: (B, C, *spatial) -> the same shape.

    evolution: F; step: dt. Neither has parameters, and nothing is added to the state dict.
    `active`: how many of the layers work, at first all of them; handlers/layer_ramp.py raises it epoch by epoch.
    The result is float32 (float64 from float64) also under autocast, and so must the loss be: float16 overflows when a
    logit exceeds 65504 / gain. A gain above 1000 is logged as a warning.
    ValueError: a negative number of layers, a step that is not positive, or a gain that overflows float32.
    """

    def __init__(self, evolution: Evolution, *, layers: int = 20, step: float = 0.1) -> None:
        super().__init__()
        if not isinstance(layers, int) or layers < 0:
            raise ValueError(f"layers is {layers!r}, it must be a whole number, 0 or more")
        if not step > 0:
            raise ValueError(f"step is {step!r}, it must be positive")
        self.evolution, self.layers, self.step = evolution, layers, step
        self.active = layers
        if layers * math.log1p(step * evolution.rate) > math.log(torch.finfo(torch.float32).max):
            raise ValueError(f"{layers} layers of step {step} overflow float32: take fewer, or scale='normalised'")
        if self.gain > LARGEST_TAME_GAIN:
            logger.warning(
                "%d layers of step %g amplify the highest frequency %.2g times, and training is likely to fail: take "
                "scale='normalised' or fewer layers; if not, raise their number slowly and learn at 1e-4 or below",
                layers,
                step,
                self.gain,
            )

    @property
    def gain(self) -> float:
        """The most by which all layers together amplify anything, in the maximum norm."""
        return (1 + self.step * self.evolution.rate) ** self.layers

    @property
    def length(self) -> float:
        """How far what is learned is smoothed, in pixels (HeatFlow: standard deviation of the equivalent Gaussian)."""
        return self.evolution.length(self.layers * self.step)

    def forward(self, logits: Tensor) -> Tensor:
        if not self.training:
            return logits
        with torch.autocast(logits.device.type, enabled=False):
            u = logits.to(torch.promote_types(logits.dtype, torch.float32))
            settings = (self.evolution, self.active, self.step)
            return _SelfAdjoint.apply(u, *settings) if self.evolution.self_adjoint else _amplified(u, *settings)

    def extra_repr(self) -> str:
        settings = f"{self.evolution}, layers={self.layers}, step={self.step}"
        return f"{settings}, gain={self.gain:.3g}, length={self.length:.3g}"


def _amplified(u: Tensor, evolution: Evolution, layers: int, step: float) -> Tensor:
    """So many layers (1)."""
    for _ in range(layers):
        u = torch.sub(u, evolution(u), alpha=step)
    return u


class _SelfAdjoint(torch.autograd.Function):
    """`_amplified` and, since it is its own adjoint, its own gradient."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, *settings: Any) -> Tensor:
        ctx.settings = settings
        # on a CPU picture by picture, which a core's cache holds through all the layers: half the time
        parts = u.split(1) if u.device.type == "cpu" else (u,)
        return torch.cat([_amplified(part, *settings) for part in parts])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        return _SelfAdjoint.apply(grads[0], *ctx.settings), None, None, None
