"""The rival of three classes: its border is where it should be, and perfect logits give the objects back."""

from __future__ import annotations

import numpy as np
import torch

from pipeline.inference.three_classes import BACKGROUND, BORDER, INTERIOR, ThreeClassesd, ThreeClassGrouping, classes
from pipeline.metrics.instances import detections, object_pairs


def scene():
    """Two discs that touch, a bar two pixels wide and a square that touches the image's border."""
    y, x = np.ogrid[:48, :64]
    objects = np.zeros((48, 64), np.int32)
    objects[(y - 20) ** 2 + (x - 20) ** 2 <= 100] = 1
    objects[((y - 20) ** 2 + (x - 41) ** 2 <= 120) & (objects == 0)] = 2
    objects[40:42, 5:25] = 3
    objects[38:, 54:] = 4
    return objects


def logits(numbers, sure=4.0):
    one_hot = np.stack([classes(numbers) == k for k in (BACKGROUND, INTERIOR, BORDER)])
    return sure * one_hot.astype(np.float32)


def test_the_border_lies_within_objects_where_another_or_nothing_is_beside() -> None:
    numbers = np.array([[0, 0, 0, 0, 0, 0, 0]] * 2 + [[0, 5, 5, 5, 7, 7, 0]] * 5)
    found = classes(numbers)
    i, b = INTERIOR, BORDER
    np.testing.assert_array_equal(found[1], 0)
    np.testing.assert_array_equal(found[2], [0, b, b, b, b, b, 0])
    np.testing.assert_array_equal(found[4], [0, b, i, b, b, b, 0])
    np.testing.assert_array_equal(found[6], found[4])  # the image's border is none of an object's


def test_the_transform_makes_classes_of_numbers() -> None:
    sample = ThreeClassesd("label")({"label": torch.from_numpy(scene()).float()[None], "id": "a"})
    assert sample["label"].dtype == torch.float32 and sample["id"] == "a"
    np.testing.assert_array_equal(sample["label"][0].numpy(), classes(scene()))


def test_perfect_logits_give_the_objects_back_also_those_that_are_all_border() -> None:
    objects = scene()
    assert not (classes(objects)[objects == 3] == INTERIOR).any()
    pairs = object_pairs(ThreeClassGrouping()(logits(objects)), objects)
    assert pairs.count_error == 0 and detections(pairs, iou=0.9).average_precision == 1


def test_growth_follows_the_interiors_probability_before_distance() -> None:
    values = np.full((3, 3, 13), -4.0)
    values[BORDER] = 0
    values[INTERIOR, :, 0:3], values[INTERIOR, :, 10:] = 4, 4  # two seeds
    values[INTERIOR, :, 3:9] = -0.5  # a slope that belongs to the left one, up to a deep line at 9
    found = ThreeClassGrouping(min_area=1)(values)
    np.testing.assert_array_equal(found, np.array([[1] * 9 + [found[0, 9]] + [2] * 3] * 3))


def test_small_objects_and_pictures_without_any() -> None:
    assert ThreeClassGrouping(min_area=41)(logits(scene())).max() == 3
    assert ThreeClassGrouping(min_area=40)(logits(scene())).max() == 4
    assert not ThreeClassGrouping()(logits(np.zeros((9, 9), int))).any()
