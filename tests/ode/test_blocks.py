"""Blocks: closed forms, the order they promise, what second order can learn and first cannot, gradients, export."""

import math

import pytest
import torch
from torch import nn

from pipeline.errors import InputError
from pipeline.ode.blocks import (
    AugmentedBlock,
    Derivative,
    FirstOrderBlock,
    ODEBlock,
    SampleNorm,
    SecondOrderBlock,
    SecondOrderField,
)
from pipeline.ode.solve import Counts, Solver

BLOCKS = (FirstOrderBlock, SecondOrderBlock, AugmentedBlock)
every_block = pytest.mark.parametrize("block", BLOCKS)


def seeded(block, channels=3, **settings):
    """A block whose weights are all in use, w too, which starts at zero."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = block(channels, **settings)
        for weight in made.parameters():
            nn.init.normal_(weight, std=0.3)
    return made


def state(block, channels=3, size=(6, 5), dtype=torch.float32):
    parts = 1 if block is FirstOrderBlock else 2
    return torch.randn(2, parts * channels, *size, dtype=dtype, generator=torch.Generator().manual_seed(1))


class Spring(nn.Module):
    """v' = -k x - d v."""

    def __init__(self, stiffness, damping=0.0):
        super().__init__()
        self.stiffness, self.damping = stiffness, damping

    def forward(self, t, z):
        x, v = z.chunk(2, dim=1)
        return -self.stiffness * x - self.damping * v


def oscillation(spring, steps):
    """(x, v) at t = 1, pixelwise, from x = 2, v = -1."""
    start = torch.tensor([2.0, -1.0], dtype=torch.float64).view(1, 2, 1, 1).expand(1, 2, 2, 2)
    end = ODEBlock(SecondOrderField(spring), Solver(steps=steps))(start)
    assert (end == end[..., :1, :1]).all()
    return end[0, :, 0, 0]


def test_an_oscillator_follows_its_closed_form():
    w = 3.0  # x = 2 cos wt - 1/w sin wt
    x, v = oscillation(Spring(w**2), steps=100)
    assert x.item() == pytest.approx(2 * math.cos(w) - math.sin(w) / w, abs=1e-6)
    assert v.item() == pytest.approx(-2 * w * math.sin(w) - math.cos(w), abs=1e-6)


def test_a_damped_oscillator_follows_its_closed_form():
    d, k = 0.8, 9.0
    w = math.sqrt(k - d**2 / 4)  # x = exp(-dt/2) (2 cos wt + b sin wt) with v(0) = -1 = -d + b w
    b = (-1 + d) / w
    x, _ = oscillation(Spring(k, d), steps=100)
    assert x.item() == pytest.approx(math.exp(-d / 2) * (2 * math.cos(w) + b * math.sin(w)), abs=1e-6)


def test_energy_drifts_with_the_fourth_power_of_the_step_or_less():
    def drift(steps):
        x, v = oscillation(Spring(9.0), steps)
        return abs((v**2 + 9 * x**2 - (1 + 9 * 4)).item())

    assert 0 < drift(16) < drift(8) / 2**4


@every_block
@pytest.mark.parametrize(("method", "order"), [("euler", 1), ("midpoint", 2), ("rk4", 4)])
@torch.no_grad()
def test_a_random_block_is_solved_with_the_method_s_order(block, method, order):
    made, z = seeded(block).double(), state(block, dtype=torch.float64)

    def end(**solver):
        made.solver = Solver(**solver)  # changed after the making
        return made(z)

    exact = end(method="rk4", steps=512)
    errors = [(end(method=method, steps=steps) - exact).abs().max().item() for steps in (32, 64)]
    assert math.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.25)


def test_the_position_moves_by_the_velocity_and_nothing_else():
    field, z = seeded(SecondOrderBlock).field, state(SecondOrderBlock)
    slope = field(0.3, z)
    assert torch.equal(slope[:, :3], z[:, 3:])
    assert not torch.allclose(slope[:, 3:], torch.zeros(()))
    jacobian = torch.autograd.functional.jacobian(lambda z: field(0.3, z)[:1, :3].sum((0, 2, 3)), z)[:, 0]
    assert torch.equal(jacobian, torch.eye(3, 6).roll(3, 1)[..., None, None].expand_as(jacobian))


def test_no_force_is_a_drift():
    block, z = SecondOrderBlock(3), state(SecondOrderBlock)
    for weight in block.parameters():
        nn.init.zeros_(weight)
    x, v = z.chunk(2, dim=1)
    torch.testing.assert_close(block(z), torch.cat([x + v, v], dim=1))


@pytest.mark.parametrize("block", [FirstOrderBlock, SecondOrderBlock])
def test_the_derivative_knows_the_time_and_has_either_sign(block):
    field, z = seeded(block).field, state(block)
    assert not torch.allclose(field(0.0, z), field(1.0, z))
    slope = field(0.0, z)
    assert slope.min() < -0.3 and slope.max() > 0.3  # a SiLU at the end would not go below -0.28


def test_the_published_block_can_only_grow():
    z = state(AugmentedBlock)
    assert (seeded(AugmentedBlock)(z) > z).all()


def _loss_of_learning_to_swap(order):
    """The mean squared error left after learning x -> -x for x in -1 ... 1, which has the mean square 0.35."""
    torch.manual_seed(0)
    parts = order
    force = nn.Sequential(nn.Linear(parts, 16), nn.Tanh(), nn.Linear(16, 1))
    velocity = nn.Linear(1, 1)  # g

    class Force(nn.Module):
        def forward(self, t, z):
            return force(z.flatten(1))[..., None, None]

    block = ODEBlock(SecondOrderField(Force()) if order == 2 else Force(), Solver(steps=2))
    x = torch.linspace(-1, 1, 32).view(-1, 1)
    optimiser = torch.optim.Adam([*force.parameters(), *velocity.parameters()], lr=0.03)
    for _ in range(150):
        z = x if order == 1 else torch.cat([x, velocity(x)], dim=1)
        loss = (block(z[..., None, None])[:, 0, 0] + x).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return loss.item()


def test_trajectories_that_cross_are_learned_by_second_order_only():
    assert _loss_of_learning_to_swap(order=2) < 1e-3
    assert _loss_of_learning_to_swap(order=1) > 0.2  # a flow on the line keeps the order: the best is all to 0


@every_block
def test_recomputing_the_steps_gives_the_direct_gradient(block):
    def gradients(gradient):
        made = seeded(block, solver=Solver(steps=2, gradient=gradient)).double()
        made(state(block, dtype=torch.float64)).square().sum().backward()
        return [weight.grad for weight in made.parameters()]

    for direct, again in zip(gradients("direct"), gradients("checkpoint"), strict=True):
        torch.testing.assert_close(again, direct, rtol=0, atol=1e-12)
        assert direct.abs().max() > 0


@every_block
def test_the_adjoint_nears_the_direct_gradient(block):
    def gradients(gradient):
        made = seeded(block, solver=Solver(steps=16, gradient=gradient)).double()
        made(state(block, dtype=torch.float64)).square().sum().backward()
        return torch.cat([weight.grad.flatten() for weight in made.parameters()])

    assert (gradients("adjoint") - gradients("direct")).norm() < 1e-2 * gradients("direct").norm()


@every_block
def test_each_sample_stands_for_itself_in_training_too(block):
    made, z = seeded(block), state(block)
    alone = made.train()(z[:1])
    torch.testing.assert_close(made(z)[:1], alone)
    assert torch.equal(made.eval()(z[:1]), alone)


def test_the_norm_is_mean_0_and_variance_1_and_spares_single_pixels():
    norm, y = SampleNorm(), 3 + 5 * torch.randn(2, 4, 8, 8)
    torch.testing.assert_close(norm(y).mean((2, 3)), torch.zeros(2, 4), atol=1e-5, rtol=0)
    torch.testing.assert_close(norm(y).var((2, 3), unbiased=False), torch.ones(2, 4), atol=1e-3, rtol=0)
    pixel = norm(torch.tensor([1.0, 3.0]).view(1, 2, 1, 1))
    torch.testing.assert_close(pixel.flatten(), torch.tensor([-1.0, 1.0]), atol=1e-4, rtol=0)


@every_block
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (3, 4, 5), (1, 1, 1)])
def test_any_map_keeps_its_shape_in_two_and_three_dimensions(block, size):
    z = state(block, size=size)
    end = seeded(block, spatial_dims=len(size))(z)
    assert end.shape == z.shape and end.isfinite().all() and not torch.equal(end, z)


def test_other_dimensions_are_refused():
    with pytest.raises(InputError, match="spatial_dims is 1"):
        Derivative(2, 2, spatial_dims=1)


def test_evaluations_are_counted_and_the_way_is_shown():
    block, z, counts = seeded(SecondOrderBlock, solver=Solver(steps=3)), state(SecondOrderBlock), Counts()
    end = block(z, counts)
    assert counts.forward == 4 * 3
    times, states = block.trajectory(z)
    assert times == pytest.approx([0, 1 / 3, 2 / 3, 1])
    assert torch.equal(states[0], z) and torch.equal(states[-1], end)


@every_block
@torch.no_grad()
def test_it_leaves_python_for_every_size(block):
    made, z, other = seeded(block), state(block), state(block, size=(9, 4))
    free = {2: torch.export.Dim("height", min=2), 3: torch.export.Dim("width", min=2)}
    for program in (
        torch.jit.trace(made, z),
        torch.export.export(made, (z,), dynamic_shapes=(free,)).module(),
    ):
        torch.testing.assert_close(program(other), made(other))
