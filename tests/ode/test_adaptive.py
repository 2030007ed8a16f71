"""dopri5: tolerance, landing, identity, evaluations beside torchdiffeq's, and the ways in which it gives up."""

import math
from itertools import pairwise

import pytest
import torch
import torchdiffeq

from pipeline.ode.adaptive import ERROR, ERROR_OF_LAST, TABLEAU, StepLimitError
from pipeline.ode.solve import Counts, Solver, integrate, trajectory
from tests.ode.problems import PROBLEMS, logistic, oscillator, rotation

every_problem = pytest.mark.parametrize("problem", PROBLEMS, ids=lambda problem: problem.name)


def dopri5(**options):
    return Solver(**{"method": "dopri5", "max_steps": 5000} | options)


@every_problem
@pytest.mark.parametrize("atol", [1e-3, 1e-6, 1e-9])
def test_the_error_is_of_the_size_of_the_tolerance(problem, atol):
    end = integrate(problem.func, problem.start, dopri5(atol=atol), t1=2.0)
    assert (end - problem.exact(2.0)).abs().max() < 20 * atol


@every_problem
def test_the_error_falls_in_proportion_to_the_tolerance(problem):
    loose, strict = (
        (integrate(problem.func, problem.start, dopri5(atol=atol), t1=4.0) - problem.exact(4.0)).abs().max().item()
        for atol in (1e-4, 1e-8)
    )
    assert 0.7 < math.log10(loose / strict) / 4 < 1.4


def test_the_table_is_of_order_five_and_its_error_estimate_of_order_four():
    nodes, weights = (*TABLEAU.nodes, 1), (*TABLEAU.weights, 0)
    for power in range(5):  # quadrature conditions: sum b c^p = 1 / (p + 1)
        assert sum(b * c**power for b, c in zip(weights, nodes, strict=True)) == pytest.approx(1 / (power + 1))
    for power in range(4):
        assert sum(e * c**power for e, c in zip((*ERROR, ERROR_OF_LAST), nodes, strict=True)) == pytest.approx(
            0, abs=1e-15
        )
    assert [sum(row) for row in TABLEAU.matrix] == pytest.approx(TABLEAU.nodes)


def test_one_step_has_an_error_of_the_sixth_power_of_its_length():
    problem = oscillator()
    errors = [
        (integrate(problem.func, problem.start, dopri5(atol=1e3), t1=t1) - problem.exact(t1)).abs().max().item()
        for t1 in (0.02, 0.01)
    ]
    assert math.log2(errors[0] / errors[1]) == pytest.approx(6, abs=0.15)


def test_it_lands_on_the_end_time_and_returns_the_step_itself():
    problem = rotation()
    times, states = trajectory(problem.func, problem.start, dopri5(atol=1e-7), t0=0.1, t1=0.7)
    assert len(times) > 3 and times[-1] == 0.7
    assert torch.equal(states[-1], integrate(problem.func, problem.start, dopri5(atol=1e-7), t0=0.1, t1=0.7))
    assert all(a < b for a, b in pairwise(times))


def test_a_field_of_zero_is_the_identity_bit_for_bit_at_half_the_evaluations_of_torchdiffeq():
    y0, calls = torch.randn(2, 1, 9, 9) * 60, []

    def still(t, y):
        calls.append(t)
        return torch.zeros_like(y)

    assert torch.equal(integrate(still, y0, dopri5(atol=1e-4)), y0)
    ours = len(calls)
    torchdiffeq.odeint(still, y0, torch.tensor([0.0, 1.0]), method="dopri5", atol=1e-4, rtol=0.0)
    assert ours <= (len(calls) - ours) / 2


def test_a_step_costs_six_evaluations_and_the_first_one_more():
    counts = Counts()
    integrate(oscillator(10.0).func, oscillator().start, dopri5(atol=1e-5), counts=counts)
    assert counts.rejected > 0 and counts.accepted > 10
    assert counts.forward == 1 + 6 * (counts.accepted + counts.rejected)


def test_the_steps_follow_the_fifth_root_of_the_tolerance_and_few_are_rejected():
    loose, strict = Counts(), Counts()
    for atol, counts in ((1e-5, loose), (1e-10, strict)):
        integrate(oscillator().func, oscillator().start, dopri5(atol=atol), t1=20.0, counts=counts)
    assert strict.accepted / loose.accepted == pytest.approx(10, rel=0.1)
    assert strict.rejected < 0.05 * strict.accepted and loose.rejected < 0.2 * loose.accepted


def test_the_way_back_returns_the_start():
    problem = logistic()
    end = integrate(problem.func, problem.start, dopri5(atol=1e-9))
    torch.testing.assert_close(
        integrate(problem.func, end, dopri5(atol=1e-9), t0=1.0, t1=0.0), problem.start, rtol=0, atol=1e-7
    )


def test_an_empty_interval_costs_nothing():
    counts = Counts()
    assert integrate(logistic().func, logistic().start, dopri5(), t0=0.5, t1=0.5, counts=counts) is not None
    assert counts == Counts()


def test_the_tolerance_is_in_the_sup_norm_so_a_single_fast_pixel_is_followed():
    y0 = torch.zeros(1, 1, 64, 64, dtype=torch.float64)
    y0[..., 5, 5] = 0.1
    field = logistic(rate=15.0).func
    among_still_ones, alone = Counts(), Counts()
    end = integrate(field, y0, dopri5(atol=1e-6), counts=among_still_ones)
    assert torch.equal(end[..., 5, 5].flatten(), integrate(field, y0[0, 0, 5, 5:6], dopri5(atol=1e-6), counts=alone))
    assert among_still_ones == alone


def test_a_relative_tolerance_makes_the_steps_independent_of_the_unit():
    in_pixels, in_thousands = Counts(), Counts()
    for scale, counts in ((1.0, in_pixels), (1000.0, in_thousands)):
        integrate(oscillator().func, scale * oscillator().start, dopri5(atol=1e-12, rtol=1e-5), counts=counts)
    assert in_pixels == in_thousands


def test_too_few_steps_end_in_an_error_that_names_the_way_out():
    with pytest.raises(StepLimitError, match=r"after 5 steps \(max_steps 5\).*Raise max_steps.*method='rk4'"):
        integrate(oscillator(50.0).func, oscillator().start, dopri5(atol=1e-6, max_steps=5))


def test_a_field_that_is_not_finite_ends_in_that_error_before_the_cap():
    counts = Counts()
    with pytest.raises(StepLimitError, match="not finite"):
        integrate(lambda t, y: y * float("nan"), torch.ones(1), dopri5(), counts=counts)
    assert counts.rejected < 20


def test_a_first_step_that_overflows_is_tried_again_shorter():
    blow_up = integrate(lambda t, y: y**7, torch.full((1,), 5e4), dopri5(rtol=1e-5), t1=1e-33)
    # y' = y^7 gives y^-6 = y0^-6 - 6 t; at 1e-33 that is a relative change of 6e-33 * 5e4^6 of y^-6
    exact = 5e4 * (1 - 6e-33 * (5e4) ** 6) ** (-1 / 6)
    assert blow_up.item() == pytest.approx(exact, rel=1e-3)
