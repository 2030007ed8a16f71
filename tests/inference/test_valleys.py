"""Objects by valleys: two discs part as their geometry says, a dip of the map as its depth says; hostile maps."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pipeline.inference.grouping import ModeGrouping
from pipeline.inference.valleys import ValleyGrouping

SHAPE = (64, 96)
RADIUS = 12


def discs(*columns, radius=RADIUS, value=2.0):
    """A map of `value` on discs in one row, 0 beside them."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    return np.where(np.any([(y - 32) ** 2 + (x - c) ** 2 <= radius**2 for c in columns], axis=0), value, 0.0)[None]


@pytest.mark.parametrize("apart", [8, 12, 16, 20, 22])
def test_two_discs_are_two_where_their_neck_is_narrower_by_the_depth(apart):
    drop = RADIUS - math.sqrt(RADIUS**2 - (apart / 2) ** 2)  # from the middle of a disc to the middle of the neck
    pair = discs(40, 40 + apart)
    for depth, expected in ((drop + 0.6, 1), (drop - 0.6, 2)):  # a disc of pixels has an edge within one of its circle
        if depth > 0.3:
            found = ValleyGrouping(depth=depth, smoothing=0.0, certainty=0.0)(pair)
            assert found.max() == expected, depth
    assert ModeGrouping(bandwidth=10.0)(pair).max() == 1  # components see one


def test_the_line_between_two_discs_is_halfway():
    found = ValleyGrouping()(discs(36, 56))
    assert found.max() == 2
    assert (found[0] == 0).all()
    owner = found[32, 36:57]
    assert (owner[:10] == 1).all()
    assert (owner[11:] == 2).all()
    assert ((found > 0) == (discs(36, 56)[0] > 0)).all()


@pytest.mark.parametrize(("dip", "count"), [(0.2, 1), (0.4, 2)])
def test_a_dip_of_the_map_parts_at_whatever_height_it_lies(dip, count):
    grouping = ValleyGrouping(distance=0.0, certainty=1.0, depth=0.3, smoothing=0.0)
    for top in (1.5, 2.0):
        f = np.zeros((1, *SHAPE))
        f[0, 10:50, 10:80] = top
        f[0, 10:50, 45] = top - dip
        assert grouping(f).max() == count


def test_values_above_two_tell_neighbours_apart_and_nothing_else():
    f = discs(30, 31)
    higher = np.where((f > 0) & (np.arange(SHAPE[1]) % 7 == 0), 9.0, f)
    np.testing.assert_array_equal(ValleyGrouping()(higher), ValleyGrouping()(f))


def test_blobs_that_do_not_touch_are_never_one():
    f = discs(20, 20 + 2 * RADIUS + 2)  # one column of background between them
    assert ValleyGrouping(depth=100.0)(f).max() == 2


def test_a_border_is_given_back_and_small_objects_are_left_out():
    f = discs(30, radius=3)
    area, wide = (int((ValleyGrouping(border=border, min_area=1)(f) > 0).sum()) for border in (0, 1))
    assert area == (f > 0).sum()
    assert wide > area
    assert ValleyGrouping(min_area=area)(f).max() == 1
    assert ValleyGrouping(min_area=area + 1)(f).max() == 0


@pytest.mark.parametrize(("value", "count"), [(0.0, 0), (-3.0, 0), (1.5, 1), (7.0, 1)])
def test_a_map_of_one_value(value, count):
    found = ValleyGrouping()(np.full((1, 12, 17), value))
    assert found.max() == count
    assert found.dtype == np.int32
    assert len(np.unique(found)) == 1
