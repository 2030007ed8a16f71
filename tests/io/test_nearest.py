"""Every voxel takes the label of the nearest one, wherever the two grids lie."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.io.nearest import nearest, on_one_lattice
from pipeline.io.volume import Volume

LABELS = Volume(np.arange(1, 61, dtype=np.uint8).reshape(3, 4, 5), np.diag([1.0, 2.0, 3.0, 1.0]))


def moved(volume: Volume, step) -> Volume:
    return Volume(volume.array, volume.affine @ step)


def test_on_its_own_grid_a_map_stays_as_it_is() -> None:
    assert np.array_equal(nearest(LABELS, LABELS).array, LABELS.array)


@pytest.mark.parametrize("turn", [(2, 0, 1), (0, 2, 1), (1, 0, 2)])
def test_axes_that_are_turned_and_flipped_are_turned_back(turn: tuple[int, int, int]) -> None:
    array = LABELS.array.transpose(turn)[::-1]
    step = np.zeros((4, 4))
    for new, old in enumerate(turn):
        step[old, new] = -1 if new == 0 else 1
    step[turn[0], 3], step[3, 3] = array.shape[0] - 1, 1
    turned = Volume(array, LABELS.affine @ step)
    assert on_one_lattice(turned, LABELS)
    assert np.array_equal(nearest(turned, like=LABELS).array, LABELS.array)


def test_what_lies_outside_is_background() -> None:
    shift = np.eye(4)
    shift[:3, 3] = 1, 0, -2
    found = nearest(LABELS, like=moved(LABELS, shift)).array
    assert np.array_equal(found[:2, :, 2:], LABELS.array[1:, :, :3])
    assert not found[2].any()
    assert not found[:, :, :2].any()


def test_a_finer_grid_repeats_voxels_and_a_coarser_one_skips_them() -> None:
    half = np.diag([0.5, 1, 1, 1])
    half[0, 3] = -0.25  # the edges of both grids coincide
    fine = Volume(np.zeros((6, 4, 5)), LABELS.affine @ half)
    assert np.array_equal(nearest(LABELS, like=fine).array, LABELS.array.repeat(2, axis=0))
    double = np.diag([1.0, 2, 1, 1])
    coarse = Volume(np.zeros((3, 2, 5)), LABELS.affine @ double)
    assert np.array_equal(nearest(LABELS, like=coarse).array, LABELS.array[:, ::2])
    assert not on_one_lattice(LABELS, fine)
    assert not on_one_lattice(LABELS, coarse)


def test_a_place_between_two_voxels_belongs_to_the_second() -> None:
    shift = np.eye(4)
    shift[1, 3] = 0.5
    assert np.array_equal(nearest(LABELS, like=moved(LABELS, shift)).array[:, :3], LABELS.array[:, 1:])


def test_a_third_of_a_voxel_is_another_lattice() -> None:
    shift = np.eye(4)
    shift[1, 3] = 1 / 3
    assert not on_one_lattice(LABELS, moved(LABELS, shift))
