"""What networks cost: by hand, in the paper's size, and two of one cost."""

import pytest
import torch
from torch import nn

from pipeline.errors import InputError
from pipeline.networks.continuous_unet import PAPER, ContinuousUNet
from pipeline.networks.cost import cost, matching_filters, parameters
from pipeline.networks.unet_blocks import DISCRETE, SOLVED
from pipeline.ode.blocks import SecondOrderBlock
from pipeline.ode.solve import Solver

PUBLISHED = {"filters": PAPER, "mixed": True}
TIME = 2 * sum(PAPER) - PAPER[-1]  # w of f: the only weights that the published frame does not have


def test_a_convolution_costs_its_formula():
    found = cost(nn.Conv2d(3, 5, 3, padding=1), (3, 8, 10))
    assert found.multiply_adds == 9 * 3 * 5 * 8 * 10
    assert found.parameters == 9 * 3 * 5 + 5
    assert found.evaluations == 0
    assert found.size == (3, 8, 10)


@pytest.mark.parametrize(("solver", "evaluations"), [(Solver(), 4), (Solver(steps=3), 12), (Solver(method="euler"), 1)])
def test_a_block_costs_its_evaluations(solver, evaluations):
    c = 4
    found = cost(SecondOrderBlock(c, spatial_dims=3, solver=solver), (2 * c, 4, 4, 4))
    assert found.evaluations == evaluations
    assert found.multiply_adds == evaluations * (27 * 2 * c * c + 27 * c * c) * 4**3


def test_true_second_order_in_the_published_frame_has_119_467_parameters():
    assert parameters(ContinuousUNet(**PUBLISHED)) - TIME == 119_467
    assert parameters(ContinuousUNet(**PUBLISHED, block="augmented")) == 169_585


def test_it_costs_2_51_billion_multiply_adds_at_512_when_pooled_as_published():
    found = cost(ContinuousUNet(**PUBLISHED), (3, 512, 512))
    assert found.evaluations == 4 * 9
    # pooled before and not after the 1 x 1 convolutions on the way down, ours saves 3/4 of these
    down = sum(2 * fine * 4 * fine * (512 // 2**level) ** 2 for level, fine in enumerate(PAPER[:-1]))
    assert (found.multiply_adds + 3 / 4 * down) / 1e9 == pytest.approx(2.51, abs=0.005)


@pytest.mark.parametrize("training", [False, True])
def test_measuring_leaves_the_network_as_it_was(training):
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), SecondOrderBlock(1)).train(training)
    before = net[1].running_mean.clone()
    assert cost(net, (1, 8, 8)) == cost(net, (1, 8, 8))
    assert net.training == net[1].training == training and torch.equal(net[1].running_mean, before)
    assert not any(part._forward_hooks for part in net.modules())


@pytest.mark.parametrize("block", [*DISCRETE, *SOLVED])
def test_every_block_can_have_the_second_order_s_parameters(block):
    target = parameters(ContinuousUNet())

    def build(filters):
        return ContinuousUNet(filters=filters, block=block)

    filters = matching_filters(build, target, like=PAPER)
    assert abs(parameters(build(filters)) - target) <= 0.05 * target
    assert len(filters) == len(PAPER) and filters == sorted(filters)


def test_its_own_parameters_give_its_own_filters():
    target = parameters(ContinuousUNet())
    assert matching_filters(lambda f: ContinuousUNet(filters=f), target, like=PAPER) == list(PAPER)


def test_a_target_between_whole_numbers_is_refused():
    with pytest.raises(InputError, match="not 40 within 5%"):
        matching_filters(lambda f: nn.Conv2d(f[0], f[0], 3, bias=False), 40, like=[3])  # 36 for 2 channels, 81 for 3
