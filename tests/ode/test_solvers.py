"""Fixed grids: exact solutions, order by halving, identity, the grid's times, evaluations."""

import math

import pytest
import torch

from pipeline.ode.solve import Counts, Solver, integrate, trajectory
from pipeline.ode.solvers import FIXED_GRID, RungeKutta
from tests.ode.problems import FIXED, PROBLEMS, linear, oscillator, rotation

every_fixed = pytest.mark.parametrize("method", FIXED)
every_problem = pytest.mark.parametrize("problem", PROBLEMS, ids=lambda problem: problem.name)


def error(problem, method, steps, t1=1.0):
    end = integrate(problem.func, problem.start, Solver(method=method, steps=steps), t1=t1)
    return (end - problem.exact(t1)).abs().max().item()


@every_fixed
@every_problem
def test_halving_the_step_shows_the_order(problem, method):
    observed = math.log2(error(problem, method, 128) / error(problem, method, 256))
    assert observed == pytest.approx(FIXED_GRID[method].order, abs=0.15)


@pytest.mark.parametrize(("method", "order"), [("euler", 1), ("midpoint", 2), ("rk4", 4), ("ab2", 2), ("abm2", 2)])
def test_the_orders_are_the_published_ones(method, order):
    assert FIXED_GRID[method].order == order


@every_problem
def test_many_steps_arrive_at_the_exact_solution(problem):
    assert error(problem, "rk4", 200, t1=1.5) < 1e-6


@every_fixed
def test_the_way_back_returns_the_start(method):
    problem, solver = linear(), Solver(method=method, steps=400)
    end = integrate(problem.func, problem.start, solver)
    back = integrate(problem.func, end, solver, t0=1.0, t1=0.0)
    torch.testing.assert_close(back, problem.start, rtol=0, atol=2e-2 if method == "euler" else 1e-4)


@every_fixed
@pytest.mark.parametrize("steps", [1, 3, 10])
def test_a_field_of_zero_is_the_identity_bit_for_bit(method, steps):
    y0 = torch.randn(2, 1, 9, 9) * 60
    assert torch.equal(integrate(lambda t, y: torch.zeros_like(y), y0, Solver(method=method, steps=steps)), y0)


@every_fixed
@pytest.mark.parametrize("steps", [3, 7, 49])
def test_the_last_step_ends_at_the_end_time_exactly(method, steps):
    t0, t1 = 0.4, 1.7
    assert t0 + steps * ((t1 - t0) / steps) != t1, "an interval whose steps add up by luck shows nothing"
    problem, solver = rotation(), Solver(method=method, steps=steps)
    times, states = trajectory(problem.func, problem.start, solver, t0=t0, t1=t1)
    assert times[0] == t0 and times[-1] == t1
    assert times == pytest.approx([t0 + (t1 - t0) * n / steps for n in range(steps + 1)])
    assert torch.equal(states[-1], integrate(problem.func, problem.start, solver, t0=t0, t1=t1))


@pytest.mark.parametrize(
    ("method", "evaluations"), [("euler", 5), ("midpoint", 10), ("rk4", 20), ("ab2", 6), ("abm2", 10)]
)
def test_five_steps_cost_the_evaluations_that_the_class_states(method, evaluations):
    counts = Counts()
    integrate(oscillator().func, oscillator().start, Solver(method=method, steps=5), counts=counts)
    assert (counts.forward, counts.backward, counts.accepted, counts.rejected) == (evaluations, 0, 5, 0)


@pytest.mark.parametrize("method", [name for name, kind in FIXED_GRID.items() if issubclass(kind, RungeKutta)])
def test_a_tableau_is_consistent(method):
    tableau = FIXED_GRID[method].tableau
    assert sum(tableau.weights) == pytest.approx(1)
    assert [sum(row) for row in tableau.matrix] == pytest.approx(tableau.nodes)


@every_fixed
def test_half_precision_slopes_leave_the_state_in_single_precision(method):
    y0 = torch.randn(1, 1, 4, 4)
    end = integrate(lambda t, y: -y.to(torch.bfloat16), y0, Solver(method=method, steps=4))
    assert end.dtype == torch.float32
    torch.testing.assert_close(end, y0 * math.exp(-1), rtol=0.2, atol=0)
