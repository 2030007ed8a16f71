"""Gaussian kernels and the convolution with them: known taps, a symmetric matrix, its least eigenvalue."""

import math

import pytest
import torch
from torch.nn import functional as F

from pipeline.numerics.kernels import blur, kernel_taps, least_eigenvalue

SHAPES = pytest.mark.parametrize("shape", [(2, 3, 7, 9), (1, 2, 5, 6, 7)])
PADDINGS = pytest.mark.parametrize("padding", ["zero", "symmetric"])


def noise(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def matrix(taps, padding, *sides):
    """K as a dense matrix: its columns are the blurred unit pictures."""
    pixels = math.prod(sides)
    units = torch.eye(pixels, dtype=torch.float64).view(pixels, 1, *sides)
    return blur(units, taps, padding).view(pixels, pixels)


def test_gaussian_taps_fall_as_the_gaussian_and_sum_to_one():
    taps = kernel_taps(5, 2.0)
    assert sum(taps) == pytest.approx(1) and taps == taps[::-1]
    assert taps[3] / taps[2] == pytest.approx(math.exp(-1 / 8)) and taps[4] / taps[2] == pytest.approx(math.exp(-4 / 8))


def test_psd_taps_are_the_autocorrelation_of_a_gaussian():
    half = [math.exp(-((j - 1) ** 2) / 4) for j in range(3)]  # sigma / sqrt(2) with sigma = 2
    by_hand = [sum(half[i] * half[i + j] for i in range(3) if 0 <= i + j < 3) for j in (-2, -1, 0, 1, 2)]
    assert kernel_taps(5, 2.0, "psd") == pytest.approx([tap / sum(by_hand) for tap in by_hand])


@pytest.mark.parametrize(("size", "sigma", "least"), [(7, 5, -0.197), (3, 5, -0.324), (7, 2, -0.047), (7, 0.7, 0.032)])
def test_the_least_eigenvalue_of_a_cut_gaussian_is_as_measured(size, sigma, least):
    assert least_eigenvalue(kernel_taps(size, sigma), 2) == pytest.approx(least, abs=5e-4)


@PADDINGS
@pytest.mark.parametrize("shape", ["gaussian", "psd"])
def test_no_eigenvalue_lies_below_the_least_and_a_large_picture_comes_near_it(shape, padding):
    taps = kernel_taps(7, 5.0, shape)
    least, found = least_eigenvalue(taps, 2), torch.linalg.eigvalsh(matrix(taps, padding, 16, 16)).min().item()
    assert least - 1e-6 <= found < least + 0.05
    assert (least < -0.1) == (shape == "gaussian") and (least > -1e-9) == (shape == "psd")


@SHAPES
@PADDINGS
def test_k_is_symmetric(shape, padding):
    u, v, taps = noise(*shape), noise(*shape, seed=1), kernel_taps(7, 2.0)
    torch.testing.assert_close((blur(u, taps, padding) * v).sum(), (u * blur(v, taps, padding)).sum())


def test_zero_padding_is_torchs_convolution():
    u, taps = noise(2, 1, 4, 9), torch.tensor(kernel_taps(7, 2.0), dtype=torch.float64)
    product = (taps[:, None] * taps)[None, None]
    torch.testing.assert_close(blur(u, taps.tolist()), F.conv2d(u, product, padding=3))


def test_symmetric_padding_is_the_convolution_of_the_mirrored_picture():
    u, taps = noise(1, 1, 4, 9), kernel_taps(7, 2.0)
    rows, columns = [2, 1, 0, 0, 1, 2, 3, 3, 2, 1], [2, 1, 0, *range(9), 8, 7, 6]
    torch.testing.assert_close(blur(u, taps, "symmetric"), blur(u[..., rows, :][..., columns], taps)[..., 3:-3, 3:-3])


def test_a_picture_smaller_than_the_kernel_loses_what_falls_outside():
    taps = kernel_taps(7, 2.0)
    torch.testing.assert_close(
        blur(torch.ones(1, 1, 1, 2), taps), torch.full((1, 1, 1, 2), taps[3] * (taps[3] + taps[4]))
    )


@SHAPES
def test_mirrored_constants_stay_constant(shape):
    torch.testing.assert_close(blur(torch.ones(shape), kernel_taps(7, 5.0), "symmetric"), torch.ones(shape))


@PADDINGS
def test_the_gradient_is_right_twice(padding):
    u = noise(1, 1, 4, 4).requires_grad_()
    assert torch.autograd.gradcheck(lambda u: blur(u, kernel_taps(5, 2.0), padding), u)
    assert torch.autograd.gradgradcheck(lambda u: blur(u, kernel_taps(5, 2.0), padding), u)


@pytest.mark.parametrize(("size", "sigma"), [(4, 1.0), (0, 1.0), (3, 0.0)])
def test_a_kernel_without_a_middle_or_a_width_is_refused(size, sigma):
    with pytest.raises(ValueError, match="must be odd and positive"):
        kernel_taps(size, sigma)


def test_a_picture_that_is_too_small_to_be_mirrored_is_refused():
    with pytest.raises(ValueError, match="too small to be mirrored"):
        blur(torch.ones(1, 1, 2, 9), kernel_taps(7, 1.0), "symmetric")
