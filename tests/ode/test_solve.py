"""Solver and integrate: what is refused, counters, steps seen, one answer whatever the gradient."""

import pytest
import torch

from pipeline.ode.solve import Counts, Solver, integrate, trajectory
from tests.ode.problems import METHODS, SmallNet, rotation, small_state


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "heun"}, "method is 'heun', it must be one of euler, midpoint, rk4, ab2, abm2, dopri5"),
        ({"gradient": "exact"}, "gradient is 'exact', it must be one of direct, checkpoint, adjoint"),
        ({"steps": 0}, "steps is 0, it must be a whole number, 1 or more"),
        ({"steps": 2.5}, "steps is 2.5"),
        ({"max_steps": 0}, "max_steps is 0"),
        ({"atol": 0.0}, "atol 0.0 must be positive"),
        ({"rtol": -1e-3}, "rtol -0.001 not negative"),
    ],
)
def test_a_setting_outside_its_rule_is_refused_with_the_choices(settings, message):
    with pytest.raises(ValueError, match=message):
        Solver(**settings)


def test_the_adjoint_warns_below_eight_fixed_steps_only():
    with pytest.warns(UserWarning, match=r"adjoint gradient of 7 fixed steps .* take 8 steps or more, or .*checkpoint"):
        Solver(steps=7, gradient="adjoint")
    Solver(steps=8, gradient="adjoint")
    Solver(steps=1, method="dopri5", gradient="adjoint")


def test_a_field_of_another_shape_is_refused_and_not_broadcast():
    with pytest.raises(ValueError, match=r"f\(t, y\) has shape \(2, 1, 6, 6\), it must have that of y, \(2, 3, 6, 6\)"):
        integrate(lambda t, y: y[:, :1], small_state(), Solver())


def test_the_adjoint_refuses_a_function_without_parameters_to_ask_for():
    with pytest.raises(ValueError, match=r"needs an nn\.Module"):
        integrate(lambda t, y: -y, small_state().requires_grad_(), Solver(steps=8, gradient="adjoint"))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("gradient", ["checkpoint", "adjoint"])
def test_the_answer_does_not_depend_on_the_gradient(method, gradient):
    net, y0 = SmallNet().double(), small_state(dtype=torch.float64)
    direct = integrate(net, y0, Solver(method=method, steps=8))
    assert torch.equal(integrate(net, y0, Solver(method=method, steps=8, gradient=gradient)), direct)
    with torch.no_grad():
        assert torch.equal(integrate(net, y0, Solver(method=method, steps=8, gradient=gradient)), direct)


@pytest.mark.parametrize("method", METHODS)
def test_each_step_is_shown_with_its_time_and_state(method):
    seen, problem = [], rotation()
    end = integrate(
        problem.func, problem.start, Solver(method=method, steps=32), on_step=lambda t, y: seen.append((t, y))
    )
    assert seen[-1][0] == 1.0 and torch.equal(seen[-1][1], end)
    for t, y in seen:
        torch.testing.assert_close(y, problem.exact(t), rtol=0, atol=0.3)


def test_the_trajectory_begins_with_the_start_and_carries_gradients():
    net, y0 = SmallNet(), small_state().requires_grad_()
    times, states = trajectory(net, y0, Solver(steps=3))
    assert times == [0.0, 1 / 3, 2 / 3, 1.0] and torch.equal(states[0], y0)
    states[1].sum().backward()
    assert y0.grad.abs().max() > 0


def test_counts_add_up_over_integrations():
    counts = Counts()
    for _ in range(2):
        integrate(rotation().func, rotation().start, Solver(method="midpoint", steps=3), counts=counts)
    assert counts == Counts(forward=12, accepted=6)


@pytest.mark.parametrize(
    ("settings", "backward"),
    [
        ({"gradient": "direct"}, 0),
        ({"gradient": "checkpoint"}, 32),
        ({"gradient": "adjoint"}, 32),
        ({"method": "abm2", "gradient": "checkpoint"}, 16),
    ],
)
def test_evaluations_of_the_backward_pass_are_counted_apart(settings, backward):
    counts, y0 = Counts(), small_state().requires_grad_()
    end = integrate(SmallNet(), y0, Solver(**{"method": "rk4", "steps": 8} | settings), counts=counts)
    forward = counts.forward
    end.sum().backward()
    assert (counts.forward, counts.backward, counts.accepted) == (forward, backward, 8)


def test_a_solver_is_a_value_that_a_config_can_write():
    assert Solver(method="ab2", steps=3) == Solver(**{"method": "ab2", "steps": 3})
    with pytest.raises(AttributeError):
        Solver().steps = 2
