"""torchdiffeq as a second opinion: the same equation, steps and tolerance give the same answer."""

import math

import pytest
import torch
import torchdiffeq

from pipeline.ode.solve import Solver, integrate
from tests.ode.problems import PROBLEMS, SmallNet, small_state

every_problem = pytest.mark.parametrize("problem", PROBLEMS, ids=lambda problem: problem.name)
ENDS = torch.tensor([0.0, 1.0], dtype=torch.float64)


def second_opinion(func, y0, solver, odeint=torchdiffeq.odeint):
    """torchdiffeq's end state on [0, 1]; fixed grids need a step size, or they take one step whatever is asked."""
    if solver.method == "dopri5":
        settings = {"atol": solver.atol, "rtol": solver.rtol}
    else:
        settings = {"options": {"step_size": 1 / solver.steps}}
    return odeint(func, y0, ENDS, method=solver.method, **settings)[-1]


class FloatTime(torch.nn.Module):
    """Our f, which takes t as a float, called with torchdiffeq's tensor."""

    def __init__(self, func):
        super().__init__()
        self.func = func

    def forward(self, t, y):
        return self.func(t.item(), y)


@every_problem
@pytest.mark.parametrize("method", ["euler", "midpoint"])
def test_the_same_method_gives_the_same_answer_to_rounding(problem, method):
    solver = Solver(method=method, steps=16)
    ours = integrate(problem.func, problem.start, solver)
    torch.testing.assert_close(ours, second_opinion(problem.func, problem.start, solver), rtol=1e-12, atol=1e-13)


@every_problem
def test_our_classical_rk4_and_their_three_eighths_rule_differ_by_order_four(problem):
    gaps = [
        (integrate(problem.func, problem.start, solver) - second_opinion(problem.func, problem.start, solver))
        .abs()
        .max()
        for solver in (Solver(method="rk4", steps=32), Solver(method="rk4", steps=64))
    ]
    # on a linear equation with constant coefficients every four-stage method of order 4 is the same polynomial
    assert gaps[0] < 1e-12 or 4 - 0.3 < math.log2(gaps[0] / gaps[1]) < 5.3


@every_problem
def test_both_dopri5_agree_within_the_tolerance(problem):
    solver = Solver(method="dopri5", atol=1e-8, max_steps=2000)
    ours = integrate(problem.func, problem.start, solver)
    torch.testing.assert_close(ours, second_opinion(problem.func, problem.start, solver), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("gradient", "odeint"), [("direct", torchdiffeq.odeint), ("adjoint", torchdiffeq.odeint_adjoint)]
)
def test_the_gradients_are_theirs_too(gradient, odeint):
    net, solver = SmallNet().double(), Solver(method="midpoint", steps=8, gradient=gradient)
    y0 = small_state(dtype=torch.float64).requires_grad_()
    ours, theirs = (
        torch.autograd.grad(end.square().sum(), [y0, *net.parameters()])
        for end in (integrate(net, y0, solver), second_opinion(FloatTime(net), y0, solver, odeint))
    )
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-11)
