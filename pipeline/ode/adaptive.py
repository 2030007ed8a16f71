"""dopri5: the Runge-Kutta pair 5(4) of Dormand and Prince with step control in the sup norm.

    y1 = y + h * sum_i b_i k_i  (order 5),   error = h * sum_i e_i k_i  (against order 4)                   (1)
    ratio = ||error||_inf / (atol + rtol * ||y||_inf);   a step is kept when ratio <= 1                     (2)
    h <- h * min(10, max(1/5, 9/10 * ratio^(-1/5)))                                                         (3)

(2) is the tolerance of the level-set paper, equation 5. The maximum runs over the whole batch, so one sample's result
depends, within the tolerance, on its batch mates; fixed grids have no such coupling. The last step is cut to end at t1
and its own y1 is returned: nothing is interpolated, and f = 0 returns y0 bit for bit after 7 evaluations.

The first step tried is the whole interval: the evolutions of this project are learned on it and are slow. Against the
usual cautious start that saves 6 to 14 evaluations where one or two steps do, and costs 6 to 12 where ten are needed.
The number of steps depends on values: trace and export a fixed grid, not this method. The gradient is that of the steps
taken, their lengths held constant.

Reference: Dormand and Prince (1980); Hairer, Norsett, Wanner, Solving Ordinary Differential Equations I, II.4-5.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pipeline.ode.solvers import Counts, Field, Integrator, OnStep, Tableau, call, combine

TABLEAU = Tableau(
    nodes=(0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1),
    matrix=(
        (),
        (1 / 5,),
        (3 / 40, 9 / 40),
        (44 / 45, -56 / 15, 32 / 9),
        (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
        (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    ),
    weights=(35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
)
ERROR = (71 / 57600, 0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525)
ERROR_OF_LAST = -1 / 40  # weight of f(t + h, y1), which is also the first slope of the next step
SAFETY, SHRINK, GROW = 9 / 10, 1 / 5, 10
MIN_STEP = 1e-6  # as a part of the interval; below it float32 states no longer move


class StepLimitError(RuntimeError):
    """dopri5 could not reach t1 within its step cap, or with steps of a sensible length."""


class Dopri5(Integrator):
    """(1)-(3). max_steps caps the steps tried, kept or not; StepLimitError beyond it and below the shortest step."""

    order = 5

    def __init__(self, *, atol: float, rtol: float, max_steps: int) -> None:
        self.atol, self.rtol, self.max_steps = atol, rtol, max_steps

    def march(
        self, func: Field, y: Tensor, t0: float, t1: float, *, counts: Counts, on_step: OnStep | None, recompute: bool
    ) -> Tensor:
        t, h, first, tried = t0, t1 - t0, None, 0
        while t != t1:
            too_short = h != t1 - t and abs(h) < MIN_STEP * abs(t1 - t0)
            if too_short or tried == self.max_steps:
                raise StepLimitError(self._gave_up(tried, t, h, (t0, t1)))
            if first is None and not recompute:
                first = func(t, y)
            tried += 1
            y1, partial_error = call(_advance, func, t, h, y, first, recompute=recompute)
            # Handing the slopes at both ends on saves an evaluation; a step to be recomputed would keep them beside y.
            with torch.set_grad_enabled(torch.is_grad_enabled() and not recompute):
                last = func(t + h, y1)
            ratio = self._ratio(combine(partial_error, h, (ERROR_OF_LAST,), (last.detach(),)), y)
            if ratio <= 1:  # not so for NaN, which is tried again with a shorter step
                t, y, first = t1 if h == t1 - t else t + h, y1, None if recompute else last
                counts.accepted += 1
                if on_step is not None:
                    on_step(t, y)
            else:
                counts.rejected += 1
            h = _next_step(h, ratio, remaining=t1 - t)
        return y

    def _ratio(self, error: Tensor, y: Tensor) -> float:
        return error.abs().max().item() / (self.atol + self.rtol * y.detach().abs().max().item())

    def _gave_up(self, tried: int, t: float, h: float, interval: tuple[float, float]) -> str:
        return (
            f"dopri5 stands at t = {t:.4g} of {interval} after {tried} steps (max_steps {self.max_steps}), the next "
            f"would be {h:.1e} long: f is stiff or not finite, or atol {self.atol:g} is too strict. Raise max_steps or "
            "atol, or take a fixed grid (method='rk4', steps=16)"
        )


def _advance(func: Field, t: float, h: float, y: Tensor, first: Tensor | None) -> tuple[Tensor, Tensor]:
    """y1 of (1), and its error without the last term; `first` is f(t, y) where it is known."""
    slopes = TABLEAU.slopes(func, t, h, y, first)
    with torch.no_grad():
        error = combine(torch.zeros_like(y), h, ERROR, slopes)
    return combine(y, h, TABLEAU.weights, slopes), error


def _next_step(h: float, ratio: float, *, remaining: float) -> float:
    """(3), not beyond `remaining`, and all of it when less than a hundredth of a step would be left over."""
    factor = GROW if ratio == 0 else max(SHRINK, SAFETY * ratio ** (-1 / 5))  # SHRINK for NaN, which exceeds nothing
    h *= min(GROW, factor)
    return remaining if abs(h) * 1.01 >= abs(remaining) else h
