"""ContinuousUNet: any size and channels, x and v apart, gradients, configs, export; the frame shared by all blocks."""

import pytest
import torch
from monai.bundle import ConfigParser

from pipeline.errors import InputError
from pipeline.networks.continuous_unet import ContinuousUNet, cropped, padded
from pipeline.networks.unet_blocks import DISCRETE, SOLVED
from pipeline.ode.solve import Solver

every_block = pytest.mark.parametrize("block", [*DISCRETE, *SOLVED])


def network(**settings):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return ContinuousUNet(**{"filters": (3, 4, 6), **settings})


def image(*shape):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(1))


@every_block
@pytest.mark.parametrize("mixed", [False, True])
@torch.no_grad()
def test_every_block_gives_logits_of_the_image_s_size(block, mixed):
    logits = network(block=block, mixed=mixed, out_channels=2)(image(2, 3, 17, 22))
    assert logits.shape == (2, 2, 17, 22) and logits.isfinite().all()


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (33, 64), (5, 7, 9), (1, 1, 1)])
@torch.no_grad()
def test_any_size_in_two_and_three_dimensions(size):
    net = network(spatial_dims=len(size), in_channels=1)
    assert net(image(1, 1, *size)).shape == (1, 1, *size)


@pytest.mark.parametrize("channels", [1, 3, 4])
@torch.no_grad()
def test_the_image_is_the_first_position_or_lifted_to_it(channels):
    net = network(in_channels=channels)
    pixels = image(1, channels, 8, 8)
    position, velocity = net.start(pixels).chunk(2, dim=1)
    assert position.shape == velocity.shape == (1, 3, 8, 8)
    assert torch.equal(position, pixels) == (channels == 3)
    assert velocity.min() < 0 < velocity.max()


@pytest.mark.parametrize("mixed", [False, True])
def test_positions_and_velocities_are_mixed_between_levels_only_where_asked(mixed):
    """With f = 0, x <- x + v and v <- v in each block: no x may reach v, but by a transition that mixes."""
    net = network(mixed=mixed)
    for block in (*net.blocks, *net.decoder.blocks):
        for weight in block.parameters():
            torch.nn.init.zeros_(weight)
    start = image(1, 6, 8, 8).requires_grad_()
    states = [net.blocks[0](start)]
    for down, block in zip(net.down, net.blocks[1:], strict=True):
        states.append(block(down(net.mean(states[-1], 2))))
    net.decoder(states)[:, 3:].sum().backward()
    assert start.grad[:, 3:].any()
    assert start.grad[:, :3].any() == mixed


def test_an_image_is_padded_by_its_last_pixels_and_cropped_again():
    pixels = image(1, 1, 5, 8)
    whole = padded(pixels, 4)
    assert whole.shape == (1, 1, 8, 8)
    assert torch.equal(whole[:, :, 5:], pixels[:, :, 4:].expand(1, 1, 3, 8))
    assert torch.equal(cropped(whole, pixels), pixels)


@torch.no_grad()
def test_an_image_of_full_size_is_seen_as_it_is():
    net, pixels = network(), image(1, 3, 8, 12)
    assert torch.equal(padded(pixels, net.stride), pixels) and net.stride == 4


@torch.no_grad()
def test_training_mode_changes_nothing():
    net, pixels = network(), image(2, 3, 16, 16)
    assert torch.equal(net.train()(pixels), net.eval()(pixels))


@every_block
def test_every_kernel_learns(block):
    """Not every bias: plain and inception begin with a norm, which removes that of the transition before them."""
    net = network(block=block).double()
    (net(image(1, 3, 16, 16).double()) * torch.randn(16, 16)).sum().backward()
    kernels = [weight for weight in net.parameters() if weight.dim() == 4]
    assert all(kernel.grad.abs().max() > 1e-7 for kernel in kernels)  # rounding would leave 1e-16


def test_recomputing_the_steps_gives_the_direct_gradient():
    def gradients(gradient):
        net = network(solver=Solver(steps=2, gradient=gradient)).double()
        net(image(1, 3, 12, 12).double()).square().sum().backward()
        return torch.cat([weight.grad.flatten() for weight in net.parameters()])

    torch.testing.assert_close(gradients("checkpoint"), gradients("direct"), rtol=1e-10, atol=1e-12)


@torch.no_grad()
def test_another_solver_gives_other_logits_and_dopri5_those_of_many_steps():
    net, pixels = network().double(), image(1, 3, 16, 16).double()

    def logits(**solver):
        for part in net.modules():
            if hasattr(part, "solver"):
                part.solver = Solver(**solver)
        return net(pixels)

    fine = logits(steps=64)
    torch.testing.assert_close(logits(method="dopri5", atol=1e-8), fine, rtol=0, atol=1e-5)
    assert (logits(method="euler") - fine).abs().max() > 1e-4


def test_a_shape_is_learned():
    """A bright disc in noise, thirty steps: the frame, the blocks and the loss work together."""
    torch.manual_seed(0)
    y, x = torch.meshgrid(torch.linspace(-1, 1, 32), torch.linspace(-1, 1, 32), indexing="ij")
    disc = ((x - 0.2).square() + y.square() < 0.3).float()[None, None]
    net = network(in_channels=1, filters=(4, 8, 12))
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-2)
    for _ in range(30):
        loss = torch.nn.functional.binary_cross_entropy_with_logits(net(disc + 0.5 * torch.randn(1, 1, 32, 32)), disc)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert ((net(disc) > 0) == (disc > 0)).float().mean() > 0.97


def test_a_config_names_it_with_plain_numbers():
    parser = ConfigParser(
        {
            "network": {
                "_target_": "pipeline.networks.continuous_unet.ContinuousUNet",
                "spatial_dims": 3,
                "in_channels": 1,
                "filters": [4, 8],
                "block": "first_order",
                "solver": {"_target_": "pipeline.ode.solve.Solver", "method": "midpoint", "steps": 2},
            }
        }
    )
    net = parser.get_parsed_content("network")
    assert {part.solver for part in net.modules() if hasattr(part, "solver")} == {Solver(method="midpoint", steps=2)}


@every_block
@torch.no_grad()
def test_it_leaves_python(block):
    net, pixels = network(block=block, solver=Solver(method="euler"), filters=(3, 4)).eval(), image(1, 3, 18, 13)
    torch.testing.assert_close(torch.jit.trace(net, pixels)(pixels), net(pixels))
    torch.testing.assert_close(torch.export.export(net, (pixels,)).module()(pixels), net(pixels))


@torch.no_grad()
def test_a_trace_holds_for_other_sizes():
    net, other = network().eval(), image(1, 3, 21, 30)
    torch.testing.assert_close(torch.jit.trace(net, image(1, 3, 18, 13))(other), net(other))


@pytest.mark.parametrize("filters", [(), (4,), (4, 0)])
def test_levels_without_channels_are_refused(filters):
    with pytest.raises(InputError, match="two levels or more"):
        ContinuousUNet(filters=filters)


def test_other_dimensions_are_refused():
    with pytest.raises(InputError, match="spatial_dims is 1"):
        ContinuousUNet(spatial_dims=1)
