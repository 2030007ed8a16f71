"""Outlines run along the edges of pixels: filled by somebody else's rule they are the mask again, holes and all."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.path import Path as Polygon

from pipeline.io.contours import outlines


def filled(polygons, shape) -> np.ndarray:
    """How many of the polygons hold each pixel's centre, by matplotlib; (rows, columns)."""
    rows, columns = np.indices(shape)
    centres = np.stack([columns.ravel(), rows.ravel()], axis=1)
    inside = [Polygon(np.vstack([each, each[:1]])).contains_points(centres) for each in polygons]
    return np.sum(inside, axis=0).reshape(shape) if inside else np.zeros(shape, int)


def area(polygon) -> float:
    x, y = np.asarray(polygon).T
    return float(x @ np.roll(y, -1) - np.roll(x, -1) @ y) / 2


def drawn(*lines: str) -> np.ndarray:
    return np.array([[character == "#" for character in line] for line in lines])


def test_one_pixel_is_a_square_around_its_centre():
    mask = np.zeros((4, 5), bool)
    mask[2, 3] = True
    (square,) = outlines(mask)
    assert sorted(map(tuple, square)) == [(2.5, 1.5), (2.5, 2.5), (3.5, 1.5), (3.5, 2.5)]
    assert area(square) == 1


def test_no_pixel_has_no_outline_and_all_pixels_have_one():
    assert outlines(np.zeros((3, 4), bool)) == []
    (whole,) = outlines(np.ones((3, 4), bool))
    assert whole.min(axis=0).tolist() == [-0.5, -0.5] and whole.max(axis=0).tolist() == [3.5, 2.5]


def test_pixels_that_touch_at_a_corner_are_apart():
    assert [area(each) for each in outlines(drawn("#.", ".#"))] == [1, 1]
    assert [area(each) for each in outlines(drawn(".#", "#."))] == [1, 1]


@pytest.mark.parametrize(
    "mask",
    [
        drawn("###", "#.#", "###"),
        drawn("####", "#.##", "##.#", "####"),  # one hole whose pixels touch at a corner
        drawn("#####", "#.#.#", "#####"),  # the keyhole of the second ends on the first
        drawn("#######", "#.....#", "#.###.#", "#.#.#.#", "#.###.#", "#.....#", "#######"),  # an island with a hole
        drawn(".###.", "##.##", ".###."),
    ],
)
def test_a_hole_is_cut_out_through_a_keyhole(mask):
    polygons = outlines(mask)
    assert np.array_equal(filled(polygons, mask.shape), mask)
    # Against their outline, so that rules which count turns see the hole too.
    assert sum(area(each) for each in polygons) == mask.sum()
    assert min(area(each) for each in polygons) > 0


def test_any_mask_comes_back_and_no_pixel_lies_in_two_polygons():
    random = np.random.default_rng(0)
    for _ in range(60):
        mask = random.random(random.integers(1, 13, 2)) < random.random()
        polygons = outlines(mask)
        assert np.array_equal(filled(polygons, mask.shape), mask)
        assert sum(area(each) for each in polygons) == mask.sum()


def test_straight_runs_have_no_points_in_between():
    mask = np.zeros((30, 40), bool)
    mask[5:25, 10:30] = True
    assert [len(each) for each in outlines(mask)] == [4]
