"""Contours moved by equations whose answer is known: constant speed and curvature, on discs and a ball."""

import math

import pytest
import torch

from pipeline.numerics.differences import divergence, gradient
from pipeline.ode.solve import Solver, integrate
from tests.ode.problems import METHODS


def ball(radius, size, dim, spacing=1.0):
    """Signed distance of a ball in the middle of its grid, positive inside: (1, 1, *spatial), float64."""
    axis = (torch.arange(size, dtype=torch.float64) - (size - 1) / 2) * spacing
    return (radius - torch.stack(torch.meshgrid(*[axis] * dim, indexing="ij")).norm(dim=0))[None, None]


def radius_of(phi, spacing=1.0):
    """Mean distance from the middle to the zero crossings along the four half axes of the middle plane."""
    middle = phi[0, 0]
    while middle.ndim > 2:
        middle = middle[middle.shape[0] // 2]
    n = middle.shape[0] // 2
    found = []
    for ray in (middle[n, n:], middle[n, : n + 1].flip(0), middle[n:, n], middle[: n + 1, n].flip(0)):
        k = int((ray > 0).sum()) - 1
        found.append((k + (ray[k] / (ray[k] - ray[k + 1])).item()) * spacing)
    return sum(found) / len(found)


def curvature_motion(spacing):
    """phi_t = |grad phi| div (grad phi / |grad phi|): every level set moves inwards by its curvature."""

    def func(t, phi):
        slopes = gradient(phi, spacing)
        steepness = slopes.square().sum(dim=0).add(1e-6).sqrt()
        return steepness * divergence(slopes / steepness, spacing)

    return func


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("dim", "size"), [(2, 65), (3, 33)])
def test_a_constant_speed_moves_the_radius_by_exactly_that(method, dim, size):
    gamma = torch.cat([ball(10.0, size, dim), torch.randn(1, 7, *[size] * dim, dtype=torch.float64)], dim=1)
    speed = torch.zeros_like(gamma)
    speed[:, 0] = 2.75
    end = integrate(lambda t, y: speed, gamma, Solver(method=method, steps=4))
    torch.testing.assert_close(end[:, :1], ball(12.75, size, dim), rtol=0, atol=1e-12)
    assert torch.equal(end[:, 1:], gamma[:, 1:])
    assert radius_of(end[:, :1]) == pytest.approx(12.75, abs=1e-9)


@pytest.mark.parametrize("time", [1.0, 5.0, 20.0])
def test_a_disc_under_curvature_shrinks_by_one_over_its_radius(time):
    phi = integrate(curvature_motion(None), ball(20.0, 65, 2), Solver(steps=math.ceil(5 * time)), t1=time)
    moved, expected = 20.0 - radius_of(phi), 20.0 - math.sqrt(20.0**2 - 2 * time)
    assert moved == pytest.approx(expected, rel=0.05)


def test_curvature_is_measured_in_the_unit_of_the_spacing():
    phi = ball(10.0, 65, 2, spacing=0.5)  # the disc of radius 20 pixels again, in mm: 4 times as fast
    end = integrate(curvature_motion((0.5, 0.5)), phi, Solver(steps=25), t1=5.0 / 4)
    moved, expected = 10.0 - radius_of(end, spacing=0.5), 10.0 - math.sqrt(10.0**2 - 2 * 5.0 / 4)
    assert moved == pytest.approx(expected, rel=0.05)


def test_a_ball_under_mean_curvature_shrinks_twice_as_fast_as_a_disc():
    end = integrate(curvature_motion(None), ball(12.0, 33, 3), Solver(steps=20), t1=2.0)
    moved, expected = 12.0 - radius_of(end), 12.0 - math.sqrt(12.0**2 - 4 * 2.0)
    assert moved == pytest.approx(expected, rel=0.05)
