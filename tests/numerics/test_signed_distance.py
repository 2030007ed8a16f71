"""signed_distance: convention, sign, unit, and the masks that have no contour."""

import numpy as np
import pytest

from pipeline.numerics.signed_distance import narrow_band_distance, signed_distance


def disc(radius, shape=(64, 64), centre=(31.5, 31.5)):
    y, x = np.indices(shape)
    return np.hypot(y - centre[0], x - centre[1]) <= radius


def test_a_half_plane_has_its_zero_midway_between_the_voxel_centres():
    mask = np.zeros((1, 6), dtype=bool)
    mask[0, :3] = True
    np.testing.assert_array_equal(signed_distance(mask), [[2.5, 1.5, 0.5, -0.5, -1.5, -2.5]])


@pytest.mark.parametrize("seed", range(3))
def test_the_positive_set_is_the_mask(seed):
    mask = np.random.default_rng(seed).random((20, 30)) > 0.5
    assert mask.any() and not mask.all()
    np.testing.assert_array_equal(signed_distance(mask) > 0, mask)
    np.testing.assert_array_equal(signed_distance(mask, (0.7, 3.0)) > 0, mask)


def test_the_complement_has_the_negative_distance():
    mask = disc(11)
    np.testing.assert_array_equal(signed_distance(~mask), -signed_distance(mask))


def test_a_disc_of_radius_r_has_distance_r_minus_rho():
    y, x = np.indices((64, 64))
    rho = np.hypot(y - 31.5, x - 31.5)
    assert np.abs(signed_distance(disc(20)) - (20 - rho)).max() < 1.0  # the digital disc is within a voxel of the disc


def test_the_gradient_has_norm_one_away_from_the_skeleton():
    phi = signed_distance(disc(20))
    slope = np.hypot(*np.gradient(phi))
    ring = np.abs(phi) < 8
    assert np.abs(slope[ring] - 1).mean() < 0.05


def test_it_follows_a_translation():
    a, b = disc(9, centre=(25, 25)), disc(9, centre=(30, 22))
    np.testing.assert_array_equal(signed_distance(a)[5:45, 5:45], signed_distance(b)[10:50, 2:42])


def test_the_unit_is_that_of_the_spacing():
    mask = disc(9)
    np.testing.assert_allclose(signed_distance(mask, (0.5, 0.5)), 0.5 * signed_distance(mask), rtol=1e-6)


def test_half_a_voxel_is_taken_along_the_axis_that_is_crossed():
    mask = np.zeros((4, 4), dtype=bool)
    mask[:, :2] = True  # the contour crosses the axis of spacing 3
    np.testing.assert_array_equal(signed_distance(mask, (1.0, 3.0))[0], [4.5, 1.5, -1.5, -4.5])
    np.testing.assert_array_equal(signed_distance(mask.T, (1.0, 3.0))[:, 0], [1.5, 0.5, -0.5, -1.5])


def test_empty_and_full_masks_are_farther_than_any_voxel():
    empty = np.zeros((5, 7, 3), dtype=bool)
    assert (signed_distance(empty) == -15).all() and (signed_distance(~empty) == 15).all()
    assert (signed_distance(empty, (1, 2, 4)) == -(5 + 14 + 12)).all()


def test_a_mask_of_numbers_and_a_short_spacing_are_refused():
    with pytest.raises(ValueError, match="mask > 0"):
        signed_distance(np.ones((3, 3), dtype=np.uint8))
    with pytest.raises(ValueError, match="2 positive entries"):
        signed_distance(np.ones((3, 3), dtype=bool), (1.0, 0.0))


@pytest.mark.parametrize("spacing", [None, (0.4, 1.7)])
@pytest.mark.parametrize("kind", ["block", "block at the border", "dots", "empty", "full"])
def test_the_narrow_band_is_the_distance_cut_off(kind, spacing):
    mask = np.zeros((40, 50), bool)
    mask[
        {"block": np.s_[18:23, 20:30], "block at the border": np.s_[30:, :9], "full": np.s_[:]}.get(kind, np.s_[:0])
    ] = 1
    if kind == "dots":
        mask[[3, 20, 21], [40, 7, 9]] = True
    expected = signed_distance(mask, spacing).clip(-3.3, 3.3)
    np.testing.assert_allclose(narrow_band_distance(mask, 3.3, spacing), expected, rtol=1e-6)
