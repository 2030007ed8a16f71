"""The average Hausdorff distance is that of whole objects; the other one is what the paper's code computes."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.metrics.average_hausdorff import ahd_rows_cunet
from pipeline.metrics.labels import evaluate_labels

SPACING = (3.0, 0.5, 2.0)


def ahd(prediction, reference, spacing_mm) -> dict[int, float]:
    return {row.label: row.value for row in evaluate_labels(prediction, reference, spacing_mm, metrics=["ahd"])}


def test_a_bar_that_is_too_long_by_two(way) -> None:
    reference = np.zeros((3, 9, 3), np.uint8)
    reference[1, 1:6, 1] = 1
    prediction = reference.copy()
    prediction[1, 6:8, 1] = 1  # 1 and 2 steps of 0.5 mm from the reference's end; 7 voxels in all
    assert ahd(prediction, reference, SPACING) == {1: pytest.approx((0.5 + 1.0) / 7 / 2)}


def test_objects_far_from_each_other_and_missing_ones(way) -> None:
    prediction, reference = np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8)
    prediction[0, 0, 0], reference[3, 0, 0] = 1, 1
    prediction[2, 2, 2] = 2
    assert ahd(prediction, reference, SPACING) == {1: 9, 2: pytest.approx(np.linalg.norm(np.multiply(4, SPACING)))}


def test_it_is_that_of_simpleitk(way, random_maps) -> None:
    sitk = pytest.importorskip("SimpleITK")
    prediction, reference = random_maps(7, (7, 8, 9))
    found = ahd(prediction, reference, SPACING)
    for label in (1, 2, 3):
        images = [sitk.GetImageFromArray((each == label).astype(np.uint8)) for each in (prediction, reference)]
        for image in images:
            image.SetSpacing(SPACING[::-1])
        theirs = sitk.HausdorffDistanceImageFilter()
        theirs.Execute(*images)
        assert found[label] == pytest.approx(theirs.GetAverageHausdorffDistance(), abs=1e-5)


def test_rows_are_compared_as_points_wherever_they_lie() -> None:
    prediction = np.array([[1, 1, 0, 0], [0, 0, 0, 0], [1, 0, 0, 0]])
    reference = np.array([[0, 0, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1]])
    # prediction to reference: rows 0 and 1 are there, row 2 differs in one pixel from two rows;
    # back: rows 0 and 1 are there, row 2 differs in two pixels from the empty row.
    assert ahd_rows_cunet(prediction, reference) == pytest.approx(1 / 3 + np.sqrt(2) / 3)
    assert ahd_rows_cunet(reference, prediction) == ahd_rows_cunet(prediction, reference)
    assert ahd_rows_cunet(prediction, prediction[::-1]) == 0


def test_rows_are_those_of_the_published_formula() -> None:
    one, two = np.random.default_rng(0).random((2, 12, 9)) > 0.5
    apart = np.linalg.norm(one[:, None].astype(float) - two[None], axis=-1)
    assert ahd_rows_cunet(one, two) == pytest.approx(apart.min(axis=1).mean() + apart.min(axis=0).mean())


def test_masks_of_two_shapes_and_volumes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(2, 3\).*\(3, 2\)"):
        ahd_rows_cunet(np.ones((2, 3)), np.ones((3, 2)))
    with pytest.raises(ValueError, match="2-D"):
        ahd_rows_cunet(np.ones((2, 3, 4)), np.ones((2, 3, 4)))
