"""Fixed-grid integrators of y' = f(t, y): N equal steps, whose last one ends at t1 exactly.

    y_{n+1} = y_n + h * sum_i b_i k_i,   k_i = f(t_n + c_i h, y_n + h * sum_{j<i} a_ij k_j)                 (1)
    ab2     y_{n+1} = y_n + h (3/2 f_n - 1/2 f_{n-1})                                                       (2)
    abm2    y_{n+1} = y_n + h/2 (f(t_{n+1}, p) + f_n),   p = the result of (2)                              (3)

(1) is a Runge-Kutta step with nodes c, matrix a and weights b. (2) and (3), Adams-Bashforth and its
predict-evaluate-correct-evaluate companion, carry the slope f_{n-1} from step to step and start with one midpoint step.

Every sum is formed as y + weight * slope, one pass over memory per weight, so that f = 0 returns y0 bit for bit. The
loops are plain and depend on no value: they trace, export to ONNX and compile. `t` is a Python float.

Reference: Hairer, Norsett, Wanner, Solving Ordinary Differential Equations I, II.1 (1) and III.1 (2, 3).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

Field = Callable[[float, Tensor], Tensor]  # f(t, y), of the shape of y
OnStep = Callable[[float, Tensor], object]  # told t and y after each step; what it returns is not looked at


@dataclass
class Counts:
    """What an integration cost; numbers are added, so that one object can collect several integrations.

    forward, backward: evaluations of f, and those repeated for the gradient (none when it is direct).
    accepted, rejected: steps of the forward integration; fixed grids reject none.
    """

    forward: int = 0
    backward: int = 0
    accepted: int = 0
    rejected: int = 0


class Integrator(ABC):
    """Carries a state from t0 to t1; t1 may lie before t0."""

    @abstractmethod
    def march(
        self, func: Field, y: Tensor, t0: float, t1: float, *, counts: Counts, on_step: OnStep | None, recompute: bool
    ) -> Tensor:
        """The state at t1. With `recompute` the backward pass computes each step again, keeping its start only."""


class FixedGrid(Integrator):
    """N = `steps` equal steps by one of the methods below."""

    order: ClassVar[int]

    def __init__(self, steps: int) -> None:
        self.steps = steps

    @abstractmethod
    def step(self, func: Field, t: float, h: float, y: Tensor, before: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """y at t + h and the slope at t; `before`, the slope one step earlier, is None in the first step.

        A one-step method gives and takes None, so that recomputation keeps one state a step and not two.
        """

    def march(
        self, func: Field, y: Tensor, t0: float, t1: float, *, counts: Counts, on_step: OnStep | None, recompute: bool
    ) -> Tensor:
        times = [t0 + (t1 - t0) * n / self.steps for n in range(self.steps)] + [t1]
        slope = None
        for t, t_next in pairwise(times):
            y, slope = call(self.step, func, t, t_next - t, y, slope, recompute=recompute)
            counts.accepted += 1
            if on_step is not None:
                on_step(t_next, y)
        return y


@dataclass(frozen=True)
class Tableau:
    """Nodes c, the rows of the matrix a below its diagonal, and weights b of (1)."""

    nodes: Sequence[float]
    matrix: Sequence[Sequence[float]]
    weights: Sequence[float]

    def slopes(self, func: Field, t: float, h: float, y: Tensor, first: Tensor | None = None) -> list[Tensor]:
        """The k_i of (1); `first` is k_1 where it is known already."""
        slopes = [func(t, y)] if first is None else [first]
        for node, row in zip(self.nodes[1:], self.matrix[1:], strict=True):
            slopes.append(func(t + node * h, combine(y, h, row, slopes)))
        return slopes


class RungeKutta(FixedGrid):
    """One step of (1) by a table of fractions."""

    tableau: ClassVar[Tableau]

    def step(self, func: Field, t: float, h: float, y: Tensor, before: Tensor | None) -> tuple[Tensor, None]:
        return combine(y, h, self.tableau.weights, self.tableau.slopes(func, t, h, y)), None


class Euler(RungeKutta):
    """The explicit Euler step, 1 evaluation: a residual block."""

    order = 1
    tableau = Tableau(nodes=(0,), matrix=((),), weights=(1,))


class Midpoint(RungeKutta):
    """The explicit midpoint rule, 2 evaluations. Not Heun's, which averages the slopes at both ends."""

    order = 2
    tableau = Tableau(nodes=(0, 1 / 2), matrix=((), (1 / 2,)), weights=(0, 1))


class RK4(RungeKutta):
    """The classical Runge-Kutta step, 4 evaluations. Not the 3/8 rule, which torchdiffeq calls rk4."""

    order = 4
    tableau = Tableau(
        nodes=(0, 1 / 2, 1 / 2, 1),
        matrix=((), (1 / 2,), (0, 1 / 2), (0, 0, 1)),
        weights=(1 / 6, 1 / 3, 1 / 3, 1 / 6),
    )


class AB2(FixedGrid):
    """Adams-Bashforth (2), 1 evaluation a step and 1 more in the first."""

    order = 2

    def step(self, func: Field, t: float, h: float, y: Tensor, before: Tensor | None) -> tuple[Tensor, Tensor]:
        slope = func(t, y)
        return _extrapolate(func, t, h, y, slope, before), slope


class ABM2(FixedGrid):
    """Adams-Bashforth-Moulton (3), 2 evaluations a step; the last of PECE is the next step's first."""

    order = 2

    def step(self, func: Field, t: float, h: float, y: Tensor, before: Tensor | None) -> tuple[Tensor, Tensor]:
        slope = func(t, y)
        y_next = _extrapolate(func, t, h, y, slope, before)
        if before is not None:
            y_next = combine(y, h, (1 / 2, 1 / 2), (func(t + h, y_next), slope))
        return y_next, slope


FIXED_GRID: dict[str, type[FixedGrid]] = {"euler": Euler, "midpoint": Midpoint, "rk4": RK4, "ab2": AB2, "abm2": ABM2}


def combine(y: Tensor, h: float, weights: Sequence[float], slopes: Sequence[Tensor]) -> Tensor:
    """y + h * sum_i weights_i slopes_i."""
    for weight, slope in zip(weights, slopes, strict=True):
        if weight:
            y = torch.add(y, slope, alpha=h * weight)
    return y


def call(step: Callable[..., Any], *args: object, recompute: bool) -> Any:
    """step(*args); with `recompute` its intermediate values are computed again in the backward pass."""
    return checkpoint(step, *args, use_reentrant=False) if recompute else step(*args)


def _extrapolate(func: Field, t: float, h: float, y: Tensor, slope: Tensor, before: Tensor | None) -> Tensor:
    """(2), or in the first step, which has no slope before it, the midpoint rule."""
    if before is None:
        return combine(y, h, (1,), (func(t + h / 2, combine(y, h, (1 / 2,), (slope,))),))
    return combine(y, h, (3 / 2, -1 / 2), (slope, before))
