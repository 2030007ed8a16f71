"""Soft threshold dynamics with volumes: they hold, energy falls among equal ones, and the published solver's limit."""

from itertools import pairwise

import pytest
import torch

from pipeline.layers.soft_threshold_dynamics import SoftThresholdDynamics
from pipeline.layers.volume_preserving import VolumePreserving

SIDES = pytest.mark.parametrize("sides", [(16, 16), (8, 8, 4)])  # 256 pixels each


def noise(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def layer(dims=2, solver="newton", **settings):
    return VolumePreserving(SoftThresholdDynamics(spatial_dims=dims, **settings), solver=solver)


@SIDES
@pytest.mark.parametrize("entropy", [1.0, 0.1, 0.02])
@pytest.mark.parametrize("iterations", [0, 3])
def test_volumes_hold_for_every_entropy_and_number_of_iterations(sides, entropy, iterations):
    logits, volumes = noise(2, 3, *sides), torch.tensor([[156.0, 20.0, 80.0], [60.0, 190.0, 6.0]])
    vp = layer(len(sides), entropy=entropy, iterations=iterations)
    u = vp(logits, volumes).softmax(dim=1)
    assert (vp.volume_error(u, volumes) <= 1e-6).all()
    assert u.sum(dim=1).allclose(torch.ones_like(u[:, 0]))


@SIDES
def test_an_interval_that_the_plain_result_meets_changes_nothing(sides):
    logits = noise(1, 2, *sides)
    vp = layer(len(sides), entropy=0.5)
    plain = vp.dynamics(logits).softmax(dim=1)
    found = vp(logits, torch.tensor([0.0, 0.0]), torch.tensor([256.0, 256.0])).softmax(dim=1)
    torch.testing.assert_close(found, plain)


def test_an_interval_pulls_to_its_nearer_end():
    logits = noise(1, 2, 16, 16) + torch.tensor([0.0, 1.0]).view(1, 2, 1, 1)
    vp = layer(entropy=0.5)
    assert vp.dynamics(logits).softmax(dim=1)[:, 1].sum() > 130
    u = vp(logits, torch.tensor([0.0, 50.0]), torch.tensor([256.0, 60.0])).softmax(dim=1)
    assert u[:, 1].sum().item() == pytest.approx(60, abs=1e-3)


def test_energy_falls_from_step_to_step_among_segmentations_of_one_volume():
    logits, volumes, energies = noise(1, 3, 12, 12), torch.tensor([100.0, 30.0, 14.0]), []
    for iterations in range(8):
        vp = layer(entropy=0.2, weight=0.9, kernel="psd", iterations=iterations)
        energies.append(vp.dynamics.energy(vp(logits, volumes).softmax(dim=1), logits).item())
    assert all(after <= before + 1e-6 for before, after in pairwise(energies))
    assert energies[-1] < energies[0] - 1e-2


def test_the_limit_is_critical_among_segmentations_of_its_volumes():
    logits, volumes = noise(1, 3, 8, 8), torch.tensor([40.0, 16.0, 8.0])
    vp = layer(entropy=0.9, weight=0.6, iterations=100)
    u = vp(logits, volumes).softmax(dim=1).requires_grad_()
    (slope,) = torch.autograd.grad(vp.dynamics.energy(u, logits).sum(), u)
    # The slope is one number a pixel, from the simplex, plus one a class, from its volume.
    rest = slope - slope.mean(dim=1, keepdim=True)
    torch.testing.assert_close(rest, rest.mean(dim=(2, 3), keepdim=True).expand_as(rest), rtol=0, atol=1e-5)


def test_one_sinkhorn_step_an_iteration_is_near_for_a_large_entropy_and_far_for_a_small_one():
    logits, volumes = noise(1, 2, 16, 16), torch.tensor([246.0, 10.0])
    errors = {}
    for entropy in (1.0, 0.1):
        vp = layer(solver="sinkhorn", entropy=entropy, weight=0.1)
        errors[entropy] = vp.volume_error(vp(logits, volumes).softmax(dim=1), volumes).item()
    assert errors[1.0] < 1e-3 < 1e-2 < errors[0.1]


@pytest.mark.parametrize("solver", ["newton", "sinkhorn"])
def test_the_gradient_is_right(solver):
    logits, volumes = noise(1, 3, 4, 4).requires_grad_(), torch.tensor([8.0, 5.0, 3.0])
    vp = layer(solver=solver, iterations=2, entropy=0.6)
    assert torch.autograd.gradcheck(lambda o: vp(o, volumes).softmax(dim=1), logits, atol=1e-4)


def test_under_autocast_it_computes_in_float32():
    logits, volumes = noise(1, 3, 8, 8).bfloat16().float().requires_grad_(), torch.tensor([40.0, 16.0, 8.0])
    vp, slopes = layer(entropy=0.5), []
    for enabled in (True, False):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            found = vp(logits, volumes)
        assert found.dtype == torch.float32
        slopes += torch.autograd.grad(found.square().sum(), logits)
    torch.testing.assert_close(*slopes)
    assert vp.volume_error(vp(logits.bfloat16(), volumes).softmax(dim=1), volumes).item() < 1e-6


def test_an_unknown_solver_is_refused():
    with pytest.raises(ValueError, match="solver is 'lbfgs', it must be one of newton, sinkhorn"):
        layer(solver="lbfgs")
