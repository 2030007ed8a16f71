"""Soft threshold dynamics: what its energy promises, where the promise ends, and its fixed points."""

from itertools import pairwise

import pytest
import torch

from pipeline.layers.soft_threshold_dynamics import SoftThresholdDynamics, edge_weight

GRIDS = pytest.mark.parametrize("sides", [(9, 11), (5, 6, 7)])
PADDINGS = pytest.mark.parametrize("padding", ["zero", "symmetric"])


def noise(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def layer(sides=(9, 9), **settings):
    return SoftThresholdDynamics(spatial_dims=len(sides), **settings)


def iterates(settings, logits, iterations, e=None):
    """u after 0, 1, ... iterations, and the layer."""
    sides = logits.shape[2:]
    us = [layer(sides, iterations=t, **settings)(logits, e).softmax(dim=1) for t in range(iterations + 1)]
    return us, layer(sides, **settings)


def divergence(u, v):
    """KL(u || v), summed over pixels and classes."""
    return (u * (u / v).log()).sum()


@GRIDS
@PADDINGS
@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("weighted", [False, True])
def test_a_step_changes_the_energy_by_exactly_what_the_identity_says(sides, padding, classes, weighted):
    logits, eps, lam = noise(1, classes, *sides), 0.3, 1.7
    e = noise(1, 1, *sides, seed=3).sigmoid() if weighted else None
    us, std = iterates({"entropy": eps, "weight": lam, "padding": padding}, logits, 2, e)
    for u, v in pairwise(us):
        # <s d, K(s d)> from the tangent, lambda s K(s (1 - 2u)), which is linear in u.
        d = v - u
        quadratic = -(d * (std.tangent(v, e) - std.tangent(u, e))).sum() / 2
        change = std.energy(v, logits, e) - std.energy(u, logits, e)
        torch.testing.assert_close(change[0], -eps * divergence(u, v) - quadratic, rtol=1e-8, atol=1e-8)


@PADDINGS
@pytest.mark.parametrize(("kernel", "eps", "lam"), [("gaussian", 0.2, 1.0), ("gaussian", 0.8, 4.0), ("psd", 0.02, 1.0)])
def test_no_step_raises_the_energy_where_the_theorem_holds(kernel, eps, lam, padding):
    settings = {"kernel": kernel, "entropy": eps, "weight": lam, "padding": padding}
    period_5 = 0.02 * torch.cos(2 * torch.pi * torch.arange(40, dtype=torch.float64) / 5).expand(40, 40)
    for logits in (torch.stack([period_5, -period_5])[None], noise(1, 3, 12, 12)):
        us, std = iterates(settings, logits, 12)
        assert eps >= std.least_entropy
        energies = torch.stack([std.energy(u, logits) for u in us])
        assert (energies.diff(dim=0) <= 1e-9).all() and energies[-1] < energies[0] - 1e-3


def test_the_published_kernel_raises_the_energy_of_a_pattern_of_period_5_and_the_psd_kernel_does_not():
    pattern = 0.02 * torch.cos(2 * torch.pi * torch.arange(80, dtype=torch.float64) / 5).expand(80, 80)
    logits = torch.stack([pattern, 0 * pattern])[None]
    rises = {}
    for kernel in ("gaussian", "psd"):
        us, std = iterates({"kernel": kernel, "entropy": 0.1, "weight": 1.0}, logits, 10)
        rises[kernel] = torch.stack([std.energy(u, logits) for u in us]).diff(dim=0).max().item()
        assert (std.least_entropy > 0.1) == (kernel == "gaussian")
    assert rises["gaussian"] > 1 and rises["psd"] <= 1e-9


@GRIDS
@pytest.mark.parametrize("classes", [2, 4])
def test_without_weight_it_is_softmax_of_the_scaled_logits(sides, classes):
    logits = noise(2, classes, *sides)
    found = layer(sides, weight=0.0, entropy=0.3)(logits).softmax(dim=1)
    torch.testing.assert_close(found, (logits / 0.3).softmax(dim=1))


@pytest.mark.parametrize("weighted", [False, True])
def test_two_classes_take_the_road_of_all_classes(weighted):
    logits = noise(2, 2, 9, 8)
    e = noise(2, 1, 9, 8, seed=3).sigmoid() if weighted else None
    std = layer(entropy=0.4, weight=0.7, iterations=5)
    u = (logits / 0.4).softmax(dim=1)
    for _ in range(5):
        u = ((logits - std.tangent(u, e)) / 0.4).softmax(dim=1)
    torch.testing.assert_close(std(logits, e).softmax(dim=1), u)


@pytest.mark.parametrize("classes", [2, 3])
def test_the_limit_is_a_critical_point_of_the_energy(classes):
    logits = noise(1, classes, 8, 8)
    std = layer(entropy=0.9, weight=0.6, iterations=200)
    u = std(logits).softmax(dim=1).requires_grad_()
    (slope,) = torch.autograd.grad(std.energy(u, logits).sum(), u)
    # On the simplex a point is critical when every class has the same slope.
    torch.testing.assert_close(slope, slope.mean(dim=1, keepdim=True).expand_as(slope), rtol=0, atol=1e-9)


def test_a_straight_edge_costs_the_published_length():
    sigma, side = 4.0, 64
    u = torch.zeros(1, 2, side, side, dtype=torch.float64)
    u[:, 0, :, : side // 2], u[:, 1, :, side // 2 :] = 1, 1
    std = layer(sigma=sigma, kernel_size=33, padding="symmetric", weight=0.5)
    per_class = side * sigma / (2 * torch.pi) ** 0.5
    assert std.energy(u, torch.zeros_like(u)).item() == pytest.approx(0.5 * 2 * per_class, rel=0.01)


def test_a_speck_disappears_and_a_large_square_stays():
    logits = torch.full((1, 2, 24, 24), 0.0, dtype=torch.float64)
    logits[:, 1] = -0.3
    logits[:, 1, 4, 4] = logits[:, 1, 10:20, 10:20] = 0.3
    found = layer(entropy=0.5, weight=1.0, sigma=2.0)(logits).argmax(dim=1)[0]
    assert found[4, 4] == 0 and found[12:18, 12:18].all() and not found[:8].any()


@pytest.mark.parametrize("classes", [2, 3])
def test_it_commutes_with_turns_flips_and_permuted_classes(classes):
    logits, std = noise(1, classes, 7, 7), layer(entropy=0.3)
    u = std(logits).softmax(dim=1)
    for move in (lambda x: x.rot90(1, (2, 3)), lambda x: x.flip(2), lambda x: x.flip(1)):
        torch.testing.assert_close(std(move(logits)).softmax(dim=1), move(u))


def test_a_constant_edge_weight_multiplies_the_length():
    u, e = noise(1, 3, 6, 6).softmax(dim=1), torch.full((1, 1, 6, 6), 0.25, dtype=torch.float64)
    light, half = layer(weight=0.5), layer(weight=2.0)
    torch.testing.assert_close(half.energy(u, u, e), light.energy(u, u))
    torch.testing.assert_close(half.tangent(u, e), light.tangent(u))


def test_an_edge_lets_the_boundary_pass_cheaply():
    image = torch.zeros(1, 1, 6, 6, dtype=torch.float64)
    image[..., 3:] = 40
    e = edge_weight(image)
    assert e.shape == (1, 1, 6, 6) and (e[..., 2] == pytest.approx(1 / 11)) and (e[..., [0, 1, 3, 4, 5]] == 1).all()
    assert (edge_weight(torch.full((1, 3, 4, 4, 4), 7.0)) == 1).all()
    u = (image > 0).double() * torch.tensor([1.0, 0.0]).view(1, 2, 1, 1)
    u[:, 1] = 1 - u[:, 0]
    std = layer(kernel_size=3)
    assert std.energy(u, 0 * u, e) < 0.5 * std.energy(u, 0 * u)


@pytest.mark.parametrize("classes", [2, 3])
def test_the_gradient_is_right(classes):
    logits, e = noise(1, classes, 6, 6).requires_grad_(), noise(1, 1, 6, 6, seed=1).sigmoid().requires_grad_()
    assert torch.autograd.gradcheck(layer(iterations=3, entropy=0.5), (logits, e))


def test_under_autocast_it_computes_in_float32():
    logits = noise(1, 3, 9, 9).float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = layer(entropy=0.1)(logits)
    assert found.dtype == torch.float32 and torch.equal(found, layer(entropy=0.1)(logits))
    assert layer()(logits.bfloat16()).dtype == torch.float32


def test_it_adds_nothing_to_a_networks_weights():
    assert not layer().state_dict()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"spatial_dims": 4}, "spatial_dims is 4"),
        ({"kernel": "box"}, "kernel is 'box', it must be one of gaussian, psd"),
        ({"padding": "reflect"}, "padding is 'reflect'"),
        ({"weight": -1.0}, "must not be negative"),
        ({"entropy": 0.0}, "must be positive"),
        ({"iterations": -1}, "0 or more"),
        ({"kernel_size": 4}, "must be odd"),
    ],
)
def test_a_setting_outside_its_rule_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        SoftThresholdDynamics(**{"spatial_dims": 2, **settings})


@pytest.mark.parametrize(
    ("logits", "message"),
    [
        (torch.zeros(1, 2, 4, 4, 4), "are not"),
        (torch.zeros(1, 1, 4, 4), "one channel"),
        (torch.full((1, 2, 4, 4), torch.inf), "inf or nan"),
    ],
)
def test_logits_that_have_no_segmentation_are_refused(logits, message):
    with pytest.raises(ValueError, match=message):
        layer()(logits)
