"""integrate(): the end state of y' = f(t, y), y(t0) = y0, by any method, with any of three gradients.

direct      autograd through the steps: exact, and the memory of all that f computes, in every step.
checkpoint  each step is computed again in the backward pass: exact as well, one evaluation more for each, the memory of
            one step and one state a step (two with ab2 and abm2, which carry a slope). The way to save memory.
adjoint     the differential equation is integrated backwards (pipeline/ode/adjoint.py): constant memory, an error that
            shrinks with the steps.

Method and steps are no part of the weights: a network trained with one solver may be run with another. f must hold no
batch normalisation or dropout, which would depend on the number of evaluations, and no in-place activation; it should
be smooth, since a kink lowers the order.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import partial
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from pipeline.errors import InputError
from pipeline.ode.adaptive import Dopri5
from pipeline.ode.adjoint import integrate_with_adjoint
from pipeline.ode.solvers import FIXED_GRID, Counts, Field, Integrator, OnStep

Gradient = Literal["direct", "checkpoint", "adjoint"]
Method = Literal["euler", "midpoint", "rk4", "ab2", "abm2", "dopri5"]
FEWEST_ADJOINT_STEPS = 8  # rk4 on a U-Net: the adjoint gradient is off by 17 % with 1 step, 10 % with 4, 3 % with 8


@dataclass(frozen=True, kw_only=True)
class Solver:
    """How to integrate. Raises InputError (a ValueError) for a value outside its rule.

    method: fixed grids euler, midpoint, rk4, ab2, abm2; adaptive dopri5.
    steps: equal steps of a fixed grid, >= 1. dopri5 chooses its own.
    atol, rtol: dopri5's error of a step, sup norm, in units of y and relative to the largest |y|.
    max_steps: of dopri5, kept or rejected; beyond it StepLimitError.
    gradient: see the module.
    """

    method: Method = "rk4"
    steps: int = 1
    atol: float = 1e-4
    rtol: float = 0.0
    max_steps: int = 200
    gradient: Gradient = "direct"

    def __post_init__(self) -> None:
        for name, choices in (("method", get_args(Method)), ("gradient", get_args(Gradient))):
            if getattr(self, name) not in choices:
                raise InputError(f"{name} is {getattr(self, name)!r}, it must be one of {', '.join(choices)}")
        for name in ("steps", "max_steps"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise InputError(f"{name} is {value!r}, it must be a whole number, 1 or more")
        if not (self.atol > 0 and self.rtol >= 0):
            raise InputError(f"atol {self.atol} must be positive and rtol {self.rtol} not negative")
        if self.gradient == "adjoint" and self.method != "dopri5" and self.steps < FEWEST_ADJOINT_STEPS:
            warnings.warn(
                f"the adjoint gradient of {self.steps} fixed steps is several per cent off: take "
                f"{FEWEST_ADJOINT_STEPS} steps or more, or gradient='checkpoint', which is exact and saves memory too",
                stacklevel=3,  # the line that made the Solver
            )

    def integrator(self) -> Integrator:
        if self.method == "dopri5":
            return Dopri5(atol=self.atol, rtol=self.rtol, max_steps=self.max_steps)
        return FIXED_GRID[self.method](self.steps)


def integrate(
    func: Field,
    y0: Tensor,
    solver: Solver,
    *,
    t0: float = 0.0,
    t1: float = 1.0,
    on_step: OnStep | None = None,
    counts: Counts | None = None,
) -> Tensor:
    """y(t1), of the shape of y0; t1 may lie before t0.

    func: f(t, y), t a Python float; an nn.Module where gradient is adjoint, which differentiates with respect to y0 and
        the module's parameters only, not to other tensors that f may hold.
    on_step: called with t and y after each step; with the adjoint its y carry no gradient.
    counts: receives the evaluations and steps, those of the backward pass when that has run.

    Raises ValueError when f changes the shape, StepLimitError when dopri5 does not arrive.
    """
    counts = Counts() if counts is None else counts
    field = _Counted(func, counts)
    march = solver.integrator().march
    recording = torch.is_grad_enabled()  # without a graph the three gradients are one
    there = partial(march, t0=t0, t1=t1, counts=counts, on_step=on_step)
    if recording and solver.gradient == "adjoint":
        back = partial(march, t0=t1, t1=t0, counts=Counts(), on_step=None, recompute=False)
        end = integrate_with_adjoint(field, y0, _weights(func), there=partial(there, recompute=False), back=back)
    else:
        end = there(field, y0, recompute=recording and solver.gradient == "checkpoint")
    field.in_backward = True
    return end


def trajectory(
    func: Field, y0: Tensor, solver: Solver, *, t0: float = 0.0, t1: float = 1.0, counts: Counts | None = None
) -> tuple[list[float], Tensor]:
    """The times t0, ..., t1 of the grid and the states at them, (times, *y0.shape); see `integrate`."""
    times, states = [t0], [y0]

    def keep(t: float, y: Tensor) -> None:
        times.append(t)
        states.append(y)

    integrate(func, y0, solver, t0=t0, t1=t1, on_step=keep, counts=counts)
    return times, torch.stack(states)


class _Counted:
    """f with its evaluations counted and its shape held."""

    def __init__(self, func: Field, counts: Counts) -> None:
        self.func, self.counts, self.in_backward = func, counts, False

    def __call__(self, t: float, y: Tensor) -> Tensor:
        if self.in_backward:
            self.counts.backward += 1
        else:
            self.counts.forward += 1
        slope = self.func(t, y)
        if not torch.jit.is_tracing() and slope.shape != y.shape:  # in a trace a size is no number to compare
            raise ValueError(f"f(t, y) has shape {tuple(slope.shape)}, it must have that of y, {tuple(y.shape)}")
        return slope


def _weights(func: Field) -> list[Tensor]:
    if not isinstance(func, nn.Module):
        raise InputError(
            f"func is a {type(func).__name__}: gradient='adjoint' needs an nn.Module, or the weights of f would get no "
            "gradient; gradient='checkpoint' takes any function"
        )
    return [weight for weight in func.parameters() if weight.requires_grad]
