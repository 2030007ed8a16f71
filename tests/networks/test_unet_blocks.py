"""The blocks of one frame: shapes, their sizes by hand, samples that stand for themselves."""

import pytest
import torch

from pipeline.errors import InputError
from pipeline.networks.cost import parameters
from pipeline.networks.unet_blocks import DISCRETE, SOLVED, PyramidPoolingBlock, ResidualBlock, state_parts, unet_block
from pipeline.ode.blocks import FirstOrderBlock, SampleNorm
from pipeline.ode.solve import Solver

NAMES = (*DISCRETE, *SOLVED)
every_block = pytest.mark.parametrize("name", NAMES)
EULER = Solver(method="euler")


def state(name, channels, size):
    return torch.randn(2, state_parts(name) * channels, *size, generator=torch.Generator().manual_seed(1))


@every_block
@pytest.mark.parametrize("channels", [1, 2, 5])
@pytest.mark.parametrize("size", [(8, 6), (3, 1), (1, 1), (4, 3, 5)])
def test_a_state_keeps_its_shape(name, channels, size):
    z = state(name, channels, size)
    end = unet_block(name, channels, spatial_dims=len(size), solver=EULER)(z)
    assert end.shape == z.shape and end.isfinite().all()


@every_block
def test_a_sample_does_not_know_its_batch_nor_the_mode(name):
    block, z = unet_block(name, 4, spatial_dims=2, solver=EULER), state(name, 4, (8, 8))
    alone = block.train()(z[:1])
    torch.testing.assert_close(block.eval()(z)[:1], alone)


@every_block
def test_every_weight_of_a_block_learns(name):
    # two steps: at t = 0, the only time of one, w has no say
    block = unet_block(name, 4, spatial_dims=2, solver=Solver(method="euler", steps=2)).double()
    (block(state(name, 4, (8, 8)).double()) * torch.randn(8, 8)).sum().backward()
    assert all(weight.grad.abs().max() > 1e-6 for weight in block.parameters())  # a norm would leave 1e-16 of a bias


@pytest.mark.parametrize(
    ("name", "weights"),
    [  # kernels in units of channels^2, then biases and w in units of channels
        ("plain", (9 + 9, 2)),
        ("residual", (9 + 9, 2)),
        ("dense", (9 + 2 * 9 + 3, 3)),
        ("inception", (1 + 9 + 25 + 3, 4)),
        ("pyramid_pooling", (3 * 1 + 4 * 9, 4)),
        ("first_order", (9 + 9, 2 + 1)),
        ("second_order", (2 * 9 + 9, 2 + 1)),
        ("augmented", (4 * 9 + 4 * 1, 2 + 2)),
    ],
)
def test_a_block_has_the_weights_of_its_formula(name, weights):
    c = 6
    square, single = weights
    assert parameters(unet_block(name, c, spatial_dims=2, solver=EULER)) == square * c**2 + single * c


def test_a_residual_block_is_an_euler_step_of_first_order():
    residual, ode = ResidualBlock(3), FirstOrderBlock(3, solver=EULER)
    ode.field.first.load_state_dict(residual.branch[1].state_dict())
    ode.field.last.load_state_dict(residual.branch[4].state_dict())
    x = state("residual", 3, (7, 7))
    torch.testing.assert_close(ode(x), residual(x))


@torch.no_grad()
def test_pyramid_pooling_lays_the_means_over_three_grids_beside_the_normalised_image():
    block, image, seen = PyramidPoolingBlock(1), 3 + torch.rand(1, 1, 16, 16), []
    for branch in block.branches:
        branch.weight.fill_(1)
        branch.bias.zero_()
    block.merge.register_forward_pre_hook(lambda _, inputs: seen.extend(inputs))
    block(image)
    normalised, *means = seen[0][0]
    torch.testing.assert_close(normalised, SampleNorm()(image)[0, 0])
    for size, mean in zip((16, 8, 4), means, strict=True):  # the corner's cell, as interpolation leaves a corner alone
        torch.testing.assert_close(mean[0, 0], image[0, 0, :size, :size].mean())


def test_an_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(InputError, match="block is 'fancy', it must be one of plain, residual"):
        unet_block("fancy", 3, spatial_dims=2, solver=EULER)
