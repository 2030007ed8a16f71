"""Dice and IoU are counted right, and every empty case is the one that the docstring promises."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pipeline.metrics.overlap import Overlap, contingency, label_counts, overlap

REFERENCE = np.array([[0, 1, 1, 1], [0, 2, 2, 0]])
PREDICTION = np.array([[0, 1, 1, 0], [1, 2, 1, 0]])


def test_dice_and_iou_are_the_ratios_of_their_definition() -> None:
    kidney = overlap(contingency(PREDICTION, REFERENCE), 1)
    assert kidney == Overlap(shared=2, prediction=4, reference=3)
    assert kidney.dice == 2 * 2 / (4 + 3)
    assert kidney.iou == 2 / (4 + 3 - 2)


def test_prediction_and_reference_are_not_swapped() -> None:
    table = contingency(PREDICTION, REFERENCE)
    assert table[1, 2] == 1  # one voxel of the reference's label 2 was predicted as 1
    assert table[2, 1] == 0
    assert table.sum() == PREDICTION.size
    assert table[0, 0] == 2


@pytest.mark.parametrize(
    ("shared", "prediction", "reference", "status", "score"),
    [(3, 3, 3, "ok", 1.0), (0, 2, 2, "ok", 0.0), (0, 0, 5, "missed", 0.0), (0, 5, 0, "false_alarm", 0.0)],
)
def test_a_miss_and_a_false_alarm_score_zero(shared, prediction, reference, status, score) -> None:
    found = Overlap(shared, prediction, reference)
    assert (found.status, found.dice, found.iou) == (status, score, score)


def test_two_empty_masks_have_no_score() -> None:
    neither = overlap(contingency(np.zeros((2, 2), int), np.zeros((2, 2), int)), 1)
    assert neither.status == "both_empty"
    assert math.isnan(neither.dice)
    assert math.isnan(neither.iou)


def test_the_memory_order_of_the_maps_does_not_matter() -> None:
    random = np.random.default_rng(0)
    prediction, reference = random.integers(0, 4, (2, 3, 4, 5)).astype(np.uint8)
    expected = contingency(prediction, reference)
    assert (contingency(np.asfortranarray(prediction), reference) == expected).all()
    assert (contingency(prediction, np.asfortranarray(reference)) == expected).all()
    assert expected[1, 3] == ((prediction == 1) & (reference == 3)).sum() > 0


def test_labels_of_eight_bits_do_not_wrap() -> None:
    prediction, reference = np.full((2, 2), 200, np.uint8), np.full((2, 2), 255, np.uint8)
    assert contingency(prediction, reference)[200, 255] == 4


def test_labels_are_counted_with_the_background_first() -> None:
    assert label_counts(np.array([[[0, 2], [2, 2]]], np.uint8)).tolist() == [1, 0, 3]


@pytest.mark.parametrize("bad", [np.array([[0.5]]), np.array([[-1]]), np.array([[4096]]), np.zeros((0, 3), int)])
def test_what_is_no_label_map_is_refused(bad) -> None:
    with pytest.raises(ValueError, match="label"):
        label_counts(bad)


def test_maps_of_two_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(2, 4\).*\(2, 3\)"):
        contingency(PREDICTION, REFERENCE[:, :3])
