"""gradient, divergence, laplacian: the identity that joins them, known fields, spacing, border, refusals."""

import pytest
import torch
from torch.nn import functional as F

from pipeline.numerics.differences import divergence, gradient, laplacian

SHAPES = pytest.mark.parametrize(
    ("shape", "spacing"), [((2, 3, 5, 7), (0.5, 3.0)), ((2, 1, 4, 5, 6), (2.0, 0.7, 1.3)), ((1, 1, 1, 4), (2.0, 3.0))]
)


def noise(*shape):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def plane(slopes, spacing):
    """u(x) = <slopes, x> on a grid of 5 samples a side, x in units of length."""
    axes = torch.meshgrid(*(torch.arange(5, dtype=torch.float64) * h for h in spacing), indexing="ij")
    return sum(slope * axis for slope, axis in zip(slopes, axes, strict=True))[None, None]


@SHAPES
def test_divergence_is_the_negative_adjoint_of_gradient(shape, spacing):
    u, p = noise(*shape), noise(len(spacing), *shape)
    left, right = (gradient(u, spacing) * p).sum(), -(u * divergence(p, spacing)).sum()
    torch.testing.assert_close(left, right, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("slopes", "spacing"), [((2.0, -3.0), (0.5, 4.0)), ((2.0, -3.0, 0.25), (0.5, 4.0, 1.5))])
def test_the_gradient_of_a_plane_is_its_slope_except_in_the_last_row_of_each_axis(slopes, spacing):
    components = gradient(plane(slopes, spacing), spacing)
    for axis, slope in enumerate(slopes):
        inside, last = components[axis].narrow(axis + 2, 0, 4), components[axis].narrow(axis + 2, 4, 1)
        torch.testing.assert_close(inside, torch.full_like(inside, slope))
        assert torch.equal(last, torch.zeros_like(last))


def test_the_laplacian_of_a_parabola_is_constant_inside():
    x = torch.arange(9, dtype=torch.float64) * 0.5
    u = (3 * x[:, None] ** 2 - x[None, :] ** 2)[None, None]
    inside = laplacian(u, (0.5, 0.5))[..., 1:-1, 1:-1]
    torch.testing.assert_close(inside, torch.full_like(inside, 2 * 3 - 2 * 1))


def test_the_laplacian_is_the_five_point_stencil_with_the_edge_repeated():
    u = noise(1, 1, 6, 8)
    stencil = torch.tensor([[0, 1, 0], [1, -4, 1], [0, 1, 0]], dtype=torch.float64)[None, None]
    torch.testing.assert_close(laplacian(u), F.conv2d(F.pad(u, (1, 1, 1, 1), mode="replicate"), stencil))


@SHAPES
def test_the_laplacian_lets_nothing_through_the_border(shape, spacing):
    total = laplacian(noise(*shape), spacing).sum()
    torch.testing.assert_close(total, torch.zeros_like(total), rtol=0, atol=1e-11)


def test_the_norm_of_the_gradient_stays_below_its_bound_and_nears_it_on_a_chessboard():
    spacing = (0.5, 2.0)
    board = (-1.0) ** torch.arange(40)
    u = (board[:, None] * board[None, :])[None, None]
    ratio = gradient(u, spacing).square().sum() / u.square().sum()
    bound = 4 * sum(1 / h**2 for h in spacing)
    assert 0.95 * bound < ratio <= bound


@pytest.mark.parametrize(
    ("shape", "spacing", "message"),
    [
        ((1, 1, 4, 4, 4), (1.0, 1.0), r"spacing has 2 entries, but u of shape \(1, 1, 4, 4, 4\) has 3 spatial axes"),
        ((1, 1, 4, 4), (1.0, 0.0), "must be positive"),
        ((4, 4), None, r"must be \(B, C, H, W\) or"),
    ],
)
def test_a_wrong_spacing_or_shape_is_refused(shape, spacing, message):
    with pytest.raises(ValueError, match=message):
        gradient(torch.zeros(shape), spacing)


def test_a_field_with_the_wrong_number_of_components_is_refused():
    with pytest.raises(ValueError, match="has 3 components, it needs one for each of its 2 axes"):
        divergence(torch.zeros(3, 1, 1, 4, 4))
