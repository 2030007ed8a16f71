"""Gradients: exact ones against finite differences and each other, the adjoint's error, and memory."""

import pytest
import torch
from torch import nn

from pipeline.ode.solve import Counts, Solver, integrate
from tests.ode.problems import FIXED, METHODS, SmallNet, oscillator, small_state

every_fixed = pytest.mark.parametrize("method", FIXED)


def gradients(solver, *, net=None, y0=None, counts=None):
    """dL/dy0 and dL/dweights in one vector, for a loss that weighs every pixel differently."""
    net = SmallNet().double() if net is None else net
    y0 = small_state(dtype=torch.float64) if y0 is None else y0
    y0 = y0.clone().requires_grad_()
    end = integrate(net, y0, solver, counts=counts)
    loss = (end * torch.linspace(-1, 2, end.numel(), dtype=end.dtype).view_as(end)).sum()
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, [y0, *net.parameters()])])


def difference(a, b):
    return ((a - b).norm() / b.norm()).item()


def saved_numbers(solver, *, net, y0):
    """Numbers that the forward pass keeps for the backward pass, weights left out, each storage once."""
    kept = {}
    weights = {weight.untyped_storage().data_ptr() for weight in net.parameters()}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = (storage.nbytes() // tensor.element_size(), tensor)  # held: no address is reused
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        end = integrate(net, y0, solver)
    assert end.requires_grad
    return sum(size for size, _ in kept.values())


@every_fixed
@pytest.mark.parametrize("gradient", ["direct", "checkpoint"])
def test_the_exact_gradients_agree_with_finite_differences(method, gradient):
    net, solver = SmallNet(channels=1, width=4).double(), Solver(method=method, steps=3, gradient=gradient)
    y0 = small_state(channels=1, size=3, dtype=torch.float64).requires_grad_()
    bias = net.layers[0].bias
    assert torch.autograd.gradcheck(lambda y, _: integrate(net, y, solver), (y0, bias))


@every_fixed
def test_recomputed_steps_give_the_direct_gradient_to_rounding(method):
    direct = gradients(Solver(method=method, steps=5))
    assert difference(gradients(Solver(method=method, steps=5, gradient="checkpoint")), direct) < 1e-14


def test_recomputed_adaptive_steps_give_the_direct_gradient_too():
    direct, again = Counts(), Counts()
    settings = {"method": "dopri5", "atol": 1e-9}
    a = gradients(Solver(**settings), counts=direct)
    b = gradients(Solver(**settings, gradient="checkpoint"), counts=again)
    assert direct.accepted == again.accepted > 2
    assert difference(b, a) < 1e-13
    assert again.backward == 6 * again.accepted  # the slope at the end serves the error only


def test_the_adaptive_gradient_is_the_solution_s_own():
    problem, t1 = oscillator(), 1.3
    y0 = problem.start.clone().requires_grad_()
    integrate(problem.func, y0, Solver(method="dopri5", atol=1e-9, max_steps=999), t1=t1)[0].backward()
    # the solution is linear in the start: x(t) = cos(w t) x0 + sin(w t) / w v0
    expected = torch.tensor([3.0 * t1], dtype=torch.float64)
    torch.testing.assert_close(y0.grad, torch.cat([expected.cos(), expected.sin() / 3]), rtol=0, atol=1e-7)


@every_fixed
def test_the_adjoint_nears_the_direct_gradient_as_the_steps_shrink(method):
    errors = [
        difference(
            gradients(Solver(method=method, steps=n, gradient="adjoint")), gradients(Solver(method=method, steps=n))
        )
        for n in (8, 16, 64)
    ]
    assert errors[0] > errors[1] > errors[2] > 0
    if method != "euler":
        assert errors[1] < 1e-2


def test_the_adjoint_of_dopri5_obeys_its_tolerance():
    strict = {"method": "dopri5", "atol": 1e-9, "max_steps": 9999}
    reference = gradients(Solver(**strict))
    assert difference(gradients(Solver(**strict, gradient="adjoint")), reference) < 1e-6


class Drift(nn.Module):
    """A constant field: neither its state nor a weight enters."""

    def forward(self, t, y):
        return torch.full_like(y, 0.5)


@pytest.mark.parametrize("gradient", ["direct", "checkpoint", "adjoint"])
def test_a_constant_field_hands_the_gradient_through(gradient):
    y0 = small_state().requires_grad_()
    integrate(Drift(), y0, Solver(steps=8, gradient=gradient)).sum().backward()
    assert torch.equal(y0.grad, torch.ones_like(y0))


@pytest.mark.parametrize("gradient", ["direct", "checkpoint", "adjoint"])
def test_frozen_weights_stay_without_a_gradient(gradient):
    net, y0 = SmallNet(), small_state()
    net.layers[0].requires_grad_(False)
    integrate(net, y0, Solver(steps=8, gradient=gradient)).sum().backward()
    assert net.layers[0].weight.grad is None and net.layers[3].weight.grad.abs().max() > 0


@pytest.mark.parametrize(("method", "states"), [("euler", 1), ("midpoint", 1), ("rk4", 1), ("ab2", 2), ("abm2", 2)])
def test_recomputation_keeps_one_state_a_step_or_two_where_a_slope_is_carried(method, states):
    net, y0 = SmallNet(width=16), small_state(size=16).requires_grad_()
    few, many = (saved_numbers(Solver(method=method, steps=n, gradient="checkpoint"), net=net, y0=y0) for n in (4, 12))
    assert 0 < many - few <= 8 * states * y0.numel()


def test_recomputation_keeps_one_state_a_step_of_dopri5_too():
    net, y0, kept = SmallNet(width=16).double(), small_state(size=16, dtype=torch.float64).requires_grad_(), []
    for atol in (1e-3, 1e-10):
        counts, solver = Counts(), Solver(method="dopri5", atol=atol, gradient="checkpoint")
        integrate(net, y0, solver, counts=counts)
        kept.append((counts.accepted, saved_numbers(solver, net=net, y0=y0)))
    (few_steps, few), (many_steps, many) = kept
    assert many_steps > few_steps + 3
    assert many - few <= (many_steps - few_steps) * y0.numel()


def test_the_memory_of_recomputation_grows_at_most_a_twentieth_as_fast_as_the_direct_one():
    net, y0 = SmallNet(width=16), small_state(size=16).requires_grad_()
    growth = {
        gradient: saved_numbers(Solver(steps=12, gradient=gradient), net=net, y0=y0)
        - saved_numbers(Solver(steps=4, gradient=gradient), net=net, y0=y0)
        for gradient in ("direct", "checkpoint")
    }
    assert growth["checkpoint"] <= 0.05 * growth["direct"]


def test_the_adjoint_keeps_the_end_only():
    net, y0 = SmallNet(), small_state(size=16).requires_grad_()
    assert saved_numbers(Solver(steps=32, gradient="adjoint"), net=net, y0=y0) == y0.numel()


@pytest.mark.parametrize("method", METHODS)
def test_a_zero_last_layer_still_receives_its_gradient(method):
    net, y0 = SmallNet(), small_state()
    nn.init.zeros_(net.layers[3].weight)
    nn.init.zeros_(net.layers[3].bias)
    end = integrate(net, y0, Solver(method=method, steps=2))
    assert torch.equal(end, y0)
    end.square().sum().backward()
    assert net.layers[3].weight.grad.abs().max() > 0 and not net.layers[0].weight.grad.any()
