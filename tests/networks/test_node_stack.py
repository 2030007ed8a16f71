"""NodeStack: sizes, identity of its blocks, its norms, gradients, export, the paper's number of parameters."""

import pytest
import torch
from monai.bundle import ConfigParser
from torch import nn

from pipeline.errors import InputError
from pipeline.networks.cost import cost, parameters
from pipeline.networks.node_stack import GroupedField, NodeStack
from pipeline.ode.blocks import ODEBlock
from pipeline.ode.solve import Solver

SMALL = {"widths": (16, 24, 32), "blocks": 1, "groups": 8, "pooled": 8}


def made(**changed):
    """A network whose differential equations have something to do."""
    torch.manual_seed(0)
    network = NodeStack(**(SMALL | changed))
    for part in network.modules():
        if isinstance(part, GroupedField):
            nn.init.normal_(part.last.weight, std=0.1)
    return network


@pytest.mark.parametrize("size", [(1, 1), (33, 50), (64, 32)])
@torch.no_grad()
def test_the_distance_has_the_size_of_the_image(size):
    distance = made(out_channels=2)(torch.rand(2, 3, *size))
    assert distance.shape == (2, 2, *size) and distance.isfinite().all()


@torch.no_grad()
def test_an_untrained_block_is_the_identity_whatever_the_solver():
    z = 100 * torch.randn(1, 16, 8, 8)
    for method in ("euler", "rk4", "dopri5"):
        assert torch.equal(ODEBlock(GroupedField(16, groups=4), Solver(method=method))(z), z)


def test_the_paper_s_width_has_its_41_million_parameters():
    with torch.device("meta"):
        assert parameters(NodeStack()) == pytest.approx(41e6, rel=0.02)


def test_layer_norm_follows_the_grouped_convolutions_and_group_norm_all_others():
    parts = list(made().modules())
    pairs = [
        (first, norm)
        for chain in parts
        if isinstance(chain, nn.Sequential)
        for first, norm in zip(chain, list(chain)[1:], strict=False)
        if isinstance(first, nn.Conv2d) and isinstance(norm, nn.GroupNorm)
    ]
    assert {norm.num_groups == 1 for conv, norm in pairs if conv.groups > 1} == {True}
    assert {norm.num_groups == 1 for conv, norm in pairs if conv.groups == 1} == {False}
    assert not any(isinstance(part, nn.BatchNorm2d) for part in parts)


def test_layer_norm_normalises_all_channels_and_pixels_of_a_sample_together():
    norm = GroupedField(16, groups=4).grouped[1]
    y = norm(3 + 5 * torch.randn(2, 16, 4, 6))
    torch.testing.assert_close(y.mean(dim=(1, 2, 3)), torch.zeros(2), atol=1e-5, rtol=0)
    torch.testing.assert_close(y.var(dim=(1, 2, 3), unbiased=False), torch.ones(2), atol=1e-3, rtol=0)


@torch.no_grad()
def test_a_sample_does_not_depend_on_its_batch_mates():
    network, image = made(), torch.rand(3, 3, 32, 32)
    torch.testing.assert_close(network(image)[1:2], network(image[1:2]))


@torch.no_grad()
def test_every_stage_solves_its_equation_at_its_stride():
    network, seen = made(), []
    for part in network.modules():
        if isinstance(part, ODEBlock):
            part.register_forward_hook(lambda block, inputs, output: seen.append(tuple(output.shape[1:])))
    network(torch.rand(1, 3, 32, 64))
    assert seen == [(16, 8, 16), (24, 4, 8), (32, 4, 8)]
    assert cost(network, (3, 32, 64)).evaluations == 3 * 4  # two steps of midpoint each


@pytest.mark.parametrize(("gradient", "relative"), [("checkpoint", 0.0), ("adjoint", 2e-2)])
def test_the_gradients_that_save_memory_are_the_direct_one(gradient, relative):
    image, found = torch.rand(1, 3, 32, 32, dtype=torch.float64), {}
    for kind in ("direct", gradient):
        network = made(solver=Solver(method="rk4", steps=8, gradient=kind)).double()
        network(image).square().sum().backward()
        found[kind] = torch.cat([weight.grad.flatten() for weight in network.parameters()])
    assert (found[gradient] - found["direct"]).norm() <= relative * found["direct"].norm() + 1e-12


@torch.no_grad()
def test_it_leaves_python():
    network, image = made(solver=Solver(method="euler")).eval(), torch.rand(1, 3, 48, 64)
    torch.testing.assert_close(torch.export.export(network, (image,)).module()(image), network(image))
    other = torch.rand(1, 3, 70, 33)
    torch.testing.assert_close(torch.jit.trace(network, image)(other), network(other))


def test_a_config_names_it():
    config = {"_target_": "pipeline.networks.node_stack.NodeStack", **SMALL}
    config["solver"] = {"_target_": "pipeline.ode.solve.Solver", "steps": 2}
    assert isinstance(ConfigParser({"net": config}).get_parsed_content("net"), NodeStack)


@pytest.mark.parametrize("widths", [(), (16, 20)])
def test_widths_that_cannot_be_grouped_are_refused(widths):
    with pytest.raises(InputError, match="each a multiple of 8"):
        NodeStack(**(SMALL | {"widths": widths}))
