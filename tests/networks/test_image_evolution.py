"""ImageEvolution: regression before training, an evolution after it; sizes, gradients, learning, export."""

import pytest
import torch
from torch.nn import functional as F

from pipeline.losses.narrow_band import NarrowBandLoss
from pipeline.networks.cost import cost
from pipeline.networks.image_evolution import EncoderEmbedding, FoldedEmbedding, ImageEvolution, without_pattern
from pipeline.ode.solve import Solver
from pipeline.ode.solvers import Counts

WIDTHS = (16, 16, 16, 16, 16, 16)
EMBEDDINGS = {
    "folded": lambda: FoldedEmbedding(in_channels=3, channels=8),
    "encoder": lambda: EncoderEmbedding(channels=8, levels=2),
}
every_embedding = pytest.mark.parametrize("kind", EMBEDDINGS)


def made(kind="folded", *, moves=0.3, **settings):
    """moves: how strongly the field sets out; 0 is the untrained one."""
    torch.manual_seed(0)
    network = ImageEvolution(embedding=EMBEDDINGS[kind](), features=WIDTHS, **settings).eval()
    torch.nn.init.normal_(network.flow.unet.final_conv.weight, std=moves)
    return network


@every_embedding
@torch.no_grad()
def test_an_untrained_evolution_is_the_projected_embedding(kind):
    network, image = made(kind, moves=0.0, band=5.0), torch.rand(1, 3, 64, 64)
    k = network.embedding.stride
    regressed = without_pattern(5.0 * F.pixel_shuffle(network.projection(network.embedding(image)), k), k)
    assert torch.equal(network(image), regressed) and regressed.abs().max() > 0


@every_embedding
@pytest.mark.parametrize("size", [(1, 1), (33, 50), (64, 128)])
@torch.no_grad()
def test_the_distance_has_the_size_of_the_image(kind, size):
    distance = made(kind, out_channels=2)(torch.rand(2, 3, *size))
    assert distance.shape == (2, 2, *size) and distance.isfinite().all()


@torch.no_grad()
def test_a_constant_field_moves_every_level_by_its_speed():
    network, image = made(moves=0.0, band=3.0), torch.rand(1, 3, 32, 32)
    before = network(image)
    network.flow.unet.final_conv.bias.fill_(0.5)  # h' = 1/2, whatever h and t
    speed = 3.0 * network.projection.weight.sum(dim=(1, 2, 3)).mean() / 2  # of the k x k values their mean
    moved = (network(image) - before)[..., 2:-2, 2:-2]  # at the border the pattern goes on otherwise
    torch.testing.assert_close(moved, speed.expand_as(moved), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("k", [2, 4])
def test_what_repeats_from_point_to_point_is_taken_out_and_a_plane_is_not_changed(k):
    pattern = torch.rand(1, 1, k, k, dtype=torch.float64).repeat(1, 1, 32 // k, 32 // k)
    y, x = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    plane = (2 * y - 0.5 * x + 3).double()[None, None]
    found = without_pattern(plane + pattern, k)
    inner = (..., slice(k, -k), slice(k, -k))
    torch.testing.assert_close(found[inner], (plane + pattern.mean())[inner], atol=1e-10, rtol=0)
    assert found.shape == plane.shape


@torch.no_grad()
def test_pixels_have_values_of_their_own():
    distance = made()(torch.rand(1, 3, 32, 32))
    assert (distance[..., 1:] - distance[..., :-1]).abs().min() > 0


@torch.no_grad()
def test_evaluations_are_counted_and_the_trajectory_ends_at_the_answer():
    network, image, counts = made(solver=Solver(method="midpoint", steps=3)), torch.rand(1, 3, 40, 32), Counts()
    answer = network(image, counts)
    times, maps = network.trajectory(image)
    assert counts.forward == 6 == cost(network, (3, 40, 32)).evaluations
    assert times == pytest.approx([0, 1 / 3, 2 / 3, 1]) and torch.equal(maps[-1], answer)
    assert not torch.allclose(maps[0], answer)


@pytest.mark.parametrize(("gradient", "relative"), [("checkpoint", 0.0), ("adjoint", 1e-2)])
def test_the_gradients_that_save_memory_are_the_direct_one(gradient, relative):
    image, found = torch.rand(1, 3, 32, 32, dtype=torch.float64), {}
    for kind in ("direct", gradient):
        network = made(moves=0.1, solver=Solver(method="rk4", steps=8, gradient=kind)).double()
        network(image).square().sum().backward()
        found[kind] = torch.cat([weight.grad.flatten() for weight in network.parameters()])
    assert (found[gradient] - found["direct"]).norm() <= relative * found["direct"].norm() + 1e-12


def test_it_learns_where_a_disc_lies():
    network, loss = made(moves=0.0), NarrowBandLoss()
    y, x = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    centres = torch.tensor([[10.0, 12.0], [20.0, 18.0], [14.0, 22.0], [22.0, 9.0]])
    distance = torch.stack([6 - torch.hypot(y - row, x - column) for row, column in centres])[:, None]
    image = (distance > 0).float().expand(-1, 3, -1, -1) + 0.1 * torch.randn(4, 3, 32, 32)
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    losses = []
    for _ in range(40):
        optimizer.zero_grad()
        losses.append(loss(network(image), distance))
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < losses[0] / 5
    assert ((network(image) > 0) == (distance > 0)).float().mean() > 0.97


@every_embedding
@torch.no_grad()
def test_it_leaves_python(kind):
    network, image = made(kind, solver=Solver(method="euler")), torch.rand(1, 3, 64, 64)
    torch.testing.assert_close(
        torch.export.export(network, (image,)).module()(image), network(image), atol=1e-4, rtol=1e-4
    )
    other = torch.rand(1, 3, 128, 64)
    torch.testing.assert_close(torch.jit.trace(network, image)(other), network(other), atol=1e-4, rtol=1e-4)
