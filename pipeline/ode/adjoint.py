"""The continuous adjoint: a gradient that keeps no state of the forward integration.

With a = dL/dy, the triple (y, a, g) is integrated from t1 back to t0 by the same solver,

    y' = f(t, y),   a' = -a df/dy,   g' = -a df/dtheta,   y(t1), a(t1) = dL/dy(t1), g(t1) = 0               (1)

and ends with dL/dy(t0) = a(t0) and dL/dtheta = g(t0). It is the gradient of the differential equation, not of the steps
taken: with few fixed steps the two differ by several per cent, whereas recomputing the steps is exact at the memory of
one state a step. Kept because the papers use it. An adaptive solver controls the error of the whole triple.

Reference: Chen et al., Neural Ordinary Differential Equations (2018), algorithm 1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from pipeline.ode.solvers import Field

March = Callable[[Field, Tensor], Tensor]


def integrate_with_adjoint(func: Field, y0: Tensor, weights: list[Tensor], *, there: March, back: March) -> Tensor:
    """there(func, y0), whose gradient with respect to y0 and the weights of func is (1), integrated by `back`."""
    end: Tensor = _Adjoint.apply(func, there, back, y0, *weights)
    return end


class _Adjoint(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, func: Field, there: March, back: March, y0: Tensor, *weights: Tensor) -> Tensor:
        ctx.func, ctx.back = func, back
        end = there(func, y0)  # without a graph: autograd is off in here
        ctx.save_for_backward(end, *weights)
        return end

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        end, *weights = ctx.saved_tensors
        triple = [end, gradient, *(torch.zeros_like(weight) for weight in weights)]
        start = _Triple(ctx.func, weights, triple)
        _, a, *g = start.unpack(ctx.back(start, start.pack(triple)))
        return None, None, None, a, *g


class _Triple:
    """The right side of (1) on (y, a, g) laid into one vector, which every solver can carry."""

    def __init__(self, func: Field, weights: list[Tensor], parts: list[Tensor]) -> None:
        self.func, self.weights = func, weights
        self.like, self.sizes = parts, [part.numel() for part in parts]

    def pack(self, parts: list[Tensor]) -> Tensor:
        return torch.cat([part.reshape(-1) for part in parts])

    def unpack(self, vector: Tensor) -> list[Tensor]:
        pieces = vector.split(self.sizes)
        return [piece.view_as(part).to(part.dtype) for piece, part in zip(pieces, self.like, strict=True)]

    def __call__(self, t: float, vector: Tensor) -> Tensor:
        y, a, *_ = self.unpack(vector)
        with torch.enable_grad():
            y = y.detach().requires_grad_()
            slope = self.func(t, y)
        if not slope.requires_grad:  # f depends neither on y nor on weights
            return self.pack([slope, *(torch.zeros_like(part) for part in self.like[1:])])
        slopes = torch.autograd.grad(slope, (y, *self.weights), -a, allow_unused=True, materialize_grads=True)
        return self.pack([slope.detach(), *slopes])
