"""From maps to objects: known scenes come back, blurred edges are no objects, places tell equal values apart."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter, label

from pipeline.inference.grouping import Groupd, ModeGrouping, components, filled, group
from pipeline.losses.dvis import inner
from pipeline.metrics.instances import aggregated_jaccard, detections, object_pairs


def scene(size=96, radius=10, seed=0):
    """Discs in pairs that touch: their numbers, and a map with values that differ within a pair."""
    y, x = np.ogrid[:size, :size]
    objects, values = np.zeros((size, size), int), np.full((size, size), -0.4)
    for row, (low, high) in enumerate(((2, 3), (3, 5), (2, 4))):
        for side, value in enumerate((low, high)):
            disc = (y - 16 - 30 * row) ** 2 + (x - 30 - 20 * side) ** 2 <= radius**2
            disc &= objects == 0
            objects[disc], values[disc] = objects.max() + 1, value
    return objects, values + np.random.default_rng(seed).normal(0, 0.12, values.shape)


@pytest.mark.parametrize("bandwidth", [0.9, 0.4])
def test_objects_that_touch_and_objects_of_one_value_come_apart(bandwidth):
    objects, f = scene()
    np.testing.assert_array_equal(group(f.astype(np.float32), bandwidth=bandwidth), objects)


def test_a_blurred_edge_makes_no_objects_of_the_values_that_it_passes_through():
    objects, _ = scene()
    clean = np.array([-1.0, 2, 3, 3, 5, 2, 4])[objects]
    found = group(gaussian_filter(clean, 1.0).astype(np.float32))
    pairs = object_pairs(found, objects)
    assert pairs.count_error == 0 and detections(pairs, iou=0.7).average_precision == 1
    assert aggregated_jaccard(pairs) > 0.8  # the higher of two reaches into the lower by half of the blur


@pytest.mark.parametrize("border", [1, 2])
def test_the_border_that_training_took_off_is_given_back(border):
    """Rectangles that touch, one of them only as wide as its two borders and one pixel."""
    objects = np.zeros((24, 30), np.int32)
    objects[2:12, 3:13], objects[2:12, 13:18], objects[14:22, 5:20] = 1, 2, 3
    trained = inner(torch.from_numpy(objects)[None, None], border)[0, 0].numpy()
    f = np.where(trained > 0, 2.0, -0.5).astype(np.float32)
    np.testing.assert_array_equal(group(f, min_area=4, border=border), objects)


def test_a_blob_that_is_thin_all_over_is_one_object():
    f = np.full((12, 20), -0.5, np.float32)
    f[3:5, 2:15] = 2.0
    f[8:11, 4:9] = 2.0
    np.testing.assert_array_equal(np.bincount(group(f, min_area=4).ravel())[1:], [2 * 13, 3 * 5])


def test_a_valley_that_does_not_reach_the_background_parts_two_objects_below_a_high_inside():
    """Two squares of one value, and between them two columns at 1.6: the slopes of a border that was taken off."""
    objects = np.zeros((20, 30), np.int32)
    objects[4:14, 3:13], objects[4:14, 13:23] = 1, 2
    f = np.where(objects > 0, 2.0, -0.5).astype(np.float32)
    f[4:14, 12:14] = 1.6
    np.testing.assert_array_equal(group(f), objects > 0)
    parted = np.where(f == 2, objects, 0)
    np.testing.assert_array_equal(group(f, inside=1.75), parted)
    found = group(f, inside=1.75, border=1)
    np.testing.assert_array_equal(found[4:14, 3:23], objects[4:14, 3:23])  # each square has its own column again
    np.testing.assert_array_equal(group(f, inside=1.5), objects > 0)


def test_what_lies_all_below_inside_is_no_object():
    f = np.full((20, 30), -0.5, np.float32)
    f[2:8, 2:8], f[12:18, 12:18] = 1.4, 2.0
    assert group(f).max() == 2
    np.testing.assert_array_equal(group(f, inside=1.75), f == 2)


def test_small_objects_go_and_a_map_without_any_gives_none():
    f = np.zeros((20, 20), np.float32)
    f[2:6, 2:6], f[10:16, 10:16] = 2, 2
    assert group(f, min_area=17).max() == 1 and group(f, min_area=16).max() == 2
    assert not group(np.zeros((5, 7), np.float32)).any()
    assert (group(np.full((5, 7), 2.5, np.float32)) == 1).all()  # one object up to every border


def test_a_hole_goes_to_the_one_object_around_it_and_to_none_if_there_are_two_or_the_border() -> None:
    objects = np.zeros((9, 20), np.int32)
    objects[1:8, 1:8], objects[4, 4] = 1, 0  # a ring
    objects[1:8, 9:13], objects[1:8, 13:18], objects[3:6, 11:15] = 2, 3, 0  # a hole between two
    objects[0:4, 18:20] = 4
    objects[0, 19] = 0  # a hole that is open to the border
    expected = objects.copy()
    expected[4, 4] = 1
    np.testing.assert_array_equal(filled(objects), expected)
    f = np.where(objects == 1, 2.0, 0)
    assert ModeGrouping(fill_holes=True)(f[None])[4, 4] == 1 and ModeGrouping()(f[None])[4, 4] == 0


def test_an_object_does_not_depend_on_what_lies_elsewhere():
    objects, f = scene()
    alone = group(f[:31].astype(np.float32))
    np.testing.assert_array_equal(alone, objects[:31])


@pytest.mark.parametrize("shape", [(40, 50), (1, 30), (30, 1), (1, 1)])
def test_components_of_equal_keys_are_those_of_each_key_in_the_order_of_their_first_pixels(shape):
    keys = np.random.default_rng(3).integers(0, 4, shape)
    found = components(keys)
    expected = np.zeros(shape, int)
    for key in (1, 2, 3):
        parts, _ = label(keys == key)
        expected += np.where(parts > 0, parts + 1000 * key, 0)
    rank = {value: i for i, value in enumerate(dict.fromkeys(expected[expected > 0].tolist()), start=1)}
    np.testing.assert_array_equal(found, [[rank.get(value, 0) for value in row] for row in expected.tolist()])


def test_the_transform_groups_what_an_engine_hands_over():
    objects, f = scene()
    sample = Groupd("pred", grouping=ModeGrouping())({"pred": torch.from_numpy(f.astype(np.float32))[None], "id": "a"})
    assert sample["pred"].shape == (1, 96, 96) and sample["id"] == "a"
    np.testing.assert_array_equal(sample["pred"][0].numpy(), objects)
