"""NodeUNet: the identity before training, whatever the solver, and a flow that solvers agree on after it."""

import pytest
import torch

from pipeline.networks.node_unet import NodeUNet
from pipeline.ode.solve import Solver
from pipeline.ode.solvers import Counts

SMALL = (8, 8, 8, 8, 16, 8)
METHODS = ("euler", "midpoint", "rk4", "ab2", "abm2", "dopri5")


def moved(spatial_dims=2):
    """A field with weights of its own in the layer that starts at zero."""
    torch.manual_seed(0)
    net = NodeUNet(3, spatial_dims=spatial_dims, features=SMALL)
    torch.nn.init.normal_(net.unet.final_conv.weight, std=0.3)
    return net.eval()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shape", [(2, 3, 16, 24), (1, 3, 16, 16, 16)])
def test_before_training_it_is_the_identity_bit_for_bit(method, shape):
    net = NodeUNet(3, spatial_dims=len(shape) - 2, features=SMALL, solver=Solver(method=method))
    y = 100 * torch.randn(shape)
    assert torch.equal(net(y), y)


@torch.no_grad()
def test_solvers_approach_one_flow_as_their_steps_grow():
    net, y = moved(), torch.randn(1, 3, 16, 16)
    net.solver = Solver(method="dopri5", atol=1e-6)
    exact = net(y)
    error = {}
    for steps in (2, 16):
        net.solver = Solver(method="midpoint", steps=steps)
        error[steps] = float((net(y) - exact).abs().max())
    assert error[16] < error[2] / 8  # second order would be 64, kinks of max-pooling take some of it
    assert float((exact - y).abs().max()) > 100 * error[16]


def test_time_enters_the_field():
    net, y = moved(), torch.randn(1, 3, 16, 16)
    assert not torch.allclose(net.field(0.0, y), net.field(1.0, y))


@torch.no_grad()
def test_a_sample_does_not_depend_on_its_batch_mates():
    net, y = moved(), torch.randn(3, 3, 16, 16)
    torch.testing.assert_close(net(y)[1:2], net(y[1:2]))


def test_evaluations_are_counted_and_the_trajectory_ends_where_the_flow_does():
    net, y, counts = moved(), torch.randn(1, 3, 16, 16), Counts()
    net.solver = Solver(method="midpoint", steps=3)
    end = net(y, counts)
    times, states = net.trajectory(y)
    assert counts.forward == 6 and times == pytest.approx([0, 1 / 3, 2 / 3, 1])
    assert torch.equal(states[0], y) and torch.equal(states[-1], end)
