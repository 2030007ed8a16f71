"""Contour evolution: the given contour until something is learned, then a contour that moves to the object."""

import pytest
import torch

from pipeline.losses.narrow_band import NarrowBandLoss
from pipeline.networks.contour_evolution import ContourEvolution, EvolvedRegression
from pipeline.networks.cost import cost
from pipeline.networks.distance_unet import DistanceUNet
from pipeline.ode.solve import Solver

SMALL = (8, 8, 8, 8, 16, 8)


def evolution(spatial_dims=2, **changes):
    torch.manual_seed(0)
    words = {"embedding_features": SMALL, "features": SMALL, "hidden": 2} | changes
    return ContourEvolution(spatial_dims=spatial_dims, **words)


def disc(centre, radius, size=64):
    """Signed distance of a disc, (1, 1, size, size)."""
    at = torch.arange(size, dtype=torch.float32)
    return (radius - torch.hypot(at[:, None] - centre[0], at[None, :] - centre[1]))[None, None]


@pytest.mark.parametrize("method", ["euler", "midpoint", "rk4", "ab2", "abm2", "dopri5"])
@pytest.mark.parametrize("band", [4.0, 3.7])
def test_before_training_the_contour_comes_back_bit_for_bit(method, band):
    net = evolution(band=band, solver=Solver(method=method))
    initial = disc((30, 20), 12)
    evolved = net(torch.randn(1, 1, 64, 64), initial)
    assert torch.equal(evolved, net.cut(initial))
    assert torch.equal(evolved > 0, initial > 0)


def test_it_is_the_identity_in_three_dimensions_too():
    net, initial = evolution(3), torch.randn(1, 1, 64, 72, 64) * 9
    assert torch.equal(net(torch.randn(1, 1, 64, 72, 64), initial), initial.clamp(-8, 8))


def test_only_the_two_layers_that_start_at_zero_get_a_gradient_at_first_and_the_others_after_a_step():
    net, initial = evolution(), disc((30, 20), 12)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    with_gradient = []
    for _ in range(2):
        optimizer.zero_grad()
        NarrowBandLoss()(net(torch.randn(1, 1, 64, 64), initial), disc((34, 22), 14)).backward()
        with_gradient.append({name for name, p in net.named_parameters() if p.grad is not None and p.grad.any()})
        optimizer.step()
    zero = {f"{layer}.{kind}" for layer in ("flow.unet.final_conv", "postnet") for kind in ("weight", "bias")}
    assert with_gradient[0] == zero
    assert any(name.startswith("embedding") for name in with_gradient[1])


def test_it_learns_to_move_a_wrong_disc_onto_the_one_in_the_image():
    """Discs of random places, each with a contour beside it; then one that was never shown."""
    net = evolution(embedding_features=(8, 8, 16, 16, 16, 8))
    random = torch.Generator().manual_seed(1)
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)

    def example():
        centre = torch.randint(22, 42, (2,), generator=random)
        shift = torch.randint(-5, 6, (2,), generator=random)
        true = disc(centre, 12)
        return (true > 0).float(), disc(centre + shift, 9), true

    for _ in range(40):
        images, initials, trues = (torch.cat(each) for each in zip(*[example() for _ in range(4)], strict=True))
        loss = NarrowBandLoss()(net(images, initials), trues)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    def iou(distance, true):
        return float(((distance > 0) & (true > 0)).sum() / ((distance > 0) | (true > 0)).sum())

    true, initial = disc((30, 33), 12), disc((34, 30), 9)
    with torch.no_grad():
        evolved = net((true > 0).float(), initial)
    assert iou(initial, true) < 0.55 and iou(evolved, true) > 0.8


@torch.no_grad()
def test_the_trajectory_begins_at_the_contour_and_ends_at_the_result():
    net, initial, image = evolution(), disc((30, 20), 12), torch.randn(1, 1, 64, 64)
    for last in (net.flow.unet.final_conv, net.postnet):
        torch.nn.init.normal_(last.weight, std=0.1)
    times, changes = net.trajectory(image, initial)
    assert times == [0, 0.5, 1] and not changes[0].any() and changes[1].any()
    assert torch.equal(changes[-1], net.change(image, initial))


@pytest.mark.parametrize("shape", [(66, 64), (64, 60), (60, 60)])
def test_sizes_that_cannot_be_folded_are_too_small_or_differ_are_refused(shape):
    with pytest.raises(ValueError, match="multiples of 4"):
        evolution()(
            torch.zeros(1, 1, *shape) if shape[0] != 64 else torch.zeros(1, 1, 64, 64), torch.zeros(1, 1, *shape)
        )


def test_an_evaluation_of_f_takes_an_eighth_of_the_embeddings_multiply_adds():
    net = ContourEvolution()
    state = net.flow.unet.conv_0.conv_0.conv.in_channels
    f, embedding = cost(net.flow.unet, (state, 50, 50)), cost(net.embedding, (4, 100, 100))
    assert f.multiply_adds < embedding.multiply_adds / 8


def small_method():
    regressor = DistanceUNet(features=SMALL)
    return EvolvedRegression(regressor=regressor, evolution=evolution())


def test_the_whole_method_starts_from_the_regressor_and_then_is_the_regressor():
    method, weights = small_method(), DistanceUNet(features=SMALL).state_dict()
    method.start_from(weights)
    image = torch.randn(2, 1, 64, 64)
    assert torch.equal(method(image), method.evolution.cut(method.regressor(image)))
    assert torch.equal(
        method.evolution.embedding.down_2.convs.conv_0.conv.weight, weights["unet.down_2.convs.conv_0.conv.weight"]
    )


def test_a_given_contour_takes_the_regressors_place_and_the_regressor_is_not_trained():
    method, initial = small_method(), disc((30, 20), 12)
    assert torch.equal(method(torch.randn(1, 1, 64, 64), initial), method.evolution.cut(initial))
    assert not any(p.requires_grad for p in method.regressor.parameters())
    assert all(p.requires_grad for p in method.evolution.parameters())
