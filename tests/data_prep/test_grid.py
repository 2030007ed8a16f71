from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from data_prep.grid import resample, resample_labels, resampled_affine, target_shape
from pipeline.io.volume import Volume

RNG = np.random.default_rng(0)
OBLIQUE = np.array([[0.0, -0.8, 0.3, 5.0], [2.0, 0.0, 0.0, -7.0], [0.0, 0.3, 0.8, 11.0], [0.0, 0.0, 0.0, 1.0]])


def test_resampling_to_the_same_grid_changes_nothing() -> None:
    array = RNG.integers(-125, 275, (6, 6, 3)).astype(np.int16)
    np.testing.assert_array_equal(resample(array, (6, 6, 3), square=True, fill=-125), array)


def test_a_slice_is_padded_to_a_square_with_air_on_both_sides() -> None:
    out = resample(np.ones((2, 6, 1)), (6, 6, 1), square=True, fill=-9)
    np.testing.assert_array_equal(out[:, 0, 0], [-9, -9, 1, 1, -9, -9])


@pytest.mark.parametrize("square", [True, False])
def test_the_affine_follows_a_linear_ramp_through_padding_and_resizing(square: bool) -> None:
    """The world coordinate x, stored as intensity, must be what the new affine says wherever no border was repeated."""
    shape = (12, 20, 4)
    x_mm = np.broadcast_to(3.0 * np.arange(12)[:, None, None] - 10, shape)
    volume = Volume(x_mm, np.array([[3.0, 0, 0, -10], [0, 3, 0, 0], [0, 0, 2, 0], [0, 0, 0, 1]]))
    out_shape = (40, 40, 4) if square else (24, 20, 8)
    out = resample(x_mm, out_shape, square=square, fill=1e6)
    affine = resampled_affine(volume, out_shape, square=square)
    expected = affine[0, 0] * np.arange(out_shape[0]) + affine[0, 3]
    inside = (expected >= x_mm.min()) & (expected <= x_mm.max())
    assert inside.sum() > 10
    np.testing.assert_allclose(out[inside, 7, 1], expected[inside], atol=1e-4)


def test_both_grids_cover_the_same_box() -> None:
    volume = Volume(np.zeros((10, 12, 7)), OBLIQUE)
    affine = resampled_affine(volume, (5, 9, 14), square=False)
    for corner in product((0, 1), repeat=3):
        before = OBLIQUE @ [*(np.array(corner) * (10, 12, 7) - 0.5), 1]
        np.testing.assert_allclose(affine @ [*(np.array(corner) * (5, 9, 14) - 0.5), 1], before, atol=1e-12)


def test_a_spacing_is_met_to_the_nearest_whole_number_of_voxels() -> None:
    volume = Volume(np.zeros((100, 100, 21)), np.diag([0.7, 0.7, 5.0, 1.0]))
    assert target_shape(volume, None, (1.5, 1.5, 2.5)) == (47, 47, 42)  # 70 / 1.5 = 46.7
    assert target_shape(volume, None, (500, 500, 500)) == (1, 1, 1)


def test_the_largest_share_wins() -> None:
    """Halving weighs four neighbours by 1/8, 3/8, 3/8, 1/8, and at a border three of them by 3/7, 3/7, 1/7."""
    labels = np.repeat(np.array([[0, 0, 5, 5, 9, 9, 0, 9]], np.uint8), 8, axis=0)[:, :, None]
    small = resample_labels(labels, (4, 4, 1), square=True)
    # last voxel: 9 has 1/7 + 3/7, background 3/7; nearest neighbour could take either
    np.testing.assert_array_equal(small, np.broadcast_to(np.array([0, 5, 9, 9])[None, :, None], (4, 4, 1)))


def test_the_foreground_does_not_depend_on_how_it_is_divided() -> None:
    parts = RNG.integers(0, 4, (30, 24, 5)).astype(np.uint8)
    union = (parts > 0).astype(np.uint8)
    for shape in ((11, 11, 5), (40, 40, 5)):
        divided = resample_labels(parts, shape, square=True)
        np.testing.assert_array_equal(divided > 0, resample_labels(union, shape, square=True) > 0)
        assert set(np.unique(divided)) == {0, 1, 2, 3}


def test_labels_on_their_own_grid_are_unchanged() -> None:
    labels = RNG.integers(0, 3, (9, 9, 4)).astype(np.uint8)
    np.testing.assert_array_equal(resample_labels(labels, labels.shape, square=True), labels)


def test_a_label_that_fills_the_whole_scan_is_kept() -> None:
    assert (resample_labels(np.full((4, 4, 2), 3, np.uint8), (5, 5, 2), square=True) == 3).all()


def test_an_empty_label_map_stays_empty() -> None:
    assert not resample_labels(np.zeros((4, 6, 2), np.uint8), (5, 5, 2), square=True).any()
