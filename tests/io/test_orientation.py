"""The patient's axes are found in any storage order, and turning the array moves no voxel in the patient."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest

from pipeline.io.orientation import canonical, canonical_order
from pipeline.io.volume import Volume

OBLIQUE = np.array([[0.0, -0.8, 0.3, 5.0], [2.0, 0.0, 0.0, -7.0], [0.0, 0.3, 0.8, 11.0], [0.0, 0.0, 0.0, 1.0]])


def world(volume: Volume, index: tuple[int, ...]) -> np.ndarray:
    return volume.affine @ [*index, 1]


@pytest.mark.parametrize(("order", "signs"), list(product(permutations(range(3)), product((1, -1), repeat=3))))
def test_canonical_axes_leave_every_voxel_where_it_was(order: tuple[int, ...], signs: tuple[int, ...]) -> None:
    affine = np.eye(4)
    affine[:3, :3] = (np.diag([2.0, 3.0, 5.0]) * signs)[:, order]
    stored = Volume(np.random.default_rng(0).permutation(24).reshape(2, 3, 4), affine)
    moved = canonical(stored)
    assert (np.diag(moved.affine) > 0).all()
    assert canonical_order(moved) == ((0, 1, 2), (False, False, False))
    for index in np.ndindex(stored.array.shape):
        (found,) = np.argwhere(moved.array == stored.array[index])
        np.testing.assert_allclose(world(moved, tuple(found)), world(stored, index))


def test_canonical_keeps_channels_last() -> None:
    stored = Volume(np.zeros((2, 3, 4, 5)), OBLIQUE)
    assert canonical(stored).array.shape == (3, 2, 4, 5)


def test_the_axes_of_an_oblique_scan_are_the_nearest_ones() -> None:
    assert canonical_order(Volume(np.zeros((2, 3, 4)), OBLIQUE)) == ((1, 0, 2), (True, False, False))


def test_thick_slices_do_not_pass_for_the_patients_length() -> None:
    """Sagittal slices of 5 mm, turned by 12 degrees about A: a slice rises by 1.04 mm, a row of 0.9 mm by 0.88."""
    turn = np.deg2rad(12)
    affine = np.eye(4)
    affine[:3, 0] = 5 * np.array([np.cos(turn), 0, np.sin(turn)])
    affine[:3, 1] = 0.9 * np.array([0, 1, 0])
    affine[:3, 2] = 0.9 * np.array([-np.sin(turn), 0, np.cos(turn)])
    assert abs(affine[2, 0]) > abs(affine[2, 2])
    assert canonical_order(Volume(np.zeros((2, 3, 4)), affine)) == ((0, 1, 2), (False, False, False))
