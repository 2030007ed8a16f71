"""The areas of the marching cubes surface, by cases whose area one can see."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from pipeline.metrics.surfel import contour_lengths, surfel_areas

Z, Y, X = SPACING = (5.0, 0.75, 0.5)


def code(*inside: tuple[int, int, int]) -> int:
    """The code of the voxels (z, y, x) of a cube that are inside."""
    return sum(128 >> (4 * z + 2 * y + x) for z, y, x in inside)


def test_a_flat_surface_has_the_area_of_the_voxel_face_it_runs_along() -> None:
    areas = surfel_areas(SPACING)
    square = list(itertools.product((0, 1), repeat=2))
    assert areas[code(*((0, y, x) for y, x in square))] == pytest.approx(Y * X)
    assert areas[code(*((z, 1, x) for z, x in square))] == pytest.approx(Z * X)
    assert areas[code(*((z, y, 0) for z, y in square))] == pytest.approx(Z * Y)


def test_one_voxel_cuts_the_corner_off_its_cube() -> None:
    # The triangle between the middles of three edges: half the cross product of two of its sides.
    expected = np.linalg.norm(np.cross((-Z / 2, Y / 2, 0), (-Z / 2, 0, X / 2))) / 2
    for corner in itertools.product((0, 1), repeat=3):
        assert surfel_areas(SPACING)[code(corner)] == pytest.approx(expected)


def test_an_edge_is_a_slope_along_it() -> None:
    # Two voxels side by side along x: a rectangle as long as X, across half of Z and half of Y.
    assert surfel_areas(SPACING)[code((0, 0, 0), (0, 0, 1))] == pytest.approx(X * math.hypot(Z / 2, Y / 2))
    assert surfel_areas(SPACING)[code((0, 0, 0), (1, 0, 0))] == pytest.approx(Z * math.hypot(X / 2, Y / 2))


def test_inside_and_outside_have_one_surface_and_nothing_and_all_have_none() -> None:
    areas = surfel_areas(SPACING)
    assert (areas == areas[::-1]).all()
    assert areas[0] == areas[255] == 0
    assert (areas[1:255] > 0).all()


def test_a_contour_runs_along_a_pixel_or_cuts_its_corner() -> None:
    lengths = contour_lengths((Y, X))
    assert lengths[0b0011 * 17] == lengths[0b1100 * 17] == X  # the two pixels of one row
    assert lengths[0b0101 * 17] == lengths[0b1010 * 17] == Y
    assert lengths[0b0111 * 17] == lengths[0b0100 * 17] == pytest.approx(math.hypot(Y, X) / 2)
    assert lengths[0b0110 * 17] == lengths[0b1001 * 17] == pytest.approx(math.hypot(Y, X))
    assert lengths[0] == lengths[255] == 0


def test_the_areas_are_those_of_surface_distance() -> None:
    tables = pytest.importorskip("surface_distance.lookup_tables")
    assert surfel_areas(SPACING) == pytest.approx(
        tables.create_table_neighbour_code_to_surface_area(SPACING), abs=1e-14
    )
    expected = tables.create_table_neighbour_code_to_contour_length(SPACING[1:])
    assert contour_lengths(SPACING[1:])[::17] == pytest.approx(expected, abs=1e-14)
