"""Volume: what fits together, millimetres, and when two grids are one."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.io.volume import Volume

# x runs along the second axis in steps of 2 mm, y against the first in steps of 3 mm, z along the third in steps of 5
AFFINE = np.array([[0.0, 2, 0, 7], [-3, 0, 0, 8], [0, 0, 5, 9], [0, 0, 0, 1]])


def shifted(affine: np.ndarray, *, entry: tuple[int, int], by: float) -> np.ndarray:
    moved = affine.copy()
    moved[entry] += by
    return moved


def test_spacing_is_given_per_array_axis() -> None:
    assert Volume(np.zeros((4, 5, 6)), AFFINE).spacing_mm == (3.0, 2.0, 5.0)


def test_a_trailing_axis_beyond_the_affines_is_the_channel() -> None:
    colour = Volume(np.zeros((4, 5, 3)), np.eye(3))
    assert (colour.spatial_dims, colour.spatial_shape) == (2, (4, 5))


@pytest.mark.parametrize(("shape", "affine"), [((4, 5), AFFINE), ((4, 5, 6, 3, 2), AFFINE), ((4, 5), np.eye(2))])
def test_an_array_and_an_affine_that_do_not_fit_are_refused(shape: tuple[int, ...], affine: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"affine"):
        Volume(np.zeros(shape), affine)


def test_grids_are_one_where_their_farthest_voxels_are() -> None:
    """A step that is 0.01 mm longer moves the last of 6 slices by 0.05 mm."""
    volume = Volume(np.zeros((4, 5, 6)), AFFINE)
    stretched = Volume(np.zeros((4, 5, 6)), shifted(AFFINE, entry=(2, 2), by=0.01))
    assert not volume.same_grid(stretched) and not volume.same_grid(stretched, tolerance_mm=0.049)
    assert volume.same_grid(stretched, tolerance_mm=0.051)


def test_another_place_or_another_shape_is_another_grid_and_channels_do_not_matter() -> None:
    volume = Volume(np.zeros((4, 5, 6)), AFFINE)
    assert not volume.same_grid(Volume(np.zeros((4, 5, 6)), shifted(AFFINE, entry=(0, 3), by=-1)))
    assert not volume.same_grid(Volume(np.zeros((4, 5, 7)), AFFINE))
    assert volume.same_grid(Volume(np.zeros((4, 5, 6, 2)), AFFINE))
